//! The outbox leaves: heads of lanes, at most 64 unanswered, one a lane; and what each answer means.
//!
//! A row that is sealed keeps its bytes until the server has said that it stored them or that it stored
//! nothing. Only then may it be sealed again, and under another envelope id.

use crate::{
    Effect,
    live::Asked,
    sealing::Sealing,
    store::{
        Stored, contacts, device_lists, messages,
        messages::MessageSeq,
        outbox,
        outbox::{Lane, LaneClass, OutboxId, OutboxRow},
        profile, sent,
    },
    turn::Turn,
};
use std::collections::BTreeSet;
use types::{AccountId, ChatId, Millis, Stamp, limits::SENDS_UNANSWERED_MAX};
use wire::{Code, Refusal, Request, Send, Urgency};

/// The first pause after a try whose outcome is unknown or that was refused for now; doubles up to the longest.
const BACK_OFF_FIRST: Millis = Millis::from_secs(1);
/// For passing troubles: a node that restarts, a store that is slow.
const BACK_OFF_LONGEST: Millis = Millis::from_secs(60);
/// The longest wait for a node whose clock is behind the stamp that we present: twice the 10 s by which honest nodes
/// run ahead. A stamp further ahead is nothing that an honest node gave.
pub(crate) const STAMP_CATCH_UP_MAX: Millis = Millis::from_secs(20);
/// For troubles that take the other side: a full mailbox, a list that does not fit.
const BACK_OFF_LONGEST_FULL: Millis = Millis::from_hours(1);

impl Turn<'_> {
    /// Seals and sends what can be.
    pub(crate) fn advance_outbox(&mut self) -> Stored<()> {
        self.resume_postponed();
        let mut seen = BTreeSet::new();
        loop {
            let ready = std::mem::take(&mut self.live.ready);
            let (again, mut new): (Vec<Lane>, Vec<Lane>) =
                ready.into_iter().partition(|lane| seen.contains(lane));
            self.live.ready.extend(again);
            if new.is_empty() {
                return Ok(());
            }
            // What people wait for leaves before receipts and keys do.
            new.sort_by_key(|lane| lane.class);
            for lane in new {
                seen.insert(lane);
                if self.is_window_full() {
                    self.live.ready.insert(lane);
                } else {
                    self.advance_lane(lane)?;
                }
            }
        }
    }

    /// Whether as many sends are unanswered as may be: nothing has to be looked at before an answer comes.
    fn is_window_full(&self) -> bool {
        self.live.is_open() && self.live.flying.len() >= SENDS_UNANSWERED_MAX
    }

    /// Lets every lane try again that needs something of this account.
    pub(crate) fn wake_lanes(&mut self, account: AccountId) -> Stored<()> {
        for lane in self.lanes_that_need(account)? {
            self.live.postponed.remove(&lane);
            self.live.ready.insert(lane);
        }
        Ok(())
    }

    /// The lanes to an account; every lane needs our own account's devices.
    pub(crate) fn lanes_that_need(&self, account: AccountId) -> Stored<Vec<Lane>> {
        if account == self.me.account() {
            return outbox::lanes(self.db);
        }
        let classes = [LaneClass::Messages, LaneClass::Silent];
        Ok(classes.map(|class| Lane { chat: account.into(), class }).to_vec())
    }

    fn resume_postponed(&mut self) {
        let now = self.now;
        self.live.paused.retain(|_, until| *until > now);
        let due: Vec<Lane> =
            self.live.postponed.iter().filter(|(_, until)| **until <= now).map(|(lane, _)| *lane).collect();
        for lane in due {
            self.live.postponed.remove(&lane);
            self.live.ready.insert(lane);
        }
    }

    /// Moves the head of one lane on. Rows that can never be sent end here, and the next one is looked at.
    fn advance_lane(&mut self, lane: Lane) -> Stored<()> {
        while let Some(row) = self.next_row(lane)? {
            if self.is_parcel_void(&row)? {
                self.unseal(&row)?;
                self.parcel_over(row.id)?;
                outbox::remove(self.db, row.id)?;
                continue;
            }
            if row.envelope_id.is_none() {
                match self.seal(&row)? {
                    Sealing::Done => {}
                    Sealing::Refused(code) => {
                        self.fail(&row, code.name())?;
                        continue;
                    }
                    Sealing::Ended(word) => {
                        self.fail(&row, word)?;
                        continue;
                    }
                    Sealing::Waits => return Ok(()),
                    Sealing::Later => return self.back_off(&row, BACK_OFF_LONGEST),
                    Sealing::Nobody => {
                        self.parcel_over(row.id)?;
                        outbox::remove(self.db, row.id)?;
                        continue;
                    }
                    Sealing::NeedsKeys { accounts, reset } => return self.want_keys(&row, accounts, reset),
                }
            }
            return self.transmit(lane, row.id);
        }
        Ok(())
    }

    /// The head of a lane, if it may leave.
    fn next_row(&self, lane: Lane) -> Stored<Option<OutboxRow>> {
        if self.live.flying.contains(&lane) || self.live.postponed.contains_key(&lane) {
            return Ok(None);
        }
        if self.live.planted.bugs.overtake_outbox {
            return outbox::tail(self.db, lane);
        }
        let head = outbox::head(self.db, lane)?;
        if self.is_held_for_person(head.as_ref())? {
            // What does not concern the number waits for nobody.
            return Ok(outbox::head_to_account(self.db, lane)?.or(head));
        }
        Ok(head)
    }

    fn transmit(&mut self, lane: Lane, id: OutboxId) -> Stored<()> {
        if self.is_blocked(lane) {
            return Ok(());
        }
        self.seal_again(id)?;
        let Some(OutboxRow { envelope_id: Some(envelope_id), message, .. }) = outbox::get(self.db, id)?
        else {
            return Ok(());
        };
        let urgency = if message.is_some() { Urgency::Normal } else { Urgency::Silent };
        let request = match lane.chat {
            ChatId::Direct(recipient) => Request::Send(Send {
                envelope_id,
                recipient,
                urgency,
                ttl: None,
                sealed: outbox::sealed(self.db, id)?,
                highest_stamp: profile::highest_stamp(self.db)?,
            }),
            ChatId::Group(group) => match self.group_request(id, envelope_id, group)? {
                Some(request) => request,
                None => return Ok(()),
            },
        };
        self.live.flying.insert(lane);
        self.request(request, Asked::Send { row: id, lane });
        Ok(())
    }

    /// Whether nothing of a lane may leave now; it is looked at again when that has changed.
    pub(crate) fn is_blocked(&mut self, lane: Lane) -> bool {
        let blocked = !self.live.is_open()
            || self.live.restored.is_some()
            || self.live.flying.len() >= SENDS_UNANSWERED_MAX;
        if blocked {
            self.live.ready.insert(lane);
        } else if let Some(until) = self.live.paused.get(&lane.class) {
            self.live.postponed.insert(lane, *until);
            return true;
        }
        blocked
    }

    /// The server has it on disk.
    pub(crate) fn accepted(&mut self, id: OutboxId, lane: Lane, stamp: Stamp) -> Stored<()> {
        self.landed(lane);
        profile::raise_highest_stamp(self.db, stamp)?;
        let Some(row) = outbox::get(self.db, id)? else { return Ok(()) };
        self.parcel_accepted(id)?;
        outbox::remove(self.db, id)?;
        if let Some(envelope) = row.envelope_id {
            sent::set_stamp(self.db, envelope, stamp)?;
            if let (Some(message), LaneClass::Messages) = (row.message, lane.class) {
                self.message_accepted(message, stamp)?;
                match lane.chat {
                    ChatId::Direct(_) => self.make_up_for(message, envelope)?,
                    ChatId::Group(group) => self.make_up_in_group(message, group)?,
                }
            }
            for device in sent::take_wanted(self.db, envelope)? {
                self.resend_envelope(device, envelope)?;
            }
        }
        Ok(())
    }

    fn message_accepted(&mut self, message: MessageSeq, stamp: Stamp) -> Stored<()> {
        let lowered = messages::lower_stamp(self.db, message, stamp)?;
        let own = messages::own_by_seq(self.db, message)?;
        if lowered {
            self.effect(Effect::StateChanged(own.id));
        }
        self.settle_receipts(message)
    }

    /// The server has not stored it, or does not know whether it has.
    pub(crate) fn send_refused(&mut self, id: OutboxId, lane: Lane, refusal: &Refusal) -> Stored<()> {
        self.landed(lane);
        let Some(row) = outbox::get(self.db, id)? else { return Ok(()) };
        if let ChatId::Group(group) = lane.chat
            && self.group_send_refused(&row, group, refusal)?
        {
            return Ok(());
        }
        self.head_delayed(&row, Some(refusal.code))?;
        match refusal.code {
            Code::StaleDevices => {
                self.unseal(&row)?;
                self.doubt_lists(lane, refusal.stale.as_deref())?;
                // The first time at once; a server that goes on like this is given time.
                if row.tries == 0 {
                    self.try_again(&row, Millis(0))
                } else {
                    self.back_off(&row, BACK_OFF_LONGEST_FULL)
                }
            }
            Code::EnvelopeConflict => {
                self.unseal(&row)?;
                self.back_off(&row, BACK_OFF_LONGEST)
            }
            Code::AccountClosed => {
                // Nothing was stored: what is to become of it is decided when it is sealed again.
                self.unseal(&row)?;
                match lane.chat {
                    ChatId::Direct(recipient) => contacts::set_closed(self.db, recipient),
                    ChatId::Group(_) => self.fail(&row, refusal.code.name()),
                }
            }
            Code::NoSuchAccount | Code::Forbidden | Code::TooLarge | Code::Malformed | Code::Unsupported => {
                self.fail(&row, refusal.code.name())
            }
            Code::RetryAfter => {
                let after = refusal.retry_after.unwrap_or(BACK_OFF_FIRST);
                self.live.paused.insert(lane.class, self.now + after);
                self.live.ready.insert(lane);
                Ok(())
            }
            Code::BadStamp => match refusal.retry_after {
                // A node that was started again stamps some seconds ahead; by then every node has caught up,
                // and the order holds.
                Some(after) if after <= STAMP_CATCH_UP_MAX => self.try_again(&row, after),
                _ => {
                    profile::forget_highest_stamp(self.db)?;
                    if row.tries == 0 {
                        self.try_again(&row, Millis(0))
                    } else {
                        self.back_off(&row, BACK_OFF_LONGEST)
                    }
                }
            },
            Code::KeysRequired => {
                self.upload_everything_again()?;
                // A server that goes on like this is not given keys without end.
                if row.tries == 0 {
                    self.try_again(&row, Millis(0))
                } else {
                    self.back_off(&row, BACK_OFF_LONGEST)
                }
            }
            Code::MailboxFull => self.back_off(&row, BACK_OFF_LONGEST_FULL),
            _ => self.back_off(&row, BACK_OFF_LONGEST),
        }
    }

    /// The server lists other devices than a send named: those accounts' lists are fetched before the next try,
    /// all of them at once.
    fn doubt_lists(&mut self, lane: Lane, stale: Option<&wire::Stale>) -> Stored<()> {
        let named = stale.into_iter().flat_map(|stale| {
            stale.missing.iter().chain(&stale.extra).chain(&stale.stale).map(|device| device.account)
        });
        let involved = [lane.chat.account(), Some(self.me.account())];
        let mut doubted: BTreeSet<AccountId> =
            named.filter(|account| involved.contains(&Some(*account))).collect();
        if doubted.is_empty() {
            doubted.extend(lane.chat.account());
        }
        for account in doubted {
            if account == self.me.account() && self.me.account_secret.is_some() {
                // Nobody else signs our lists, so it is the server that has an old one.
                self.live.put_list = true;
            } else {
                device_lists::mark_stale(self.db, account)?;
            }
        }
        Ok(())
    }

    fn landed(&mut self, lane: Lane) {
        self.live.flying.remove(&lane);
        self.live.ready.insert(lane);
    }

    /// Nothing was stored of this row, so it may be sealed again under another envelope id.
    pub(crate) fn unseal(&mut self, row: &OutboxRow) -> Stored<()> {
        if let Some(envelope) = row.envelope_id {
            sent::remove(self.db, envelope)?;
        }
        outbox::unseal(self.db, row.id)
    }

    /// Ends a row that the server refuses for good. A message of which we know by a receipt that it was
    /// accepted before stays accepted.
    fn fail(&mut self, row: &OutboxRow, word: &str) -> Stored<()> {
        self.parcel_over(row.id)?;
        outbox::remove(self.db, row.id)?;
        if let (Some(message), LaneClass::Messages) = (row.message, row.lane.class) {
            messages::set_failure(self.db, message, word)?;
            let id = messages::own_by_seq(self.db, message)?.id;
            self.effect(Effect::StateChanged(id));
        }
        Ok(())
    }

    /// Ends everything that waits for an account. What was sealed may have been accepted, and has an answer of its own.
    pub(crate) fn fail_recipient(&mut self, recipient: AccountId, code: Code) -> Stored<()> {
        for class in [LaneClass::Messages, LaneClass::Silent] {
            let head = |db| outbox::head(db, Lane { chat: recipient.into(), class });
            while let Some(row) = head(self.db)?.filter(|row| row.envelope_id.is_none()) {
                self.fail(&row, code.name())?;
            }
        }
        Ok(())
    }

    /// Ends everything that was to be sent: this device sends no more.
    pub(crate) fn fail_everything(&mut self, code: Code) -> Stored<()> {
        for lane in outbox::lanes(self.db)? {
            while let Some(row) = outbox::head(self.db, lane)? {
                self.fail(&row, code.name())?;
            }
        }
        Ok(())
    }

    /// Tries a message to a group again: the first time at once; a server that goes on like this is given time.
    pub(crate) fn retry_group_row(&mut self, row: &OutboxRow) -> Stored<()> {
        if row.tries < 3 { self.try_again(row, Millis(0)) } else { self.back_off(row, BACK_OFF_LONGEST) }
    }

    fn try_again(&mut self, row: &OutboxRow, after: Millis) -> Stored<()> {
        outbox::count_try(self.db, row.id)?;
        if after == Millis(0) {
            self.live.ready.insert(row.lane);
        } else {
            self.live.ready.remove(&row.lane);
            self.live.postponed.insert(row.lane, self.now + after);
        }
        Ok(())
    }

    /// Tries a row again later: exponential, with full jitter on the upper half.
    pub(crate) fn back_off(&mut self, row: &OutboxRow, longest: Millis) -> Stored<()> {
        self.head_delayed(row, None)?;
        let pause = Millis((BACK_OFF_FIRST.0 << row.tries.min(20)).min(longest.0));
        let half = Millis(pause.0 / 2);
        let after = Millis(half.0 + self.jitter(half).0);
        self.try_again(row, after)
    }
}
