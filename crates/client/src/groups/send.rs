//! One message to a group: when it is encrypted, what leaves, and what each refusal means for it.

use super::{audience::Assembling, keys::own_fault};
use crate::{
    Fault,
    device_lists::view_of,
    live::Asked,
    sealing::Sealing,
    store::{
        Stored, group_keys,
        group_keys::{OwnKey, SealedForGroup},
        messages, outbox,
        outbox::{Lane, LaneClass, OutboxId, OutboxRow},
        profile, sent,
        sent::SentRow,
    },
    turn::Turn,
};
use seal::{Content, GroupView, SealError};
use signed::GroupState;
use types::{EnvelopeId, GroupId};
use wire::{Code, GroupSend, Refusal, Request, Urgency};

/// The word for a message to a group that one is not, or no more, a member of.
pub(crate) const NOT_A_MEMBER: &str = "not_a_member";

impl Turn<'_> {
    /// Encrypts the head of a group's lane, if everybody can open it and it can leave at once.
    pub(crate) fn seal_for_group(&mut self, row: &OutboxRow, group: GroupId) -> Stored<Sealing> {
        let Some(state) = self.group(group)? else { return Ok(Sealing::Refused(Code::NoSuchGroup)) };
        if !state.members().contains_key(&self.me.account()) {
            return Ok(Sealing::Ended(NOT_A_MEMBER));
        }
        if !state.may_send(self.me.account()) {
            return Ok(Sealing::Refused(Code::Forbidden));
        }
        let behind = self.live.groups.wanted.contains(&group) || self.is_fetching(group);
        if behind || self.is_blocked(row.lane) {
            return self.wait_for_group(group);
        }
        let content = Content::decode(&row.content).map_err(|_| Fault::Damaged)?;
        match self.assemble(&state, content.counter.saturating_sub(1))? {
            Assembling::Ready(audience) => {
                self.live.groups.waiting.remove(&group);
                self.encrypt_for_group(row, &state, content, audience.lists_digest)
            }
            Assembling::Waits => self.wait_for_group(group),
            Assembling::Blocked => Ok(Sealing::Later),
        }
    }

    fn wait_for_group(&mut self, group: GroupId) -> Stored<Sealing> {
        self.live.groups.waiting.insert(group);
        Ok(Sealing::Waits)
    }

    fn encrypt_for_group(
        &mut self,
        row: &OutboxRow,
        state: &GroupState,
        content: Content,
        lists_digest: [u8; 32],
    ) -> Stored<Sealing> {
        let group = state.id();
        let key = group_keys::own(self.db, group)?.ok_or(Fault::Bug("a group has an audience and no key"))?;
        let own = self.list(self.me.account())?;
        let content = Content {
            own_list: own.as_deref().map(view_of),
            group: Some(GroupView { epoch: state.epoch(), head: state.head() }),
            ..content
        };
        let sealed = match seal::group_encrypt(&mut self.encryption(), group, &content, self.rng) {
            Ok(sealed) => sealed,
            Err(SealError::Content(_)) => return Ok(Sealing::Refused(Code::TooLarge)),
            Err(SealError::NoSenderKey | SealError::Library(_)) => {
                // The state of this key is of no use: a new one heals it.
                self.rotate(group, Some(key))?;
                self.live.ready.insert(row.lane);
                return Ok(Sealing::Later);
            }
            Err(error) => return Err(own_fault(error)),
        };
        let envelope = EnvelopeId::random(self.rng);
        outbox::set_sealed(self.db, row.id, envelope, &[])?;
        let for_group = SealedForGroup {
            epoch: state.epoch(),
            head: state.head(),
            lists_digest,
            ciphertext: sealed.ciphertext,
        };
        group_keys::set_sealed(self.db, row.id, &for_group)?;
        self.remember_group_send(row, envelope, key)?;
        if let Some(message) = row.message {
            messages::set_group_epoch(self.db, message, state.epoch())?;
        }
        Ok(Sealing::Done)
    }

    fn remember_group_send(&mut self, row: &OutboxRow, envelope: EnvelopeId, key: OwnKey) -> Stored<()> {
        let sent = SentRow {
            chat: row.lane.chat,
            message: row.message,
            content: None,
            stamp: None,
            at: self.server_now(),
            resends: 0,
        };
        sent::insert(self.db, envelope, &sent, &[])?;
        group_keys::set_sent(self.db, envelope, key)?;
        let group = row.lane.chat.group().ok_or(Fault::Bug("a group's lane has no group"))?;
        group_keys::set_own(self.db, group, OwnKey { served: key.served + 1, ..key })
    }

    /// The frame of a sealed row.
    pub(crate) fn group_request(
        &self,
        id: OutboxId,
        envelope_id: EnvelopeId,
        group: GroupId,
    ) -> Stored<Option<Request>> {
        let Some(sealed) = group_keys::sealed(self.db, id)? else { return Ok(None) };
        Ok(Some(Request::SendGroup(GroupSend {
            envelope_id,
            group,
            epoch: sealed.epoch,
            head: sealed.head,
            lists_digest: sealed.lists_digest,
            urgency: Urgency::Normal,
            ttl: None,
            ciphertext: sealed.ciphertext.into(),
            highest_stamp: profile::highest_stamp(self.db)?,
        })))
    }

    /// What a refusal means for a message to a group; false if it means what it means for every send.
    pub(crate) fn group_send_refused(
        &mut self,
        row: &OutboxRow,
        group: GroupId,
        refusal: &Refusal,
    ) -> Stored<bool> {
        match refusal.code {
            Code::StaleDevices => {
                let lists = refusal.group.as_ref().map_or(&[][..], |standing| &standing.lists);
                self.lists_differ(lists, group)?;
            }
            Code::GroupHeadMoved => {
                let head = refusal.group.as_ref().and_then(|standing| standing.head);
                self.head_moved(group, head)?;
            }
            // The chain may say why: an operation that removed us has perhaps not arrived yet.
            Code::NoSuchGroup | Code::Forbidden if row.tries == 0 => self.want_group(group, None)?,
            _ => return Ok(false),
        }
        self.live.groups.audiences.remove(&group);
        self.unseal(row)?;
        self.retry_group_row(row)?;
        Ok(true)
    }

    // ---- waking

    /// Lets the next message of a group try again.
    pub(super) fn wake_group(&mut self, group: GroupId) {
        let lane = Lane { chat: group.into(), class: LaneClass::Messages };
        self.live.groups.waiting.remove(&group);
        self.live.ready.insert(lane);
    }

    pub(super) fn wake_group_if_waiting(&mut self, group: GroupId) {
        if self.live.groups.waiting.contains(&group) {
            self.live.groups.due.insert(group);
        }
    }

    /// Wakes groups that waited for something which is here now: once for all that came in a turn.
    pub(crate) fn advance_waiting(&mut self) -> Stored<()> {
        for group in std::mem::take(&mut self.live.groups.due) {
            let key = group_keys::own(self.db, group)?.map_or(0, |key| key.number);
            if !group_keys::is_on_its_way(self.db, group, key)? {
                self.wake_group(group);
            }
        }
        let lists_come = !self.live.lists_wanted.is_empty()
            || self.live.is_asked(|asked| matches!(asked, Asked::Lists(_)));
        if std::mem::take(&mut self.live.groups.lists_came) {
            if lists_come {
                self.live.groups.lists_came = true;
            } else {
                self.wake_waiting_groups();
            }
        }
        Ok(())
    }

    /// Lets every message to a group that waits try again.
    pub(crate) fn wake_waiting_groups(&mut self) {
        let waiting: Vec<GroupId> = self.live.groups.waiting.iter().copied().collect();
        waiting.into_iter().for_each(|group| self.wake_group(group));
    }
}
