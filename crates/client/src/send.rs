//! The command that sends a text.

use crate::{
    DeliveryState, SendError, SendText, Sent,
    store::{
        Stored, chats, contacts, groups, messages,
        messages::{NewMessage, OwnMessage},
        outbox,
        outbox::{Audience, Lane, LaneClass, OutboxId},
    },
    turn::Turn,
};
use seal::{Body, Content, Text};
use types::{AccountId, ChatId, DeviceAddress, MessageId, Timestamp, limits::TEXT_BYTES_MAX};

impl Turn<'_> {
    /// Stores a text with its place in the order of its chat. It leaves in this turn, if it can. `to_account`: it goes
    /// to this account or nowhere, whatever becomes of its number.
    pub(crate) fn send_text(&mut self, text: &SendText, to_account: bool) -> Stored<Result<Sent, SendError>> {
        if text.text.len() > TEXT_BYTES_MAX {
            return Ok(Err(SendError::TextTooLong { bytes: text.text.len() }));
        }
        if text.chat == self.me.account().into() {
            return Ok(Err(SendError::ToOneself));
        }
        if let Some(known) = messages::own(self.db, self.me.account(), text.message_id)? {
            let same = known.chat == text.chat && known.text == text.text;
            return Ok(if same { Ok(sent(&known)) } else { Err(SendError::MessageIdUsed) });
        }
        if let ChatId::Direct(account) = text.chat
            && contacts::is_blocked(self.db, account)?
        {
            return Ok(Err(SendError::Blocked));
        }
        if let ChatId::Group(group) = text.chat
            && !groups::is_member(self.db, group, self.me.account())?
        {
            return Ok(Err(SendError::NotAMember));
        }
        chats::ensure(self.db, self.me.account(), text.chat)?;
        let counter = chats::next_counter(self.db, text.chat)?;
        let message = NewMessage {
            id: text.message_id,
            chat: text.chat,
            sender: self.me.address,
            counter,
            sent_at: self.now,
            stamp: None,
            text: &text.text,
            envelope: None,
        };
        let seq = messages::insert(self.db, &message)?;
        let body = Body::Text(Text::from(text.text.as_str()));
        let content = Content { counter, ..self.content(text.chat, text.message_id, body) };
        let lane = Lane { chat: text.chat, class: LaneClass::Messages };
        let row = outbox::push(self.db, lane, Some(seq), &encoded(&content)?)?;
        if to_account {
            outbox::set_to_account(self.db, row)?;
        }
        self.live.ready.insert(lane);
        Ok(Ok(sent(&messages::own_by_seq(self.db, seq)?)))
    }

    /// Queues something that history does not show.
    pub(crate) fn send_silently(&mut self, recipient: AccountId, body: Body) -> Stored<()> {
        chats::ensure(self.db, self.me.account(), recipient.into())?;
        let id = MessageId::new(self.now, self.rng);
        let content = self.content(recipient.into(), id, body);
        self.queue_silently(recipient, None, &content, Audience::All)?;
        Ok(())
    }

    /// Queues something that history does not show for one device. The others of its account get nothing of it.
    pub(crate) fn send_silently_to(&mut self, device: DeviceAddress, body: Body) -> Stored<()> {
        chats::ensure(self.db, self.me.account(), device.account.into())?;
        let id = MessageId::new(self.now, self.rng);
        let content = self.content(device.account.into(), id, body);
        self.queue_silently(device.account, None, &content, Audience::Device(device.device))?;
        Ok(())
    }

    pub(crate) fn queue_silently(
        &mut self,
        recipient: AccountId,
        message: Option<messages::MessageSeq>,
        content: &Content,
        audience: Audience,
    ) -> Stored<OutboxId> {
        let lane = Lane { chat: recipient.into(), class: LaneClass::Silent };
        let row = outbox::push_for(self.db, lane, message, &encoded(content)?, audience)?;
        self.live.ready.insert(lane);
        Ok(row)
    }

    /// A content of this device in a chat, with everything but what is only known when it is sealed.
    pub(crate) fn content(&self, chat: ChatId, message_id: MessageId, body: Body) -> Content {
        content_of(self.me.address, chat, message_id, self.now, body)
    }
}

/// A content of a device in a chat, with everything but what is only known when it is sealed.
pub(crate) fn content_of(
    sender: DeviceAddress,
    chat: ChatId,
    message_id: MessageId,
    sent_at: Timestamp,
    body: Body,
) -> Content {
    Content {
        message_id,
        conversation: chats::conversation(sender.account, chat),
        sent_at,
        sender,
        recipient: chat.account(),
        counter: 0,
        own_list: None,
        recipient_list: None,
        group: None,
        expire_after_seconds: 0,
        sender_phone: None,
        original_stamp: None,
        body,
    }
}

pub(crate) fn encoded(content: &Content) -> Stored<Vec<u8>> {
    content.encode().map_err(|_| crate::Fault::Bug("a content of our own breaks a limit"))
}

fn sent(message: &OwnMessage) -> Sent {
    let state = match (&message.failure, message.stamp) {
        (_, Some(_)) => DeliveryState::Accepted,
        (Some(_), None) => DeliveryState::Failed,
        (None, None) => DeliveryState::Queued,
    };
    Sent { message_id: message.id, chat: message.chat, stamp: message.stamp, state }
}
