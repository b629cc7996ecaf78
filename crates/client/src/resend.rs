//! Requests of others to seal again what did not arrive or did not open. Each is answered within bounds: with the
//! same message under a new envelope id, or with `void`, which closes the gap.

use crate::{
    store::{
        Stored, group_keys, groups, messages,
        messages::OwnMessage,
        outbox,
        outbox::{Audience, Lane, LaneClass},
        sent,
        sent::Resend,
    },
    turn::Turn,
};
use seal::{
    Body, Content, InnerContent, Peer, ResendRequest, SenderKeyDistribution, SentTranscript, Text, Void,
};
use types::{
    ChatId, ConversationId, DeviceAddress, EnvelopeId, GroupId, MessageId, Millis, Stamp,
    limits::ENVELOPE_LIFE,
};

/// Resends of one message.
const RESENDS_MAX: u32 = 3;
/// Resends with one device within an hour: as many as are answered, and no more than that are asked for.
pub(crate) const RESENDS_AN_HOUR_MAX: u64 = 50;

/// What a request is about, as `void` names it.
enum Wanted {
    Counter(ConversationId, u64),
    Envelope(EnvelopeId),
}

impl Turn<'_> {
    pub(crate) fn resend_asked(&mut self, by: DeviceAddress, request: &ResendRequest) -> Stored<()> {
        if let Some(envelope) = request.envelope_id {
            self.resend_envelope(by, envelope)?;
        }
        let Some(conversation) = request.conversation else { return Ok(()) };
        let Some(chat) = self.chat_of(by.account, Some(conversation))? else { return Ok(()) };
        let mut void = Vec::new();
        for counter in &request.counters {
            match messages::own_by_counter(self.db, self.me.address, chat, *counter)? {
                Some(message) => {
                    self.resend_message(by, &message, Wanted::Counter(conversation, *counter))?;
                }
                None => void.push(*counter),
            }
        }
        if void.is_empty() || !self.may_answer(by)? {
            return Ok(());
        }
        sent::count(self.db, Resend::Answered, by, self.server_now())?;
        let void = Void { conversation: Some(conversation), counters: void, envelope_id: None };
        self.send_silently_to(by, Body::Void(void))
    }

    /// Answers a request for what was in an envelope.
    pub(crate) fn resend_envelope(&mut self, by: DeviceAddress, envelope: EnvelopeId) -> Stored<()> {
        let Some(sent) = sent::get(self.db, envelope)?.filter(|sent| self.concerns(by, sent.chat)) else {
            return self.void(by, Wanted::Envelope(envelope));
        };
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
        let group = content.as_ref().and_then(given_in_group);
        let is_member = match group {
            Some(group) => groups::is_member(self.db, group, by.account)?,
            None => true,
        };
        let allowed = sent.resends < RESENDS_MAX
            && self.is_young(sent.at)
            && is_member
            && self.could_read(by, &[envelope])?;
        match content {
            Some(content) if allowed && self.may_answer(by)? => {
                sent::count_resend(self.db, envelope)?;
                sent::count(self.db, Resend::Answered, by, self.server_now())?;
                let content = Content { original_stamp: Some(stamp), ..content };
                let row = self.queue_silently(by.account, None, &content, Audience::ReadersOf(envelope))?;
                match group {
                    Some(group) => self.register_parcel(group, by.account, row, None),
                    None => Ok(()),
                }
            }
            _ => self.void(by, Wanted::Envelope(envelope)),
        }
    }

    fn resend_message(&mut self, by: DeviceAddress, message: &OwnMessage, wanted: Wanted) -> Stored<()> {
        if message.sender != self.me.address {
            // The device that wrote it answers for it.
            return Ok(());
        }
        if !self.concerns(by, message.chat) {
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
            && self.could_read(by, &envelopes)?;
        let Some(envelope) = envelopes.first().copied().filter(|_| allowed) else {
            return self.void(by, wanted);
        };
        let written = self.written_content(message, stamp);
        let (lane, content) = self.addressed_again(by, written, stamp)?;
        let is_queued = outbox::any_of_message(self.db, lane, message.seq)?;
        if is_queued || !self.may_answer(by)? {
            return Ok(());
        }
        messages::count_resend(self.db, message.seq)?;
        sent::count(self.db, Resend::Answered, by, self.server_now())?;
        self.queue_silently(by.account, Some(message.seq), &content, Audience::ReadersOf(envelope))?;
        Ok(())
    }

    /// A message as it was written, with the stamp under which it was accepted.
    fn written_content(&self, message: &OwnMessage, stamp: Stamp) -> Content {
        let body = Body::Text(Text::from(message.text.as_str()));
        Content {
            counter: message.counter,
            sent_at: message.sent_at,
            original_stamp: Some(stamp),
            ..self.content(message.chat, message.id, body)
        }
    }

    /// A message for those that it was written to as it is, and for our own devices as a transcript.
    fn addressed_again(
        &mut self,
        by: DeviceAddress,
        written: Content,
        stamp: Stamp,
    ) -> Stored<(Lane, Content)> {
        let lane = Lane { chat: by.account.into(), class: LaneClass::Silent };
        if by.account != self.me.account() {
            return Ok((lane, written));
        }
        let id = MessageId::new(self.now, self.rng);
        let content = InnerContent::new(written)
            .map_err(|_| crate::Fault::Bug("a content of our own breaks a limit"))?;
        let body = Body::SentTranscript(SentTranscript { content });
        Ok((lane, Content { original_stamp: Some(stamp), ..self.content(by.account.into(), id, body) }))
    }

    /// Whether what was sent to a chat may have been for this account, too: the other side, our own devices, or a
    /// member, which is looked at closer.
    fn concerns(&self, by: DeviceAddress, chat: ChatId) -> bool {
        by.account == self.me.account() || chat == by.account.into() || chat.group().is_some()
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
            return self.void(by, wanted);
        }
        if let Wanted::Envelope(_) = wanted {
            self.doubt_key(group, by)?;
        }
        sent::count(self.db, Resend::Answered, by, self.server_now())
    }

    fn void(&mut self, by: DeviceAddress, wanted: Wanted) -> Stored<()> {
        if !self.may_answer(by)? {
            return Ok(());
        }
        sent::count(self.db, Resend::Answered, by, self.server_now())?;
        let (conversation, counters, envelope_id) = match wanted {
            Wanted::Counter(conversation, counter) => (conversation, vec![counter], None),
            Wanted::Envelope(envelope) => {
                (signed::direct_conversation(self.me.account(), by.account), Vec::new(), Some(envelope))
            }
        };
        let void = Void { conversation: Some(conversation), counters, envelope_id };
        self.send_silently_to(by, Body::Void(void))
    }

    fn may_answer(&self, by: DeviceAddress) -> Stored<bool> {
        let hour_ago = self.server_now() - Millis::from_hours(1);
        Ok(sent::resends_since(self.db, Resend::Answered, by, hour_ago)? < RESENDS_AN_HOUR_MAX)
    }

    fn is_young(&self, at: types::Timestamp) -> bool {
        self.server_now().since(at) < ENVELOPE_LIFE
    }

    /// Whether a device that is listed now could read one of these envelopes when it was sent.
    pub(crate) fn could_read(&mut self, by: DeviceAddress, envelopes: &[EnvelopeId]) -> Stored<bool> {
        let list = self.list(by.account)?;
        match list.and_then(|list| Peer::on_list(&list, by.device)) {
            Some(peer) => self.was_sealed_to(&peer, envelopes),
            None => Ok(false),
        }
    }

    /// Whether one of these envelopes was sealed to a device, or to a group under a key that it was given, under the
    /// identity that it has now.
    pub(crate) fn was_sealed_to(&self, peer: &Peer, envelopes: &[EnvelopeId]) -> Stored<bool> {
        for envelope in envelopes {
            if sent::was_sealed_to(self.db, *envelope, peer)?
                || group_keys::could_open(self.db, *envelope, peer)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The group of a content that only its members are given.
fn given_in_group(content: &Content) -> Option<GroupId> {
    match &content.body {
        Body::SenderKeyDistribution(SenderKeyDistribution { group, .. })
        | Body::GroupSecret { group, .. } => Some(*group),
        _ => None,
    }
}
