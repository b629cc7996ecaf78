//! Taking in the archive that the primary gives a device that it has linked.
//!
//! Parts are fetched one after the other; each is verified and imported in one transaction with the place that was
//! reached, so it goes on where it stopped and nothing is there twice. Nothing of it is told as an event.

use crate::{
    Effect, HistorySync,
    apply::acts_on,
    archive::import::{Import, ImportError},
    linking::LinkingAsked,
    receive::Intake,
    store::{Stored, contacts, gaps, groups, imports, imports::HistoryImport, profile},
    transfers::Transfer,
    turn::Turn,
};
use bytes::Bytes;
use seal::{ArchiveId, Forward, HistoryArchive, Opened, archive::PartOpener};
use types::{ChatId, DeviceAddress, DeviceNumber};
use wire::{BlobTicket, Code, Envelope, Refusal, Request};

impl Turn<'_> {
    /// The primary says where our archive lies. Devices that have theirs are not meant.
    pub(crate) fn history_came(&mut self, from: DeviceAddress, history: &HistoryArchive) -> Stored<()> {
        if from == self.primary() && self.me.joined {
            imports::insert(self.db, history)?;
            self.live.linking.is_importing = true;
        }
        Ok(())
    }

    /// The primary passes on what somebody sealed before they knew of this device. It vouches for the sender.
    pub(crate) fn forwarded(
        &mut self,
        envelope: &Envelope,
        opened: &Opened,
        forward: &Forward,
    ) -> Stored<Intake> {
        if envelope.from != self.primary() {
            return Ok(Intake::Done);
        }
        let content = forward.content.get();
        if !acts_on(&content.body, content.sender.account == self.me.account()) {
            return self.put_aside(envelope, Some(opened), "unsupported_body");
        }
        let from = content.sender;
        if from.account != self.me.account() {
            contacts::set_heard(self.db, from.account)?;
        }
        // It waits as it came: the primary vouches for it again when more of the chain is known.
        if let Some((group, view)) = self.ahead_in_group(content)? {
            return self.hold_ahead(group, from.account, envelope, opened, view);
        }
        let original = Envelope { from, stamp: forward.stamp, ..envelope.clone() };
        self.apply(&original, opened, content.clone())
    }

    fn primary(&self) -> DeviceAddress {
        DeviceAddress::new(self.me.account(), DeviceNumber::PRIMARY)
    }

    /// Fetches the next part.
    pub(crate) fn advance_import(&mut self) -> Stored<()> {
        if !self.live.linking.is_importing || !self.may_transfer() {
            return Ok(());
        }
        let Some(import) = imports::current(self.db)? else {
            self.live.linking.is_importing = false;
            return Ok(());
        };
        match imports::part(self.db, import.archive, import.next_part)? {
            Some(part) => {
                let asked = LinkingAsked::GetBlob { archive: import.archive, part: import.next_part };
                self.ask_for_ticket(Request::GetBlob(part.blob), asked);
                Ok(())
            }
            None => self.end_import(&import, HistorySync::Failed),
        }
    }

    pub(crate) fn download_ticket_came(&mut self, archive: ArchiveId, part: u32, ticket: BlobTicket) {
        self.begin_transfer(Transfer::Download { archive, part }, ticket.url, None);
    }

    pub(crate) fn download_refused(&mut self, archive: ArchiveId, refusal: &Refusal) -> Stored<()> {
        match imports::current(self.db)?.filter(|import| import.archive == archive) {
            Some(import) if refusal.code == Code::NoSuchBlob => self.end_import(&import, HistorySync::Failed),
            _ => {
                self.ticket_refused(refusal);
                Ok(())
            }
        }
    }

    /// Verifies a part and imports it. False if the bytes are not the part's: they are fetched again.
    pub(crate) fn part_came(&mut self, archive: ArchiveId, part: u32, bytes: &Bytes) -> Stored<bool> {
        let current = imports::current(self.db)?;
        let Some(import) = current.filter(|import| import.archive == archive && import.next_part == part)
        else {
            return Ok(true);
        };
        let named = imports::part(self.db, archive, part)?;
        let is_whole = named.is_some_and(|named| {
            named.size == bytes.len() as u64 && named.digest == seal::archive::digest(bytes)
        });
        if !is_whole {
            return Ok(false);
        }
        let mut opener = PartOpener::resume(import.key.clone(), archive, part);
        let Ok(plaintext) = opener.open(bytes) else {
            self.end_import(&import, HistorySync::Failed)?;
            return Ok(true);
        };
        let next = part + 1;
        let is_last = next == import.parts;
        let ends_well = is_last == opener.finish().is_ok();
        let into = Import { db: self.db, me: self.me.address, now: self.server_now() };
        match into.part(&plaintext) {
            Err(ImportError::Fault(fault)) => return Err(fault),
            Ok(read) if ends_well => self.follow(&read.heard)?,
            Ok(_) | Err(ImportError::Archive(_)) => {
                self.end_import(&import, HistorySync::Failed)?;
                return Ok(true);
            }
        }
        self.import_again()?;
        // Lists may have changed under those that are kept in memory.
        self.live.lists.clear();
        // A group may have waited for the secret, the chain or the lists that came with this part.
        self.wake_waiting_groups();
        if is_last {
            self.end_import(&import, HistorySync::Imported)?;
        } else {
            imports::set_next(self.db, archive, next)?;
            let progress = HistorySync::Importing { done: next.into(), total: import.parts.into() };
            self.effect(Effect::History(progress));
        }
        Ok(true)
    }

    /// Joins what the primary has heard with what was heard here since.
    fn follow(&mut self, heard: &[(ChatId, DeviceAddress, u64)]) -> Stored<()> {
        for (chat, sender, counter) in heard {
            self.follow_archive(*chat, *sender, *counter)?;
            imports::name(self.db, *chat, *sender)?;
        }
        Ok(())
    }

    /// Whether whom the primary has not heard of at all in a chat begins with 1 there. In a group that the account came
    /// into later, or again, they may have written before.
    fn is_heard_from_the_first(&self, chat: ChatId) -> Stored<bool> {
        let ChatId::Group(group) = chat else { return Ok(true) };
        Ok(groups::member_since(self.db, group, self.me.account())? == Some(0))
    }

    /// The archive was read, or never will be: from now on counters count.
    fn end_import(&mut self, import: &HistoryImport, outcome: HistorySync) -> Stored<()> {
        if outcome == HistorySync::Imported {
            for (chat, sender) in imports::take_unnamed(self.db)? {
                if self.is_heard_from_the_first(chat)? {
                    self.set_baseline(chat, sender, 0)?;
                }
            }
            self.fetch_unsettled_groups()?;
        }
        imports::remove(self.db, import.archive)?;
        profile::set_told(self.db)?;
        self.live.linking.profile_changed = true;
        let next = gaps::next_ask_at(self.db)?;
        let now = self.server_now();
        self.live.gaps_at = next.map(|at| self.now + at.since(now));
        self.effect(Effect::History(outcome));
        Ok(())
    }
}
