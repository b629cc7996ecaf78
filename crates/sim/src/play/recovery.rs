//! A person who has lost the primary device, and goes on with the same account from a backup.

use super::{CALLS_MAX, ORIGIN, Play, RELINK_WITHIN};
use crate::{
    device::{Device, Seat},
    http,
};
use client::{
    Fault, HttpRequest, RestoreError, RestoreStep, View,
    backup::{self, Backup},
};
use testkit::{event::Person, history::Fact};
use types::{AccountId, MailboxId, MessageId, Millis, Timestamp};

/// So many times in a thousand a person keeps the older backup.
const KEEPS_PER_MILLE: u32 = 500;
/// So many answers in a thousand to a restoration are lost.
const LOST_PER_MILLE: u32 = 300;
/// So many times in a thousand the process dies before it knows how a restoration ended.
const DIES_PER_MILLE: u32 = 200;
/// So many people in a thousand, of those who could not connect any more and have a backup, restore it.
const RESTORES_PER_MILLE: u32 = 500;

/// A backup that somebody keeps.
pub(super) struct Kept {
    account: AccountId,
    backup: Backup,
    /// What was accepted and is in it.
    messages: Vec<MessageId>,
}

/// How a try to restore ended.
enum Tried {
    Restored,
    /// Something did not answer, or the process died: the person begins again.
    Again,
    /// The account is not there any more.
    Closed,
}

impl Play {
    pub(super) fn back_up(&mut self, person: Person) -> Result<(), Fault> {
        let primary = &mut self.world.devices[person.0];
        let Some(account) = primary.mailbox().map(|mailbox| mailbox.account) else { return Ok(()) };
        let Some((engine, now, rng)) = primary.engine() else { return Ok(()) };
        let backup = match backup::create(&engine.view(), now, rng) {
            Ok(backup) => backup,
            Err(backup::BackupError::Fault(fault)) => return Err(fault),
            Err(error) => panic!("{person:?} cannot make a backup: {error}"),
        };
        let messages = accepted_messages(&engine.view(), now)?;
        self.world
            .chronicle
            .add_canary(&format!("a recovery key of {person:?}"), backup.recovery_key.as_bytes());
        let has_one = self.backups.get(&person).is_some_and(|kept| kept.account == account);
        if !(has_one && self.world.chance.per_mille(KEEPS_PER_MILLE)) {
            self.backups.insert(person, Kept { account, backup, messages });
        }
        Ok(())
    }

    /// The person has lost the primary device, and has a backup of its account.
    pub(super) fn recover(&mut self, person: Person) -> Result<(), Fault> {
        if !self.has_backup(person) {
            return Ok(());
        }
        let Some(former) = self.world.device(Seat::primary(person)).mailbox() else { return Ok(()) };
        self.world.give_up_pairings(person)?;
        self.world.lose_primary(person)?;
        for _ in 0..CALLS_MAX {
            match self.try_to_restore(person)? {
                Tried::Restored => {
                    let primary = Seat::primary(person);
                    self.is_restored(person, former);
                    return self.world.with_device(primary, |device, outside| device.go_online(outside));
                }
                Tried::Again => self.world.run_for(Millis::from_secs(1))?,
                Tried::Closed => return self.reregister(person),
            }
        }
        panic!("{person:?} cannot restore a backup");
    }

    pub(super) fn recover_or_register(&mut self, person: Person) -> Result<(), Fault> {
        if self.has_backup(person) && self.world.chance.per_mille(RESTORES_PER_MILLE) {
            return self.recover(person);
        }
        self.reregister(person)
    }

    fn is_restored(&self, person: Person, former: MailboxId) {
        let device = self.world.device(Seat::primary(person)).mailbox();
        if let (Some(device), Some(kept)) = (device, self.backups.get(&person)) {
            let messages = kept.messages.clone();
            self.world.chronicle.record(Fact::Restored { device, former, messages });
        }
    }

    /// That a connection is over is told by soft state, which may have been lost: a new one is refused in any case.
    pub(super) fn lost_ones_dial_again(&mut self) {
        let lost =
            self.world.devices.iter().filter(|device| !device.is_in_use() && device.mailbox().is_some());
        let seats: Vec<_> = lost.map(Device::seat).collect();
        seats.into_iter().for_each(|seat| self.world.cut(seat));
    }

    /// Whoever found a lost device was shut out.
    pub(super) fn note_lost_ones(&self) {
        for device in self.world.devices.iter().filter(|device| !device.is_in_use()) {
            if let Some(mailbox) = device.mailbox() {
                let is_shut_out = device.ended().is_some();
                self.world.chronicle.record(Fact::Found { mailbox, is_shut_out });
            }
        }
    }

    fn has_backup(&self, person: Person) -> bool {
        let account = self.world.device(Seat::primary(person)).mailbox().map(|mailbox| mailbox.account);
        self.backups.get(&person).is_some_and(|kept| Some(kept.account) == account)
    }

    fn try_to_restore(&mut self, person: Person) -> Result<Tried, Fault> {
        let Some(Kept { backup, .. }) = self.backups.get(&person) else { return Ok(Tried::Closed) };
        let (bytes, key) = (backup.bytes.clone(), backup.recovery_key.clone());
        let begun = self.with_engine(person, |engine, now, rng| {
            engine.begin_restore(&bytes, &key, ORIGIN, None, now, rng)
        });
        let mut request = match begun {
            Ok(request) => request,
            Err(RestoreError::Fault(fault)) => return Err(fault),
            Err(error) => panic!("{person:?} cannot read a backup: {error}"),
        };
        loop {
            let asked_at = self.world.chronicle.since_start(self.world.now());
            let Some(answer) = self.ask_to_restore(person, &request)? else { return Ok(Tried::Again) };
            if self.world.chance.per_mille(DIES_PER_MILLE) {
                self.world.devices[person.0].start_again()?;
                return Ok(Tried::Again);
            }
            let restored = self.with_engine(person, |engine, now, rng| engine.restored(&answer, now, rng));
            request = match restored {
                Ok(RestoreStep::Again(request)) => request,
                Ok(RestoreStep::Done(_)) => {
                    let device = &mut self.world.devices[person.0];
                    let mailbox = device.disk.mailbox().expect("the disk of a restored device says so");
                    device.registered(mailbox);
                    let list = http::carried_list(&request).expect("a restoration carries a list");
                    device.note_in_force(&list.into(), asked_at);
                    return Ok(Tried::Restored);
                }
                Err(RestoreError::Refused(problem)) if problem.code == "account_closed" => {
                    return Ok(Tried::Closed);
                }
                Err(RestoreError::Fault(fault)) => return Err(fault),
                Err(error) => panic!("{person:?} cannot restore: {error}"),
            };
        }
    }

    /// Asks until there is an answer that is not lost.
    fn ask_to_restore(
        &mut self,
        person: Person,
        request: &HttpRequest,
    ) -> Result<Option<client::HttpAnswer>, Fault> {
        for bytes in http::carried(request) {
            self.world.chronicle.server_has("a restoration", &bytes);
        }
        let list = http::carried_list(request).expect("a restoration carries a list");
        self.world.devices[person.0].note_signed(&list.into());
        let answer = self.ask_until_answered(request, RELINK_WITHIN)?;
        match self.world.chance.per_mille(LOST_PER_MILLE) {
            true => self.ask_until_answered(request, RELINK_WITHIN),
            false => Ok(answer),
        }
    }
}

/// The messages that a device shows and a server has accepted.
fn accepted_messages(view: &View<'_>, now: Timestamp) -> Result<Vec<MessageId>, Fault> {
    let mut messages = Vec::new();
    for chat in view.chats()? {
        let history = view.history(chat.chat, u32::MAX >> 1, now)?;
        let accepted = history.into_iter().filter(|message| message.stamp.is_some());
        messages.extend(accepted.map(|message| message.message_id));
    }
    Ok(messages)
}
