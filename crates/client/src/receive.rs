//! What a mailbox delivers: opened, verified, and either shown, held, put aside or dropped. Only what has found
//! its place in this transaction is acknowledged.

use crate::{
    device_lists::Claim,
    own_devices::written_chat,
    sealing::store_failed,
    store::{
        Stored, contacts, encryption, gaps, gaps::Gap, inbox, inbox::ReceiptDue, messages, profile,
        room::Waiting,
    },
    turn::Turn,
};
use bytes::Bytes;
use seal::{Arrival, Body, Content, DecryptError, DecryptFailure, Opened, Peer, Remedy, SealKind};
use types::{AccountId, ChatId, Millis, limits::ACK_POSITIONS_MAX};
use wire::{Delivery, Envelope, EnvelopeKind, Request, Urgency};

/// Envelopes kept for a later version, of one account and of all: nobody fills the place of the others.
const QUARANTINED_OF_ACCOUNT_MAX: u64 = 100;
const QUARANTINED_MAX: u64 = 1_000;
/// Gaps that one device can open.
const GAPS_OF_DEVICE_MAX: u64 = 1_000;
/// A device whose messages do not open gets one new session in this time.
const RENEW_INTERVAL: Millis = Millis::from_mins(1);

/// What becomes of every delivered row. There is no other way: a row that were left with the server would stand in the
/// window of each session, and whoever filled the window with such rows would end the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intake {
    /// It has its place here, or none anywhere: to be acknowledged.
    Done,
}

/// Whether something may still be held for a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chance {
    First,
    /// The list was fetched for it: what is not on it now is dropped.
    Last,
}

impl Turn<'_> {
    pub(crate) fn delivered(&mut self, rows: &[Delivery]) -> Stored<()> {
        if self.live.planted.bugs.ack_before_commit {
            self.ack_unstored(rows);
            return Ok(());
        }
        for row in rows {
            let Intake::Done = self.take_in(&row.envelope)?;
            self.live.acks.push(row.position);
        }
        Ok(())
    }

    /// Acknowledges what is committed when this turn ends.
    pub(crate) fn advance_acks(&mut self) {
        let mut acks = std::mem::take(&mut self.live.acks);
        while !acks.is_empty() {
            let rest = acks.split_off(acks.len().min(ACK_POSITIONS_MAX));
            self.request(Request::Ack(acks), crate::live::Asked::Ack);
            acks = rest;
        }
    }

    pub(crate) fn take_in(&mut self, bytes: &Bytes) -> Stored<Intake> {
        let Ok(envelope) = Envelope::decode(bytes.clone()) else { return Ok(Intake::Done) };
        if envelope.to != self.me.address.mailbox(self.me.registration) {
            return Ok(Intake::Done);
        }
        profile::raise_highest_stamp(self.db, envelope.stamp)?;
        if let Some(held) = inbox::held_envelope(self.db, envelope.from, envelope.envelope_id)? {
            return self.held_again(&envelope, held);
        }
        if self.held_for_group_again(&envelope)? {
            return Ok(Intake::Done);
        }
        match envelope.kind {
            EnvelopeKind::Prekey | EnvelopeKind::Ratchet | EnvelopeKind::SenderKey => {
                self.open(&envelope, Chance::First)
            }
            EnvelopeKind::DeviceList => {
                self.take_list(envelope.from.account, &envelope.ciphertext, false)?;
                Ok(Intake::Done)
            }
            EnvelopeKind::GroupOperation => self.operation_delivered(&envelope),
            EnvelopeKind::Unknown => self.put_aside(&envelope, None, "unknown_kind"),
        }
    }

    pub(crate) fn open(&mut self, envelope: &Envelope, chance: Chance) -> Stored<Intake> {
        if let Err(until) = self.live.limiter.admit(envelope.from, self.now) {
            let account = envelope.from.account;
            self.live.retry_at.insert(account, until);
            return self.hold(envelope, None);
        }
        let listed = self.listed(envelope)?;
        let opened = match self.decrypt(envelope, listed) {
            // A panic changed nothing. It counts once it has happened twice.
            Err(DecryptError::Refused(DecryptFailure::Panicked)) => self.decrypt(envelope, listed),
            other => other,
        };
        match opened {
            Ok(opened) => {
                if envelope.kind == EnvelopeKind::Prekey {
                    encryption::drop_renewal(self.db, envelope.from)?;
                }
                self.judge(envelope, &opened, chance)
            }
            // The ratchet forgets what it opened sooner than a row may come again.
            Err(DecryptError::Refused(_))
                if messages::came_in(self.db, envelope.from, envelope.envelope_id)? =>
            {
                self.redelivered(envelope)
            }
            Err(DecryptError::Refused(failure)) => self.failed(envelope, failure, chance),
            Err(DecryptError::Store(error)) => Err(store_failed(error)),
        }
    }

    fn listed(&mut self, envelope: &Envelope) -> Stored<Option<Peer>> {
        let list = self.list(envelope.from.account)?;
        let listed = list.and_then(|list| Peer::on_list(&list, envelope.from.device));
        Ok(listed.or_else(|| self.removed_peer(envelope.from)))
    }

    fn decrypt(&mut self, envelope: &Envelope, listed: Option<Peer>) -> Result<Opened, DecryptError> {
        let kind = match envelope.kind {
            EnvelopeKind::Prekey => SealKind::Prekey,
            EnvelopeKind::SenderKey => SealKind::SenderKey,
            _ => SealKind::Ratchet,
        };
        let arrival = Arrival {
            from: envelope.from,
            to: envelope.to.address(),
            kind,
            ciphertext: &envelope.ciphertext,
            listed,
            group: envelope.group,
        };
        seal::decrypt(&mut self.encryption(), &arrival, self.rng)
    }

    /// Decides whether an opened content may be shown: its key must be on the newest list that anybody knows of.
    pub(crate) fn judge(&mut self, envelope: &Envelope, opened: &Opened, chance: Chance) -> Stored<Intake> {
        let account = envelope.from.account;
        let claim = match opened.sender_list() {
            Some(view) => self.compare_view(account, view)?,
            None => Claim::Agrees,
        };
        let listed = self.listed(envelope)?;
        let content = opened.verify(listed.as_ref());
        let must_wait = matches!(claim, Claim::Newer) || content == Err(DecryptFailure::Unlisted);
        if must_wait && chance == Chance::First {
            self.want_list(account);
            return self.hold(envelope, Some(opened));
        }
        if let (Claim::Newer | Claim::Contradicts, Some(view)) = (claim, opened.sender_list()) {
            self.report_split_view(account.into(), account, view.version)?;
        }
        match content {
            Ok(content) => {
                contacts::set_heard(self.db, account)?;
                let place = place_of(&content);
                let intake = self.apply(envelope, opened, content)?;
                if let Some(place) = place {
                    self.wrote_to_us(envelope.from, place)?;
                }
                Ok(intake)
            }
            Err(failure) => self.failed(envelope, failure, chance),
        }
    }

    fn hold(&mut self, envelope: &Envelope, opened: Option<&Opened>) -> Stored<Intake> {
        // What was opened cannot be opened a second time, so there is always room for it.
        if opened.is_none() && !self.make_room(Waiting::ForList, envelope.from.account)? {
            return self.pass_over(envelope);
        }
        inbox::hold(self.db, envelope, opened, self.server_now())?;
        Ok(Intake::Done)
    }

    /// The same envelope again while it is held, perhaps under another stamp: the lowest one wins.
    fn held_again(&mut self, envelope: &Envelope, held: Bytes) -> Stored<Intake> {
        let held = Envelope::decode(held).map_err(|_| crate::Fault::Damaged)?;
        if envelope.stamp < held.stamp {
            inbox::restamp_held(self.db, &Envelope { stamp: envelope.stamp, ..held })?;
        }
        Ok(Intake::Done)
    }

    /// Looks again at what is held of an account, now that its list was asked for.
    pub(crate) fn retry_held(&mut self, account: AccountId) -> Stored<()> {
        let chance = match self.list(account)? {
            Some(_) => Chance::Last,
            // The server could not give a list: what is held stays held until it can, or the account is closed.
            None if contacts::is_closed(self.db, account)? => Chance::Last,
            None => Chance::First,
        };
        self.look_again(account, chance)?;
        // What still waits for a list waits for the next connection, not for the same answer again.
        self.live.lists_wanted.remove(&account);
        Ok(())
    }

    fn look_again(&mut self, account: AccountId, chance: Chance) -> Stored<()> {
        for held in inbox::take_held(self.db, account)? {
            let Ok(envelope) = Envelope::decode(held.envelope) else { continue };
            let Intake::Done = match held.opened {
                Some(opened) => self.judge(&envelope, &opened, chance)?,
                None => self.open(&envelope, chance)?,
            };
        }
        Ok(())
    }

    /// Looks again at what waited for a sender's failures to be forgotten.
    pub(crate) fn advance_held(&mut self) -> Stored<()> {
        let now = self.now;
        let due: Vec<AccountId> =
            self.live.retry_at.iter().filter(|(_, at)| **at <= now).map(|(account, _)| *account).collect();
        if !due.is_empty() {
            // A message to a group that waited for a refused list may ask for it again.
            self.live.groups.look_again_at_lists();
        }
        for account in due {
            self.live.retry_at.remove(&account);
            self.look_again(account, Chance::First)?;
        }
        Ok(())
    }

    /// Tries what an earlier version of this program put aside.
    pub(crate) fn retry_quarantined(&mut self) -> Stored<()> {
        for kept in inbox::take_quarantined_by_others(self.db)? {
            let Ok(envelope) = Envelope::decode(kept.envelope.clone()) else { continue };
            let Intake::Done = match kept.opened {
                Some(opened) => self.judge(&envelope, &opened, Chance::First)?,
                None => self.take_in(&kept.envelope)?,
            };
        }
        Ok(())
    }

    /// Keeps an envelope for a later version of this program, as long as there is room.
    pub(crate) fn put_aside(
        &mut self,
        envelope: &Envelope,
        opened: Option<&Opened>,
        reason: &str,
    ) -> Stored<Intake> {
        let (of_account, all) = inbox::quarantined_counts(self.db, envelope.from.account)?;
        if of_account < QUARANTINED_OF_ACCOUNT_MAX && all < QUARANTINED_MAX {
            inbox::quarantine(self.db, envelope, opened, reason, self.server_now())?;
        }
        Ok(Intake::Done)
    }

    /// Acts on the one table of failures.
    fn failed(&mut self, envelope: &Envelope, failure: DecryptFailure, chance: Chance) -> Stored<Intake> {
        if failure.counts() {
            self.live.limiter.failed(envelope.from, self.now);
        }
        if envelope.kind == EnvelopeKind::SenderKey && failure.remedy() == Remedy::Renew {
            return self.group_message_failed(envelope, failure);
        }
        if envelope.kind == EnvelopeKind::SenderKey
            && failure == DecryptFailure::Duplicate
            && !messages::came_in(self.db, envelope.from, envelope.envelope_id)?
        {
            // A key that was given once more begins after what was encrypted before: to it that looks like a repeat.
            return self.hold_for_key(envelope);
        }
        match failure.remedy() {
            Remedy::Acknowledge => self.redelivered(envelope),
            Remedy::Drop => Ok(Intake::Done),
            Remedy::HoldForList if chance == Chance::First => {
                self.want_list(envelope.from.account);
                self.hold(envelope, None)
            }
            Remedy::HoldForList => Ok(Intake::Done),
            Remedy::HoldForSenderKey => self.hold_for_key(envelope),
            Remedy::Renew => {
                let not_since = self.server_now() - RENEW_INTERVAL;
                encryption::want_renewal(self.db, envelope.from, not_since)?;
                self.miss_envelope(envelope, failure, 0)?;
                Ok(Intake::Done)
            }
            Remedy::Quarantine => {
                self.put_aside(envelope, None, failure.code())?;
                // One request, and no more.
                self.miss_envelope(envelope, failure, crate::gaps::ASKS_MAX - 1)?;
                Ok(Intake::Done)
            }
        }
    }

    /// The same envelope again, perhaps under another stamp: the lowest one wins, and its sender hears of it.
    fn redelivered(&mut self, envelope: &Envelope) -> Stored<Intake> {
        if self.live.planted.bugs.show_redelivered {
            self.show_again(envelope)?;
        }
        let lowered =
            messages::lower_stamp_of_envelope(self.db, envelope.from, envelope.envelope_id, envelope.stamp)?;
        if let Some(id) = lowered.filter(|_| envelope.from.account != self.me.account()) {
            let writer = envelope.from.account;
            self.owe_receipt(ReceiptDue {
                chat: chat_of(envelope),
                writer,
                message_id: id,
                stamp: envelope.stamp,
            })?;
        }
        Ok(Intake::Done)
    }

    /// Notes that an envelope could not be opened, so that its content is asked for.
    pub(crate) fn miss_envelope(
        &mut self,
        envelope: &Envelope,
        failure: DecryptFailure,
        asked: u32,
    ) -> Stored<()> {
        self.miss(envelope, failure.code(), asked)
    }

    /// The same for any reason, in a word.
    pub(crate) fn miss(&mut self, envelope: &Envelope, reason: &str, asked: u32) -> Stored<()> {
        if gaps::count(self.db, envelope.from)? >= GAPS_OF_DEVICE_MAX {
            return Ok(());
        }
        let now = self.server_now();
        let gap = Gap {
            id: 0,
            chat: chat_of(envelope),
            sender: envelope.from,
            first: 0,
            last: 0,
            envelope: Some(envelope.envelope_id),
            stamp: envelope.stamp,
            reason: reason.to_owned(),
            silent: envelope.urgency > Urgency::Normal,
            shown: false,
            asked,
            ask_at: now,
            noticed_at: now,
            permanent: false,
        };
        gaps::insert(self.db, &gap)?;
        self.live.gaps_at = Some(self.now);
        Ok(())
    }
}

/// Where an envelope's message would be shown.
fn chat_of(envelope: &Envelope) -> ChatId {
    envelope.group.map_or(envelope.from.account.into(), ChatId::Group)
}

/// The direct chat in which a content has a place, and the place. Groups say with each sender key where it begins.
fn place_of(content: &Content) -> Option<(ChatId, u64)> {
    match &content.body {
        Body::SentTranscript(transcript) => {
            Some((written_chat(content, transcript)?, transcript.content.get().counter))
        }
        _ if content.group.is_some() => None,
        _ => Some((content.sender.account.into(), content.counter)),
    }
}
