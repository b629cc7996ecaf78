//! What people do with the devices of their accounts: link, unlink, lose.

use super::Play;
use crate::{device::Seat, world::World};
use client::{Closed, Fault};
use std::collections::BTreeSet;
use testkit::event::Person;
use types::{DeviceNumber, MailboxId, Millis};

/// Devices that a person links at most.
const LINKED_MAX: usize = 2;
/// So many people in a thousand, of those who have linked devices, unlink one in the end.
const FAREWELLS_PER_MILLE: u32 = 600;
/// So many times in a thousand the way to the socket of a device that is removed is lost before.
const ROUTES_LOST_PER_MILLE: u32 = 400;
/// Without faults a device is off the list after this: a fleet waits for what its nodes have admitted.
const REMOVED_WITHIN: Millis = Millis::from_secs(20);
/// Without faults a device is linked within this time, and all that is left of earlier ones is gone.
const LINKED_WITHIN: Millis = Millis::from_mins(2);

impl Play {
    pub(super) fn link(&mut self, person: Person, with_history: bool) -> Result<(), Fault> {
        let linked = linked(&self.world, person).len();
        let is_registered = self.world.device(Seat::primary(person)).mailbox().is_some();
        if self.world.is_pairing(person) || linked >= LINKED_MAX || !is_registered {
            return Ok(());
        }
        self.world.begin_pairing(person, with_history)
    }

    /// What is on its way while a device is linked must reach it, too: people write most to those who link one.
    pub(super) fn write_to_those_who_link(&mut self) -> Result<(), Fault> {
        let people: Vec<_> = self.world.plan.people().collect();
        for person in people.iter().filter(|person| self.world.is_pairing(**person)).collect::<Vec<_>>() {
            let others: Vec<_> = people.iter().filter(|other| *other != person).copied().collect();
            let from = self.world.chance.one_of(&others);
            self.send(from, *person)?;
        }
        Ok(())
    }

    /// The device goes on with what it does until it learns of it.
    pub(super) fn unlink(&mut self, person: Person) -> Result<(), Fault> {
        let linked = linked(&self.world, person);
        let numbers: Vec<_> =
            linked.iter().filter_map(|seat| Some(self.world.device(*seat).mailbox()?.device)).collect();
        match numbers.as_slice() {
            [] => Ok(()),
            numbers => {
                let number = self.world.chance.one_of(numbers);
                self.remove(person, number)
            }
        }
    }

    fn remove(&mut self, person: Person, number: DeviceNumber) -> Result<(), Fault> {
        let primary = Seat::primary(person);
        let listed = self.world.device(primary).listed();
        let mailbox = listed.into_iter().find(|mailbox| mailbox.device == number);
        // Nobody knows any more where its socket is, and it must end all the same.
        if let Some(mailbox) = mailbox.filter(|_| self.world.chance.per_mille(ROUTES_LOST_PER_MILLE)) {
            self.world.lose_route(mailbox);
        }
        self.world.with_device(primary, |device, outside| device.remove_device(number, outside)).map(drop)
    }

    /// Who may not connect any more with the primary begins anew, as the client tells people to do; a linked
    /// device that may not is put away.
    pub(super) fn shut_out_begin_anew(&mut self) -> Result<(), Fault> {
        for person in self.world.plan.people() {
            if self.world.device(Seat::primary(person)).ended().is_some() {
                self.recover_or_register(person)?;
            }
            for seat in linked(&self.world, person) {
                if self.world.device(seat).ended().is_some() {
                    self.put_away(seat)?;
                }
            }
            self.take_off_the_list(person)?;
        }
        Ok(())
    }

    fn put_away(&mut self, seat: Seat) -> Result<(), Fault> {
        self.world.with_device(seat, |device, outside| device.go_offline(outside))?;
        self.world.devices[seat.0].retire();
        // Its number may be another device's by now, which is not put away.
        let address = self.world.device(seat).mailbox().map(MailboxId::address);
        let others = self.world.devices.iter().filter(|other| other.is_in_use());
        others.filter(|other| other.mailbox().map(MailboxId::address) == address).for_each(|other| {
            other.stays_online();
        });
        Ok(())
    }

    /// When all is calm and everybody knows them, some devices are unlinked, and everybody writes once more.
    pub(super) fn farewells(&mut self) -> Result<(), Fault> {
        let mut gone = Vec::new();
        for person in self.world.plan.people() {
            let linked = linked(&self.world, person);
            if linked.is_empty() || !self.world.chance.per_mille(FAREWELLS_PER_MILLE) {
                continue;
            }
            let seat = self.world.chance.one_of(&linked);
            gone.push(seat);
            if let Some(mailbox) = self.world.device(seat).mailbox() {
                self.remove(person, mailbox.device)?;
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.world.run_for(REMOVED_WITHIN)?;
        // Their sockets have ended, as the checker sees. A new one is refused in any case, and so is the next.
        for seat in &gone {
            match self.world.device(*seat).ended() {
                None => self.world.cut(*seat),
                Some(_) => {
                    self.world.with_device(*seat, |device, outside| device.dial_all_the_same(outside))?
                }
            }
        }
        self.world.run_for(Millis::from_secs(5))?;
        for seat in &gone {
            let ended = self.world.device(*seat).ended();
            assert_eq!(ended, Some(Closed::Revoked), "{seat:?} was unlinked");
        }
        self.shut_out_begin_anew()?;
        self.last_words()
    }

    /// What the primary lists and its person does not have: devices that were wiped before they heard that
    /// they were in, and those that cannot connect any more.
    fn take_off_the_list(&mut self, person: Person) -> Result<(), Fault> {
        let has: BTreeSet<_> = self.world.devices_of(person).into_iter().collect();
        let has: BTreeSet<_> = has.iter().filter_map(|seat| self.world.device(*seat).mailbox()).collect();
        if self.world.is_pairing(person) {
            return Ok(());
        }
        let listed = self.world.device(Seat::primary(person)).listed();
        let surplus = listed.into_iter().filter(|mailbox| !has.contains(mailbox));
        let surplus: Vec<_> = surplus.filter(|mailbox| mailbox.device != DeviceNumber::PRIMARY).collect();
        surplus.into_iter().try_for_each(|mailbox| self.remove(person, mailbox.device))
    }

    /// With nothing in the way, whoever wants to link a device can.
    pub(super) fn everybody_has_linked(&mut self) -> Result<(), Fault> {
        let until = self.world.now() + LINKED_WITHIN;
        let all_in = self.world.run_until(until, |world| world.pairings.is_empty())?;
        let waiting = self.world.pairings.first().map(|pairing| pairing.person);
        assert!(all_in, "{waiting:?} cannot link a device");
        self.shut_out_begin_anew()
    }
}

/// The linked devices of a person.
fn linked(world: &World, person: Person) -> Vec<Seat> {
    let devices = world.devices_of(person).into_iter();
    devices.filter(|seat| *seat != Seat::primary(person)).collect()
}
