//! Receipts: owed in the commit that stores the message, batched, and sent as sealed messages. A receipt never
//! earns another one.

use crate::{
    MarkedRead,
    store::{Stored, chats, inbox, inbox::ReceiptDue, messages},
    turn::Turn,
};
use seal::{Body, DeliveredMessage, Receipt, ReceiptKind};
use std::collections::BTreeMap;
use types::{AccountId, ChatId, ConversationId, Millis};
use wire::Envelope;

/// Receipts wait this long for company, and a random while longer, so that the moment says little.
const WAIT: Millis = Millis(200);
const WAIT_JITTER: Millis = Millis(400);
/// Messages that one receipt names (the limit of its format).
const MESSAGES_MAX: usize = 500;
/// A stamp that somebody else reports for our message is believed if it is not lower than ours by more.
const LOWER_STAMP_MAX: Millis = Millis::from_hours(24);

impl Turn<'_> {
    /// Owes a delivered receipt for a message, under the lowest stamp that is known for it.
    pub(crate) fn owe_receipt(&mut self, due: ReceiptDue) -> Stored<()> {
        inbox::receipt_due(self.db, &due)?;
        if self.live.receipts_at.is_none() {
            let after = Millis(WAIT.0 + self.jitter(WAIT_JITTER).0);
            self.live.receipts_at = Some(self.now + after);
        }
        Ok(())
    }

    /// Sends the receipts that are due, one for each chat and writer. A drain is waited for, so that there are few.
    pub(crate) fn advance_receipts(&mut self) -> Stored<()> {
        if self.live.is_draining() || self.live.receipts_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        self.live.receipts_at = None;
        let mut by_writer: BTreeMap<(ChatId, AccountId), Vec<DeliveredMessage>> = BTreeMap::new();
        for due in inbox::take_receipts_due(self.db)? {
            if self.live.planted.bugs.lose_receipts {
                continue;
            }
            let delivered = DeliveredMessage { message_id: due.message_id, stamp: due.stamp };
            by_writer.entry((due.chat, due.writer)).or_default().push(delivered);
        }
        for ((chat, writer), delivered) in by_writer {
            for delivered in delivered.chunks(MESSAGES_MAX) {
                let receipt = Receipt {
                    kind: ReceiptKind::Delivered,
                    delivered: delivered.to_vec(),
                    up_to: None,
                    conversation: chats::conversation(self.me.account(), chat),
                };
                self.send_silently(writer, Body::Receipt(receipt))?;
            }
        }
        Ok(())
    }

    /// Marks a chat read, and owes the other side one receipt for all that is new.
    pub(crate) fn mark_read(&mut self, chat: ChatId) -> Stored<MarkedRead> {
        let me = self.me.account();
        let newest = chats::newest_stamp(self.db, chat)?;
        let known = chats::read_up_to(self.db, chat)?;
        let unread = chats::newest_stamp_of_others(self.db, me, chat)?.filter(|newest| known < Some(*newest));
        if let Some(up_to) = newest
            && chats::raise_read_up_to(self.db, chat, up_to)?
        {
            self.tell_read(chat, up_to)?;
        }
        if let (Some(_), ChatId::Group(group)) = (unread, chat) {
            self.tell_group_read(group, known)?;
        }
        if let (Some(up_to), ChatId::Direct(other)) = (unread, chat) {
            let receipt = Receipt {
                kind: ReceiptKind::Read,
                delivered: Vec::new(),
                up_to: Some(up_to),
                conversation: chats::conversation(me, chat),
            };
            self.send_silently(other, Body::Receipt(receipt))?;
        }
        Ok(MarkedRead { up_to: newest })
    }

    /// A device says what it has stored, or what its person has seen.
    pub(crate) fn receipt_came(&mut self, envelope: &Envelope, receipt: &Receipt) -> Stored<()> {
        let at = envelope.stamp.time();
        // What somebody says of a conversation that is not theirs says nothing.
        let Some(chat) = self.chat_of(envelope.from.account, Some(receipt.conversation))? else {
            return Ok(());
        };
        match receipt.kind {
            ReceiptKind::Delivered => {
                let mut ids = Vec::with_capacity(receipt.delivered.len());
                for one in &receipt.delivered {
                    if self.delivered_to(envelope, chat, one)? {
                        ids.push(one.message_id);
                    }
                }
                self.log_receipt(crate::ReceiptKind::Delivered, ids, envelope.from.account, at)
            }
            ReceiptKind::Read => {
                let Some(up_to) = receipt.up_to else { return Ok(()) };
                let from = envelope.from;
                chats::ensure(self.db, self.me.account(), chat)?;
                chats::raise_peer_read(self.db, chat, from, up_to, at)?;
                self.read_by(chat, from, up_to, at)
            }
            ReceiptKind::Played => Ok(()),
        }
    }

    /// Writes that a device has one of our messages; true if that is new. The stamp that it names shows that the
    /// message was accepted, even if the answer to us was lost.
    fn delivered_to(
        &mut self,
        envelope: &Envelope,
        chat: ChatId,
        delivered: &DeliveredMessage,
    ) -> Stored<bool> {
        let message = messages::own(self.db, self.me.account(), delivered.message_id)?;
        let Some(message) = message.filter(|message| message.chat == chat) else {
            return Ok(false);
        };
        let credible =
            message.stamp.is_none_or(|ours| delivered.stamp.time() + LOWER_STAMP_MAX >= ours.time());
        if credible {
            messages::lower_stamp(self.db, message.seq, delivered.stamp)?;
        }
        messages::set_delivered(self.db, message.seq, envelope.from, envelope.stamp.time())
    }

    /// The chat that somebody may speak of: a direct one with them, or, among our own devices, any that there is.
    pub(crate) fn chat_of(
        &self,
        from: AccountId,
        conversation: Option<ConversationId>,
    ) -> Stored<Option<ChatId>> {
        let (me, direct) = (self.me.account(), ChatId::Direct(from));
        match conversation {
            None => Ok(None),
            Some(conversation) if from == me => chats::of_conversation(self.db, conversation),
            Some(conversation) if conversation == chats::conversation(me, direct) => Ok(Some(direct)),
            Some(conversation) => self.group_of(from, conversation),
        }
    }
}
