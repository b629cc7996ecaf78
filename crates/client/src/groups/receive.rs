//! What comes in groups: messages, keys and secrets, each held against the chain before it counts.

use super::{HeadClaim, secrets::learn_link};
use crate::{
    receive::Intake,
    sealing::store_failed,
    store::{Stored, gaps, group_held::Wait, groups, groups::Standing, inbox},
    turn::Turn,
};
use seal::{
    Body, Content, DecryptError, DecryptFailure, GroupSecret, GroupView, LinkSeed, Opened, Peer,
    SenderKeyDistribution,
};
use types::{AccountId, ChatId, GroupId, Millis, Stamp};
use wire::Envelope;

/// How far behind the end of its sender's membership a message may stand: nodes' clocks differ, and sends that were
/// admitted before an operation end after it.
const ADMITTED_LATE_MAX: Millis = Millis::from_secs(30);

/// Where the sender of something stood on the chain.
enum Place {
    /// On an operation that is not known yet.
    Ahead,
    /// On another chain.
    Fork,
    /// It was no member there, or might not send.
    Outside,
    Inside(Standing),
}

impl Turn<'_> {
    /// A content that belongs to a group: under a sender key, or sent again one-to-one.
    pub(crate) fn apply_in_group(
        &mut self,
        envelope: &Envelope,
        opened: &Opened,
        content: &Content,
        view: GroupView,
    ) -> Stored<Intake> {
        let group = GroupId::from_bytes(*content.conversation.as_bytes());
        let (from, account) = (envelope.from, envelope.from.account);
        let standing = match self.place_of(group, account, view)? {
            Place::Ahead => return self.hold_ahead(group, account, envelope, opened, view),
            Place::Fork => {
                self.report_fork(group, account, view.epoch)?;
                return self.put_aside(envelope, Some(opened), "fork");
            }
            Place::Outside => return Ok(Intake::Done),
            Place::Inside(standing) => standing,
        };
        // Whoever left may have written before; that it comes much later than the end is the server's doing.
        let is_late = |ended: Stamp| envelope.stamp.time() > ended.time() + ADMITTED_LATE_MAX;
        if standing.ended.is_some_and(is_late) && !self.live.planted.bugs.hear_former_members {
            return Ok(Intake::Done);
        }
        let chat = ChatId::Group(group);
        let stamp = content.original_stamp.map_or(envelope.stamp, |original| original.min(envelope.stamp));
        let Body::Text(text) = &content.body else {
            // A later version may show it; that it takes a place in the order is known now.
            self.count_content(chat, from, content, stamp)?;
            return self.put_aside(envelope, Some(opened), "unsupported_body");
        };
        self.close_gap_of(envelope, content, stamp)?;
        if !inbox::see(self.db, account, content.message_id, self.server_now())? {
            return self.repeated(chat, account, content.message_id, stamp);
        }
        self.forward(content, stamp)?;
        self.show(envelope, chat, content, text, stamp)?;
        Ok(Intake::Done)
    }

    /// The group of a content that was written on an operation which is not known here yet.
    pub(crate) fn ahead_in_group(&mut self, content: &Content) -> Stored<Option<(GroupId, GroupView)>> {
        let Some(view) = content.group else { return Ok(None) };
        let group = GroupId::from_bytes(*content.conversation.as_bytes());
        let is_ahead = matches!(self.compare_head(group, view)?, HeadClaim::Ahead);
        Ok(is_ahead.then_some((group, view)))
    }

    fn place_of(&mut self, group: GroupId, account: AccountId, view: GroupView) -> Stored<Place> {
        Ok(match self.compare_head(group, view)? {
            HeadClaim::Ahead => Place::Ahead,
            HeadClaim::Fork => Place::Fork,
            HeadClaim::OnChain => match groups::standing_at(self.db, group, account, view.epoch)? {
                Some(standing) if standing.may_send => Place::Inside(standing),
                _ => Place::Outside,
            },
        })
    }

    /// The sender knows more of the chain than we do. It is fetched; if the server has given all, it keeps something back.
    pub(crate) fn hold_ahead(
        &mut self,
        group: GroupId,
        sender: AccountId,
        envelope: &Envelope,
        opened: &Opened,
        view: GroupView,
    ) -> Stored<Intake> {
        if self.live.groups.fetched == Some(group) {
            if self.group(group)?.is_none() {
                // There is no such group for us, whoever speaks of it.
                return Ok(Intake::Done);
            }
            self.report_fork(group, sender, view.epoch)?;
            // Nobody can be told from a member who claims an epoch that never comes.
            if !self.has_room_for_opened(envelope)? {
                return self.put_aside(envelope, Some(opened), "ahead");
            }
        } else {
            self.want_group(group, Some(envelope.stamp))?;
        }
        self.hold_for_group(group, envelope, Some(opened), Wait::Chain)
    }

    /// What was missing has come: by itself, once its key was here, or sent again.
    fn close_gap_of(&mut self, envelope: &Envelope, content: &Content, stamp: Stamp) -> Stored<()> {
        if content.original_stamp.is_some() {
            gaps::remove_envelope_with_stamp(self.db, envelope.from, stamp)?;
        } else if let Some(gap) = gaps::of_envelope(self.db, envelope.from, envelope.envelope_id)? {
            gaps::remove(self.db, gap.id)?;
        }
        Ok(())
    }

    /// A message that nothing here opens yet.
    pub(crate) fn hold_for_key(&mut self, envelope: &Envelope) -> Stored<Intake> {
        let Some(group) = envelope.group else { return Ok(Intake::Done) };
        match self.group(group)? {
            None => self.want_group(group, Some(envelope.stamp))?,
            // Who never was a member has no key here either.
            Some(_) if !groups::was_member(self.db, group, envelope.from.account)? => {
                self.want_group(group, Some(envelope.stamp))?;
            }
            Some(_) => {}
        }
        self.hold_for_group(group, envelope, None, Wait::Key)
    }

    /// A message of a group that does not open, and that no other session would open: it is asked for, if its sender
    /// may ever have written to us there.
    pub(crate) fn group_message_failed(
        &mut self,
        envelope: &Envelope,
        failure: DecryptFailure,
    ) -> Stored<Intake> {
        let Some(group) = envelope.group else { return Ok(Intake::Done) };
        if groups::was_member(self.db, group, envelope.from.account)? {
            self.miss_envelope(envelope, failure, 0)?;
        }
        Ok(Intake::Done)
    }

    /// A device gives us its sender key.
    pub(crate) fn distribution_came(
        &mut self,
        envelope: &Envelope,
        opened: &Opened,
        distribution: &SenderKeyDistribution,
    ) -> Stored<Intake> {
        let (group, from) = (distribution.group, envelope.from);
        if let Some(waits) = self.hold_for_member(group, envelope, opened)? {
            return Ok(waits);
        }
        let list = self.list(from.account)?;
        let Some(peer) = list.and_then(|list| Peer::on_list(&list, from.device)) else {
            return Ok(Intake::Done);
        };
        let taken =
            seal::process_distribution(&mut self.encryption(), &peer, group, &distribution.distribution);
        match taken {
            Ok(()) => {}
            Err(DecryptError::Refused(_)) => return Ok(Intake::Done),
            Err(DecryptError::Store(error)) => return Err(store_failed(error)),
        }
        // Whoever was there from the first misses what does not come, also if it was lost together with its key.
        let is_past = self.is_before_our_time(group, None, envelope.stamp)?;
        if !is_past && !self.counts_from_the_first(group.into())? {
            self.set_baseline(group.into(), from, distribution.counter)?;
        }
        self.secret_came(group, &distribution.secret)?;
        self.retry_held_for_key(group, from)?;
        Ok(Intake::Done)
    }

    /// A member gives us the group's secret, and an admin, or another device of ours, the seed of its link.
    pub(crate) fn group_secret_came(
        &mut self,
        envelope: &Envelope,
        opened: &Opened,
        group: GroupId,
        (secret, link): (&GroupSecret, Option<&LinkSeed>),
    ) -> Stored<Intake> {
        if let Some(waits) = self.hold_for_member(group, envelope, opened)? {
            return Ok(waits);
        }
        if let Some(link) = link
            && groups::is_admin(self.db, group, envelope.from.account)?
        {
            learn_link(self.db, group, link)?;
        }
        self.secret_came(group, secret)?;
        Ok(Intake::Done)
    }

    /// Holds what is for members until the chain says that its sender is or was one; drops it if the whole chain does
    /// not. What a member gave opens what it wrote, also if its leaving was heard of before.
    fn hold_for_member(
        &mut self,
        group: GroupId,
        envelope: &Envelope,
        opened: &Opened,
    ) -> Stored<Option<Intake>> {
        if groups::was_member(self.db, group, envelope.from.account)? {
            return Ok(None);
        }
        if self.live.groups.fetched == Some(group) {
            return Ok(Some(Intake::Done));
        }
        self.want_group(group, Some(envelope.stamp))?;
        self.hold_for_group(group, envelope, Some(opened), Wait::Chain).map(Some)
    }

    /// Where the counters of a device begin in a group, if its key did not say: what was written before we came is not
    /// missing.
    pub(crate) fn counts_from_the_first(&self, chat: ChatId) -> Stored<bool> {
        let ChatId::Group(group) = chat else { return Ok(!self.me.joined) };
        let since = groups::member_since(self.db, group, self.me.account())?;
        Ok(since == Some(0) && !self.me.joined)
    }

    /// Whether something of a group stands before our present membership. Rows may wait here for a list, a key or the chain,
    /// and come to be read after the operation by which we came back.
    pub(crate) fn is_before_our_time(
        &self,
        group: GroupId,
        epoch: Option<u64>,
        stamp: Stamp,
    ) -> Stored<bool> {
        let since = groups::member_since(self.db, group, self.me.account())?;
        let Some(since) = since.filter(|since| *since > 0) else { return Ok(false) };
        if epoch.is_some_and(|epoch| epoch < since) {
            return Ok(true);
        }
        // Nothing comes between a removal and a return. As long as the removal's row is not here, what comes is older.
        match groups::left_before(self.db, group, self.me.account(), since)? {
            Some(end) => {
                Ok(epoch.is_none() && groups::stamp_at(self.db, group, end)?.is_none_or(|end| stamp < end))
            }
            None => Ok(false),
        }
    }
}
