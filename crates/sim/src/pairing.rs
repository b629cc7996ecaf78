//! A person with a new device in one hand and the primary in the other: gives the one's code to the other,
//! compares digits, and begins anew when it came to nothing.
//!
//! Owns: what the person remembers of it.
//! Invariants: a pairing ends with a device that is in, or with one that has nothing; until then the person goes
//! on, whatever dies or is lost.

use crate::{
    chance::Chance,
    device::{Device, Outside, Seat},
    world::World,
};
use client::{AddDeviceError, Fault};
use testkit::{event::Person, history::Fact};
use types::{MailboxId, Millis, Timestamp};

/// People do the next thing within this time.
const ACTS_WITHIN_MS: u64 = 2_000;
/// So many times in a thousand a person says no to a device of their own.
const REFUSES_PER_MILLE: u32 = 40;

/// One device on its way into an account.
pub struct Pairing {
    /// Whose.
    pub person: Person,
    /// Where the new device is.
    pub new: Seat,
    /// Whether it is given the messages from before.
    pub with_history: bool,
    /// The code that the primary was given, and by which of its processes it was taken.
    given: Option<(String, (MailboxId, u64))>,
    acts_at: Timestamp,
}

/// What came of a person's turn.
enum Acted {
    /// There was nothing to do.
    Nothing,
    /// Something was done, or will be tried again.
    Something,
    /// The device is in, or cannot be.
    Over,
}

impl World {
    /// Somebody takes a new device out of its box, to link it.
    pub fn begin_pairing(&mut self, person: Person, with_history: bool) -> Result<(), Fault> {
        let new = self.unused_seat(person)?;
        self.take_to_primary(person, new, with_history)
    }

    /// Whether somebody has a device in hand that is not linked yet.
    pub fn is_pairing(&self, person: Person) -> bool {
        self.pairings.iter().any(|pairing| pairing.person == person)
    }

    /// Whoever has a device in hand wipes it and begins anew.
    pub fn begin_pairings_anew(&mut self) -> Result<(), Fault> {
        for pairing in std::mem::take(&mut self.pairings) {
            self.replace_device(pairing.new)?;
            self.take_to_primary(pairing.person, pairing.new, pairing.with_history)?;
        }
        Ok(())
    }

    /// The account that the device was to be in is not this person's any more.
    pub fn give_up_pairings(&mut self, person: Person) -> Result<(), Fault> {
        let (given_up, others) =
            std::mem::take(&mut self.pairings).into_iter().partition(|pairing| pairing.person == person);
        self.pairings = others;
        let given_up: Vec<Pairing> = given_up;
        given_up.into_iter().try_for_each(|pairing| self.replace_device(pairing.new).map(drop))
    }

    fn take_to_primary(&mut self, person: Person, new: Seat, with_history: bool) -> Result<(), Fault> {
        self.with_device(new, |device, outside| {
            device.begin_to_be_linked();
            device.go_online(outside)
        })?;
        let pairing = Pairing { person, new, with_history, given: None, acts_at: self.now() };
        self.pairings.push(pairing);
        Ok(())
    }

    /// Everybody with a device in hand does the next thing. Says whether anybody did anything.
    pub(crate) fn proceed_pairings(&mut self) -> Result<bool, Fault> {
        let mut busy = false;
        for mut pairing in std::mem::take(&mut self.pairings) {
            match pairing.act(self)? {
                Acted::Nothing => {}
                Acted::Something => busy = true,
                Acted::Over => {
                    busy = true;
                    continue;
                }
            }
            self.pairings.push(pairing);
        }
        Ok(busy)
    }
}

impl Pairing {
    /// When the person does something next.
    pub const fn acts_at(&self) -> Timestamp {
        self.acts_at
    }

    fn act(&mut self, world: &mut World) -> Result<Acted, Fault> {
        if let Some(device) = world.device(self.new).mailbox() {
            let by = world.device(Seat::primary(self.person)).mailbox();
            let with_history = self.with_history;
            if let Some(by) = by.filter(|by| by.account == device.account) {
                world.chronicle.record(Fact::Linked { device, by, with_history });
            }
            return Ok(Acted::Over);
        }
        if world.now() < self.acts_at {
            return Ok(Acted::Nothing);
        }
        // Nobody shows a code to a device that is put away.
        if !world.device(Seat::primary(self.person)).is_online() {
            self.done(&mut world.chance, world.clock.true_now());
            return Ok(Acted::Nothing);
        }
        if world.device(self.new).link_failed().is_some() {
            world.devices[self.new.0].begin_to_be_linked();
            return Ok(self.done(&mut world.chance, world.clock.true_now()));
        }
        let acted = self.at_primary(world)?;
        // Whether or not there was something to do, a person looks again in a while.
        self.done(&mut world.chance, world.clock.true_now());
        Ok(acted)
    }

    fn done(&mut self, chance: &mut Chance, now: Timestamp) -> Acted {
        self.acts_at = now + Millis(1 + chance.below(ACTS_WITHIN_MS));
        Acted::Something
    }

    fn at_primary(&mut self, world: &mut World) -> Result<Acted, Fault> {
        let new = world.device(self.new);
        let (code, digits) = (new.code().map(str::to_owned), new.digits().map(str::to_owned));
        let refuses = world.chance.per_mille(REFUSES_PER_MILLE);
        let Some(code) = code else { return Ok(Acted::Nothing) };
        world.with_device(Seat::primary(self.person), |primary, outside| {
            let Some(process) = primary.process() else { return Ok(Acted::Nothing) };
            if primary.take_adding_failed().is_some() {
                self.given = None;
                return Ok(Acted::Something);
            }
            let is_given = self.given.as_ref().is_some_and(|(given, to)| *given == code && *to == process);
            if !is_given {
                return self.give(code, process, primary, outside);
            }
            match (primary.digits_to_compare(), digits) {
                (Some(here), Some(there)) => {
                    let is_mine = here == there && !refuses;
                    primary.decide(is_mine, outside)?;
                    Ok(Acted::Something)
                }
                _ => Ok(Acted::Nothing),
            }
        })
    }

    fn give(
        &mut self,
        code: String,
        process: (MailboxId, u64),
        primary: &mut Device,
        outside: &mut Outside<'_>,
    ) -> Result<Acted, Fault> {
        match primary.add_device(&code, self.with_history, outside)? {
            Ok(()) => {
                self.given = Some((code, process));
                Ok(Acted::Something)
            }
            Err(AddDeviceError::Busy | AddDeviceError::TooManyDevices) => Ok(Acted::Nothing),
            Err(error) => panic!("{:?} cannot give {code} to the primary: {error}", self.person),
        }
    }
}
