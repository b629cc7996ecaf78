//! Requests of others to seal again what did not arrive or did not open. Each is answered within bounds: with the
//! same message under a new envelope id, or with `void`, which closes the gap.

use crate::{
    store::{
        Stored, chats, messages,
        messages::OwnMessage,
        outbox,
        outbox::{Lane, LaneClass},
        sent,
        sent::Resend,
    },
    turn::Turn,
};
use seal::{Body, Content, ResendRequest, Text, Void};
use types::{AccountId, ChatId, DeviceAddress, EnvelopeId, GroupId, Millis, Stamp, limits::ENVELOPE_LIFE};

/// Resends of one message.
const RESENDS_MAX: u32 = 3;
/// Resends with one device within an hour: as many as are answered, and no more than that are asked for.
pub(crate) const RESENDS_AN_HOUR_MAX: u64 = 50;

/// What a request is about, as `void` names it.
enum Wanted {
    Counter(u64),
    Envelope(EnvelopeId),
}

impl Turn<'_> {
    pub(crate) fn resend_asked(&mut self, by: DeviceAddress, request: &ResendRequest) -> Stored<()> {
        if let Some(envelope) = request.envelope_id {
            self.resend_envelope(by, envelope)?;
        }
        let Some(chat) = self.chat_of(by.account, request.conversation)? else { return Ok(()) };
        let mut void = Vec::new();
        for counter in &request.counters {
            match messages::own_by_counter(self.db, self.me.address, chat, *counter)? {
                Some(message) => self.resend_message(by, &message, Wanted::Counter(*counter))?,
                None => void.push(*counter),
            }
        }
        if void.is_empty() || !self.may_answer(by)? {
            return Ok(());
        }
        sent::count(self.db, Resend::Answered, by, self.server_now())?;
        let void = Void { conversation: request.conversation, counters: void, envelope_id: None };
        self.send_silently(by.account, Body::Void(void))
    }

    /// Answers a request for what was in an envelope.
    pub(crate) fn resend_envelope(&mut self, by: DeviceAddress, envelope: EnvelopeId) -> Stored<()> {
        let is_theirs = |chat: ChatId| chat == by.account.into() || chat.group().is_some();
        let sent = sent::get(self.db, envelope)?.filter(|sent| is_theirs(sent.chat));
        let Some(sent) = sent else { return self.void(by, Wanted::Envelope(envelope)) };
        if let Some(seq) = sent.message {
            let message = messages::own_by_seq(self.db, seq)?;
            if message.stamp.is_none() && message.failure.is_none() {
                // Its acceptance is not known here yet; it is answered with it.
                return sent::want(self.db, envelope, by);
            }
            return self.resend_message(by, &message, Wanted::Envelope(envelope));
        }
        let Some(stamp) = sent.stamp else { return sent::want(self.db, envelope, by) };
        let content = sent.content.as_deref().and_then(|bytes| Content::decode(bytes).ok());
        let allowed = sent.resends < RESENDS_MAX
            && self.is_young(sent.at)
            && self.were_sealed_to(by.account, &[envelope])?;
        match content {
            Some(content) if allowed && self.may_answer(by)? => {
                sent::count_resend(self.db, envelope)?;
                sent::count(self.db, Resend::Answered, by, self.server_now())?;
                let content = Content { original_stamp: Some(stamp), ..content };
                self.queue_silently(by.account, None, &content)
            }
            _ => self.void(by, Wanted::Envelope(envelope)),
        }
    }

    fn resend_message(&mut self, by: DeviceAddress, message: &OwnMessage, wanted: Wanted) -> Stored<()> {
        if message.sender != self.me.address {
            // The device that wrote it answers for it.
            return Ok(());
        }
        if message.chat != by.account.into() && message.chat.group().is_none() {
            return self.void(by, wanted);
        }
        let Some(stamp) = message.stamp else {
            // Not accepted: it comes by itself, or never.
            return if message.failure.is_some() { self.void(by, wanted) } else { Ok(()) };
        };
        if let ChatId::Group(group) = message.chat {
            return self.resend_to_member(by, group, message, stamp, wanted);
        }
        let envelopes = sent::envelopes_of(self.db, message.seq)?;
        let allowed = message.resends < RESENDS_MAX
            && self.is_young(stamp.time())
            && self.were_sealed_to(by.account, &envelopes)?;
        if !allowed {
            return self.void(by, wanted);
        }
        let lane = Lane { chat: by.account.into(), class: LaneClass::Silent };
        let is_queued = outbox::any(self.db, lane, |content| content.message_id == message.id)?;
        if is_queued || !self.may_answer(by)? {
            return Ok(());
        }
        messages::count_resend(self.db, message.seq)?;
        sent::count(self.db, Resend::Answered, by, self.server_now())?;
        let body = Body::Text(Text::from(message.text.as_str()));
        let content = Content {
            counter: message.counter,
            sent_at: message.sent_at,
            original_stamp: Some(stamp),
            ..self.content(by.account.into(), message.id, body)
        };
        self.queue_silently(by.account, Some(message.seq), &content)
    }

    fn resend_to_member(
        &mut self,
        by: DeviceAddress,
        group: GroupId,
        message: &OwnMessage,
        stamp: Stamp,
        wanted: Wanted,
    ) -> Stored<()> {
        if !self.may_answer(by)? {
            return Ok(());
        }
        let young = self.is_young(stamp.time());
        if !young || !self.resend_in_group(by, group, message, stamp)? {
            return self.void_in(by, message.chat, wanted);
        }
        sent::count(self.db, Resend::Answered, by, self.server_now())
    }

    fn void(&mut self, by: DeviceAddress, wanted: Wanted) -> Stored<()> {
        self.void_in(by, by.account.into(), wanted)
    }

    fn void_in(&mut self, by: DeviceAddress, chat: ChatId, wanted: Wanted) -> Stored<()> {
        if !self.may_answer(by)? {
            return Ok(());
        }
        sent::count(self.db, Resend::Answered, by, self.server_now())?;
        let (counters, envelope_id) = match wanted {
            Wanted::Counter(counter) => (vec![counter], None),
            Wanted::Envelope(envelope) => (Vec::new(), Some(envelope)),
        };
        let conversation = Some(chats::conversation(self.me.account(), chat));
        self.send_silently(by.account, Body::Void(Void { conversation, counters, envelope_id }))
    }

    fn may_answer(&self, by: DeviceAddress) -> Stored<bool> {
        let hour_ago = self.server_now() - Millis::from_hours(1);
        Ok(sent::resends_since(self.db, Resend::Answered, by, hour_ago)? < RESENDS_AN_HOUR_MAX)
    }

    fn is_young(&self, at: types::Timestamp) -> bool {
        self.server_now().since(at) < ENVELOPE_LIFE
    }

    /// Whether every device that a resend would reach now could read the message when it was sent: each, under
    /// its present identity, was among those that one of these envelopes was sealed to.
    fn were_sealed_to(&mut self, account: AccountId, envelopes: &[EnvelopeId]) -> Stored<bool> {
        let Some(list) = self.list(account)? else { return Ok(false) };
        for peer in crate::sealing::peers_of(&list) {
            let mut could_read = false;
            for envelope in envelopes {
                could_read |= sent::was_sealed_to(self.db, *envelope, &peer)?;
            }
            if !could_read {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
