//! Receipts in groups: they go one-to-one to the account that wrote the message, and every member's counts.

use crate::{
    store::{Stored, group_keys, groups, messages, messages::OwnMessage, outbox, sent},
    turn::Turn,
};
use seal::{Body, Content, GroupView, Receipt, ReceiptKind, Text};
use types::{ChatId, DeviceAddress, GroupId, Stamp};

/// Resends of one message to one member.
const RESENDS_MAX: u32 = 3;

impl Turn<'_> {
    /// Tells everybody who wrote since the last mark that their messages were read.
    pub(crate) fn tell_group_read(&mut self, group: GroupId, known: Option<Stamp>) -> Stored<()> {
        let me = self.me.account();
        for (writer, up_to) in messages::newest_by_writer(self.db, me, group.into(), known)? {
            let receipt = Receipt {
                kind: ReceiptKind::Read,
                delivered: Vec::new(),
                up_to: Some(up_to),
                conversation: crate::store::chats::conversation(me, group.into()),
            };
            self.send_silently(writer, Body::Receipt(receipt))?;
        }
        Ok(())
    }

    /// The group that somebody may speak of: one whose member they are.
    pub(crate) fn group_of(
        &self,
        from: types::AccountId,
        conversation: types::ConversationId,
    ) -> Stored<Option<ChatId>> {
        let group = GroupId::from_bytes(*conversation.as_bytes());
        Ok(groups::is_member(self.db, group, from)?.then_some(ChatId::Group(group)))
    }

    /// Seals a message of ours to a group once more, for one member that could have opened it. False: it may not.
    pub(crate) fn resend_in_group(
        &mut self,
        by: DeviceAddress,
        group: GroupId,
        message: &OwnMessage,
        stamp: Stamp,
    ) -> Stored<bool> {
        let Some(state) = self.group(group)? else { return Ok(false) };
        let members = [by.account, self.me.account()];
        if !members.iter().all(|account| state.members().contains_key(account)) {
            return Ok(false);
        }
        let envelopes = sent::envelopes_of(self.db, message.seq)?;
        let Some(envelope) = envelopes.first().copied() else { return Ok(false) };
        if !self.could_read(by, &envelopes)? {
            return Ok(false);
        }
        let lane = outbox::Lane { chat: by.account.into(), class: outbox::LaneClass::Silent };
        if outbox::any(self.db, lane, |content| content.message_id == message.id)? {
            return Ok(true);
        }
        if group_keys::count_resend(self.db, message.seq, by.account)? > RESENDS_MAX {
            return Ok(false);
        }
        let body = Body::Text(Text::from(message.text.as_str()));
        let content = Content {
            recipient: Some(by.account),
            counter: message.counter,
            sent_at: message.sent_at,
            group: Some(GroupView { epoch: state.epoch(), head: state.head() }),
            original_stamp: Some(stamp),
            ..self.content(group.into(), message.id, body)
        };
        // The other devices of its account that could open the message get it, too; those that could not, do not.
        let (content, readers) = (crate::send::encoded(&content)?, outbox::Audience::ReadersOf(envelope));
        let row = outbox::push_for(self.db, lane, Some(message.seq), &content, readers)?;
        self.register_parcel(group, by.account, row, None)?;
        self.live.ready.insert(lane);
        Ok(true)
    }
}
