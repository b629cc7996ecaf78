//! What a verified content does: its sender is on the list, its addresses are right, nothing was shown yet.

use crate::{
    Effect,
    device_lists::Claim,
    receive::Intake,
    store::{
        Stored, chats, contacts, events, gaps, inbox, inbox::ReceiptDue, messages, messages::NewMessage,
    },
    turn::Turn,
};
use seal::{Body, Content, Opened, Text};
use types::{AccountId, ChatId, MessageId, Stamp};
use wire::Envelope;

impl Turn<'_> {
    pub(crate) fn apply(&mut self, envelope: &Envelope, opened: &Opened, content: Content) -> Stored<Intake> {
        let from = envelope.from;
        match &content.body {
            Body::Forward(forward) => return self.forwarded(envelope, opened, forward),
            Body::HistoryArchive(history) => {
                self.history_came(from, history)?;
                return Ok(Intake::Done);
            }
            _ => {}
        }
        if let Some(view) = content.group {
            return self.apply_in_group(envelope, opened, &content, view);
        }
        let chat = ChatId::Direct(from.account);
        let stamp = content.original_stamp.map_or(envelope.stamp, |original| original.min(envelope.stamp));
        if self.is_passed_over(chat, &content, stamp)? {
            return Ok(Intake::Done);
        }
        if !acts_on(&content.body, from.account == self.me.account()) {
            // A later version may show it; that it takes a place in the order is known now.
            self.count(chat, from, content.counter, stamp)?;
            return self.put_aside(envelope, Some(opened), "unsupported_body");
        }
        self.check_view_of_us(&content)?;
        if content.original_stamp.is_some() {
            gaps::remove_envelope_with_stamp(self.db, from, stamp)?;
        }
        match &content.body {
            Body::SenderKeyDistribution(key) => return self.distribution_came(envelope, opened, key),
            Body::GroupSecret { group, secret, link } => {
                return self.group_secret_came(envelope, opened, *group, (secret, link.as_ref()));
            }
            _ => {}
        }
        if from.account == self.me.account() {
            return self.apply_own(envelope, opened, &content, stamp);
        }
        self.note_claim(&content)?;
        if !inbox::see(self.db, from.account, content.message_id, self.server_now())? {
            return self.repeated(chat, from.account, content.message_id, stamp);
        }
        self.forward(&content, stamp)?;
        match &content.body {
            Body::Text(text) => self.show(envelope, chat, &content, text, stamp)?,
            Body::Receipt(receipt) => self.receipt_came(envelope, receipt)?,
            Body::ResendRequest(request) => self.resend_asked(from, request)?,
            Body::Void(void) => self.void_came(from, void)?,
            _ => {}
        }
        Ok(Intake::Done)
    }

    /// The message row, its place in the order, its event and the receipt that it earns, in this transaction.
    pub(crate) fn show(
        &mut self,
        envelope: &Envelope,
        chat: ChatId,
        content: &Content,
        text: &Text,
        stamp: Stamp,
    ) -> Stored<()> {
        let from = envelope.from;
        chats::ensure(self.db, self.me.account(), chat)?;
        let by_arrival = self.live.planted.bugs.order_by_arrival;
        let stamp = if by_arrival { self.stamp_by_arrival(chat, stamp)? } else { stamp };
        let message = NewMessage {
            id: content.message_id,
            chat,
            sender: from,
            counter: content.counter,
            sent_at: content.sent_at,
            stamp: Some(stamp),
            text: &text.text,
            envelope: Some(envelope.envelope_id),
        };
        // Ids older than 60 days are forgotten; the messages are not.
        let Some(seq) = messages::insert_new(self.db, &message)? else { return Ok(()) };
        self.count_content(chat, from, content, stamp)?;
        if let Some(view) = content.group {
            messages::set_group_epoch(self.db, seq, view.epoch)?;
        }
        events::log_message(self.db, self.live.batch, chat, seq, stamp)?;
        self.effect(Effect::EventsLogged);
        if from.account == self.me.account() {
            return self.settle_receipts(seq);
        }
        self.owe_receipt(ReceiptDue { chat, writer: from.account, message_id: content.message_id, stamp })
    }

    /// The same message in another envelope: shown once, under the lowest stamp.
    pub(crate) fn repeated(
        &mut self,
        chat: ChatId,
        writer: AccountId,
        message_id: MessageId,
        stamp: Stamp,
    ) -> Stored<Intake> {
        let lowered = messages::lower_stamp_of_received(self.db, writer, message_id, stamp)?;
        if lowered && writer != self.me.account() {
            self.owe_receipt(ReceiptDue { chat, writer, message_id, stamp })?;
        }
        Ok(Intake::Done)
    }

    /// A list of ours that we did not sign, or a newer one than we know, shows a server that lies to one of us.
    fn check_view_of_us(&mut self, content: &Content) -> Stored<()> {
        let Some(view) = content.recipient_list else { return Ok(()) };
        let (chat, me) = (content.sender.account.into(), self.me.account());
        match self.compare_view(me, view)? {
            Claim::Agrees => Ok(()),
            Claim::Newer if self.me.account_secret.is_none() => {
                // The primary may have signed it a moment ago: compared when the list was fetched.
                if !self.live.own_views.contains(&(chat, view)) {
                    self.live.own_views.push((chat, view));
                }
                self.want_list(me);
                Ok(())
            }
            // We signed it, and the server has told others before us that it took it.
            Claim::Newer if self.is_list_on_its_way(view)? => Ok(()),
            Claim::Newer | Claim::Contradicts => self.report_split_view(chat, me, view.version),
        }
    }

    /// The number that a new contact says is theirs is looked up before it is shown.
    fn note_claim(&mut self, content: &Content) -> Stored<()> {
        let Some(phone) = &content.sender_phone else { return Ok(()) };
        let account = content.sender.account;
        if contacts::phone_of(self.db, account)?.is_none() {
            contacts::claim_phone(self.db, account, phone)?;
            self.live.has_claims = true;
        }
        Ok(())
    }
}

/// Bodies that this version does something about; the others are kept for one that does.
pub(crate) const fn acts_on(body: &Body, is_own: bool) -> bool {
    match body {
        Body::Text(_)
        | Body::Receipt(_)
        | Body::ResendRequest(_)
        | Body::Void(_)
        | Body::SessionReset
        | Body::SenderKeyDistribution(_)
        | Body::GroupSecret { .. } => true,
        Body::SentTranscript(_) | Body::Sync(_) => is_own,
        _ => false,
    }
}
