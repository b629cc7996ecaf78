//! Numbers that move to another account: noticed, told, and believed only when the person has accepted it.
//!
//! Invariants: what was written to a number never reaches an account that the person has not accepted behind it;
//! what was written to an account, by its id, never reaches another one;
//! what waited for that reaches it once, in the order of writing; what the old account had taken in and nobody
//! got is shown as failed, and is not sent again by itself.

use crate::{
    AcceptedChange, Effect, EventView,
    live::Asked,
    sealing::Sealing,
    send::encoded,
    store::{
        Stored, chats, contacts, events, key_changes,
        key_changes::KeyChange,
        messages, outbox,
        outbox::{Lane, LaneClass, OutboxRow},
    },
    turn::Turn,
};
use seal::Content;
use types::{AccountId, ChatId, Millis, PhoneNumber, Stamp, limits::ENVELOPE_LIFE};
use wire::{Code, Refusal, Request};

/// A lookup that the server refused without a time of its own is made again after this: what waits for it must arrive
/// within the half minute that follows a fault.
const LOOK_UP_AGAIN_AFTER: Millis = Millis::from_secs(10);

impl Turn<'_> {
    /// Why a row must not be sealed now, if there is a reason.
    pub(crate) fn hindrance(&mut self, row: &OutboxRow, recipient: AccountId) -> Stored<Option<Sealing>> {
        // What was written to an account, and not to a number, goes there or fails.
        let is_written = row.lane.class == LaneClass::Messages && !row.to_account;
        if let (true, Some(change)) = (is_written, key_changes::of_old_account(self.db, recipient)?) {
            // It may have moved once more since: whoever accepts it accepts where it leads now.
            self.ask_for_successor(recipient, change.phone);
            return Ok(Some(Sealing::Waits));
        }
        if !contacts::is_closed(self.db, recipient)? {
            return Ok(None);
        }
        Ok(Some(match contacts::phone_of(self.db, recipient)?.filter(|_| is_written) {
            Some(phone) => {
                self.ask_for_successor(recipient, phone);
                Sealing::Waits
            }
            None => Sealing::Refused(Code::AccountClosed),
        }))
    }

    /// Whether the head of a lane waits for the person to accept where a number leads.
    pub(crate) fn is_held_for_person(&self, head: Option<&OutboxRow>) -> Stored<bool> {
        let Some(head) = head.filter(|head| head.envelope_id.is_none() && !head.to_account) else {
            return Ok(false);
        };
        match (head.lane.chat, head.lane.class) {
            (ChatId::Direct(account), LaneClass::Messages) => {
                Ok(key_changes::of_old_account(self.db, account)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// The account is closed, or was left by its number, which leads elsewhere now, or nowhere.
    fn ask_for_successor(&mut self, account: AccountId, phone: PhoneNumber) {
        let asked = Asked::Successor { account, phone: phone.clone() };
        if self.live.is_open() && !self.live.is_asked(|other| *other == asked) {
            self.request(Request::Lookup { numbers: vec![phone], verify_sender: false }, asked);
        }
    }

    pub(crate) fn successor_found(
        &mut self,
        account: AccountId,
        phone: &PhoneNumber,
        found: Option<AccountId>,
    ) -> Stored<()> {
        match found.filter(|found| *found != account && *found != self.me.account()) {
            Some(new) => self.notice_key_change(phone, account, new),
            None => {
                key_changes::remove(self.db, phone)?;
                self.fail_recipient(account, Code::AccountClosed)
            }
        }
    }

    /// Those of some accounts that are closed, or that their numbers have left: a group with one of them would have a
    /// member whom nobody reaches, in place of the person who was meant.
    pub(crate) fn unreachable(&self, accounts: &[AccountId]) -> Stored<Vec<AccountId>> {
        let mut unreachable = Vec::new();
        for account in accounts {
            if contacts::is_closed(self.db, *account)?
                || key_changes::of_old_account(self.db, *account)?.is_some()
            {
                unreachable.push(*account);
            }
        }
        Ok(unreachable)
    }

    pub(crate) fn successor_refused(&mut self, account: AccountId, refusal: &Refusal) {
        let until = self.now + refusal.retry_after.unwrap_or(LOOK_UP_AGAIN_AFTER);
        self.live.postponed.insert(Lane { chat: account.into(), class: LaneClass::Messages }, until);
    }

    /// Writes where a number leads. That it led elsewhere before is for the person to accept first.
    pub(crate) fn set_number(&mut self, phone: &PhoneNumber, account: AccountId) -> Stored<()> {
        match contacts::last_account_of(self.db, phone)? {
            Some(before) if before != account => self.notice_key_change(phone, before, account),
            _ => {
                contacts::set_number(self.db, phone, account, self.server_now())?;
                self.forget_key_change(phone, account)
            }
        }
    }

    /// Writes that a number leads nowhere.
    pub(crate) fn forget_number(&mut self, phone: &PhoneNumber) -> Stored<()> {
        let before = contacts::last_account_of(self.db, phone)?;
        contacts::forget_number(self.db, phone)?;
        match before {
            Some(before) => self.forget_key_change(phone, before),
            None => Ok(()),
        }
    }

    fn forget_key_change(&mut self, phone: &PhoneNumber, old_account: AccountId) -> Stored<()> {
        if key_changes::remove(self.db, phone)? {
            self.wake_lanes(old_account)?;
        }
        Ok(())
    }

    fn notice_key_change(
        &mut self,
        phone: &PhoneNumber,
        old_account: AccountId,
        account: AccountId,
    ) -> Stored<()> {
        contacts::ensure(self.db, account)?;
        contacts::drop_claim(self.db, account)?;
        let change = KeyChange { phone: phone.clone(), old_account, account };
        if !key_changes::put(self.db, &change, self.server_now())? {
            return Ok(());
        }
        if contacts::is_blocked(self.db, old_account)? {
            // Whoever registers anew is the same person to the one who has blocked them.
            self.set_blocked(account, true)?;
        }
        let oldest = self.server_now() - ENVELOPE_LIFE;
        let since = Stamp::new(oldest.as_millis() << 16, types::NodeId(0));
        let word = Code::AccountClosed.name();
        for id in messages::fail_undelivered(self.db, self.me.account(), old_account.into(), since, word)? {
            self.effect(Effect::StateChanged(id));
        }
        let event = EventView::KeyChanged { phone: phone.clone(), account, old_account };
        events::log(self.db, self.live.batch, None, &event)?;
        self.effect(Effect::EventsLogged);
        Ok(())
    }

    /// The person accepts the account behind a number: the number moves, and what waited goes to the new account.
    pub(crate) fn accept_key_change(&mut self, phone: &PhoneNumber) -> Stored<Option<AcceptedChange>> {
        let accepted = self.move_number(phone)?;
        if let Some(AcceptedChange { account, .. }) = accepted {
            self.tell_contact(account, true)?;
        }
        Ok(accepted)
    }

    /// The same without telling our other devices: it was one of them that said so.
    pub(crate) fn move_number(&mut self, phone: &PhoneNumber) -> Stored<Option<AcceptedChange>> {
        let Some(change) = key_changes::of_phone(self.db, phone)? else { return Ok(None) };
        let KeyChange { old_account, account, .. } = change;
        contacts::set_closed(self.db, old_account)?;
        contacts::set_number(self.db, phone, account, self.server_now())?;
        key_changes::remove(self.db, phone)?;
        chats::ensure(self.db, self.me.account(), account.into())?;
        let held = Lane { chat: old_account.into(), class: LaneClass::Messages };
        let mut released = 0;
        for row in outbox::unsealed(self.db, held)?.into_iter().filter(|row| !row.to_account) {
            self.release(&row, account)?;
            released += 1;
        }
        self.wake_lanes(old_account)?;
        self.wake_lanes(account)?;
        Ok(Some(AcceptedChange { account, old_account, released }))
    }

    /// Moves one message into the chat with the new account, with a counter of that chat. Nothing was sealed of it.
    fn release(&mut self, row: &OutboxRow, account: AccountId) -> Stored<()> {
        let chat = ChatId::Direct(account);
        outbox::remove(self.db, row.id)?;
        let Some(message) = row.message else { return Ok(()) };
        let written = Content::decode(&row.content).map_err(|_| crate::Fault::Damaged)?;
        let counter = chats::next_counter(self.db, chat)?;
        messages::move_to(self.db, message, chat, counter)?;
        let content = Content {
            counter,
            sent_at: written.sent_at,
            expire_after_seconds: written.expire_after_seconds,
            ..self.content(chat, written.message_id, written.body)
        };
        let lane = Lane { chat, class: LaneClass::Messages };
        outbox::push(self.db, lane, Some(message), &encoded(&content)?)?;
        Ok(())
    }
}
