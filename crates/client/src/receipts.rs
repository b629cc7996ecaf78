//! Receipts: owed in the commit that stores the message, batched, and sent as sealed messages. A receipt never
//! earns another one.

use crate::{
    Effect, EventView, MarkedRead,
    store::{
        Stored, chats,
        chats::Unmarked,
        contacts, early_receipts, events, inbox,
        inbox::ReceiptDue,
        messages,
        messages::{MessageSeq, OwnMessage},
    },
    turn::Turn,
};
use seal::{Body, DeliveredMessage, Receipt, ReceiptKind};
use std::collections::BTreeMap;
use types::{AccountId, ChatId, ConversationId, DeviceAddress, MessageId, Millis, NodeId, Stamp, Timestamp};
use wire::Envelope;

/// Receipts wait this long for company, and a random while longer, so that the moment says little.
const WAIT: Millis = Millis(200);
const WAIT_JITTER: Millis = Millis(400);
/// Messages that one receipt names (the limit of its format).
const MESSAGES_MAX: usize = 500;
/// Our messages that one turn marks as read: it stays short, however long the chat is.
const READS_AT_ONCE: usize = 1_000;
/// Until the next ones are marked, so that whatever came meanwhile has its turn.
const READS_PAUSE: Millis = Millis(1);
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
        if let (Some(up_to), ChatId::Direct(other)) = (unread, chat)
            && !contacts::is_blocked(self.db, other)?
        {
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
                self.live.reads_at = Some(self.now);
                Ok(())
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
        let at = envelope.stamp.time();
        match messages::own(self.db, self.me.account(), delivered.message_id)? {
            Some(message) if message.chat == chat => {
                self.set_delivered(&message, envelope.from, delivered.stamp, at)
            }
            Some(_) => Ok(false),
            None => {
                let said = (delivered.stamp, at);
                early_receipts::keep(self.db, delivered.message_id, chat, envelope.from, said)?;
                Ok(false)
            }
        }
    }

    fn set_delivered(
        &mut self,
        message: &OwnMessage,
        by: DeviceAddress,
        stamp: Stamp,
        at: Timestamp,
    ) -> Stored<bool> {
        let credible = message.stamp.is_none_or(|ours| stamp.time() + LOWER_STAMP_MAX >= ours.time());
        if credible && messages::lower_stamp(self.db, message.seq, stamp)? {
            self.settle_reads(message.seq)?;
        }
        messages::set_delivered(self.db, message.seq, by, at)
    }

    // ---- receipts that were here before their messages

    /// A message that has come, or whose stamp became known: devices may have said before what they have of it.
    pub(crate) fn settle_receipts(&mut self, message: MessageSeq) -> Stored<()> {
        let own = messages::own_by_seq(self.db, message)?;
        for early in early_receipts::take(self.db, own.id)? {
            let is_its_own = early.chat == *own.chat.as_bytes();
            if is_its_own && self.set_delivered(&own, early.by, early.stamp, early.at)? {
                let kind = crate::ReceiptKind::Delivered;
                self.log_receipt(kind, vec![own.id], early.by.account, early.at)?;
            }
        }
        self.settle_reads(message)
    }

    pub(crate) fn settle_reads(&mut self, message: MessageSeq) -> Stored<()> {
        let own = messages::own_by_seq(self.db, message)?;
        for (by, up_to, at) in chats::peer_reads(self.db, own.chat)? {
            if own.stamp <= Some(up_to) && messages::set_read(self.db, message, by, at)? {
                self.log_receipt(crate::ReceiptKind::Read, vec![own.id], by.account, at)?;
            }
        }
        Ok(())
    }

    // ---- how far others have read

    /// Marks our messages as read, as far as devices have said so: so many in a turn, and the rest in the next ones.
    pub(crate) fn advance_reads(&mut self) -> Stored<()> {
        if self.live.reads_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        let mut room = READS_AT_ONCE;
        while room > 0 {
            let Some(read) = chats::first_unmarked(self.db)? else {
                self.live.reads_at = None;
                return Ok(());
            };
            room = room.saturating_sub(self.mark_reads(&read, room)?.max(1));
        }
        self.live.reads_at = Some(self.now + READS_PAUSE);
        Ok(())
    }

    /// Marks the next messages; gives how many there were.
    fn mark_reads(&mut self, read: &Unmarked, room: usize) -> Stored<usize> {
        let unread = messages::unread_by(self.db, self.me.account(), read, room)?;
        let mut ids = Vec::with_capacity(unread.len());
        for (message, id, _) in &unread {
            if messages::set_read(self.db, *message, read.by, read.at)? {
                ids.push(*id);
            }
        }
        self.log_receipt(crate::ReceiptKind::Read, ids, read.by.account, read.at)?;
        let last = unread.last().filter(|_| unread.len() == room);
        chats::set_marked(self.db, read.chat, read.by, last.map_or(read.up_to, |(_, _, stamp)| *stamp))?;
        Ok(unread.len())
    }

    /// Logs a receipt, and says which messages have a new state.
    pub(crate) fn log_receipt(
        &mut self,
        kind: crate::ReceiptKind,
        message_ids: Vec<MessageId>,
        from: AccountId,
        at: Timestamp,
    ) -> Stored<()> {
        if message_ids.is_empty() {
            return Ok(());
        }
        for id in &message_ids {
            self.effect(Effect::StateChanged(*id));
        }
        let stamp = Stamp::new(at.as_millis() << 16, NodeId(0));
        let event = EventView::Receipt { kind, message_ids, from };
        events::log(self.db, self.live.batch, Some(stamp), &event)?;
        self.effect(Effect::EventsLogged);
        Ok(())
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
