//! Links.

use super::{FakeDirectory, Tables};
use crate::{
    StoreError,
    directory::{
        AnswerLink, CompleteLink, CreateLinkOutcome, InviteLink, Link, LinkOutcome, LinkState, Links, NewLink,
    },
    fake::Bug,
};
use types::{AccountId, LinkId, Timestamp};
use wire::KeyUpload;

#[derive(Debug)]
pub(super) struct StoredLink {
    pub(super) link: Link,
    pub(super) keys: KeyUpload,
}

impl StoredLink {
    fn of(new: NewLink) -> Self {
        let link = Link {
            token_hash: new.token_hash,
            offer: new.offer,
            phase: LinkState::Waiting,
            inviter: None,
            invitation: None,
            answer: None,
            completion: None,
            device: None,
            expires_at: new.expires_at,
        };
        Self { link, keys: new.keys }
    }

    fn is_of(&self, new: &NewLink) -> bool {
        let link = &self.link;
        link.token_hash == new.token_hash && link.offer == new.offer && self.keys == new.keys
    }

    fn invite(&mut self, invite: InviteLink, shared: bool) -> LinkOutcome {
        let link = &mut self.link;
        let invited_so =
            link.inviter == Some(invite.account) && link.invitation.as_ref() == Some(&invite.invitation);
        match link.state(invite.now) {
            LinkState::Invited | LinkState::Answered | LinkState::Linked if invited_so => LinkOutcome::Repeat,
            state if state == LinkState::Waiting || shared => {
                link.phase = LinkState::Invited;
                link.inviter = Some(invite.account);
                link.invitation = Some(invite.invitation);
                link.expires_at = invite.expires_at;
                LinkOutcome::Done
            }
            _ => LinkOutcome::Unavailable,
        }
    }

    fn answer(&mut self, answer: AnswerLink) -> LinkOutcome {
        let link = &mut self.link;
        if link.token_hash != answer.token_hash {
            return LinkOutcome::Unavailable;
        }
        let answered_so = link.answer.as_ref() == Some(&answer.answer);
        match link.state(answer.now) {
            LinkState::Invited => {
                link.phase = LinkState::Answered;
                link.answer = Some(answer.answer);
                LinkOutcome::Done
            }
            LinkState::Answered | LinkState::Linked if answered_so => LinkOutcome::Repeat,
            _ => LinkOutcome::Unavailable,
        }
    }

    fn refuse(&mut self, account: AccountId, now: Timestamp) -> LinkOutcome {
        let link = &mut self.link;
        let may = link.inviter.is_none_or(|inviter| inviter == account);
        match link.state(now) {
            LinkState::Waiting | LinkState::Invited | LinkState::Answered if may => {
                link.phase = LinkState::Refused;
                link.inviter = Some(account);
                LinkOutcome::Done
            }
            LinkState::Refused if may => LinkOutcome::Repeat,
            _ => LinkOutcome::Unavailable,
        }
    }

    /// Whether the account may complete it now.
    pub(super) fn is_answered_for(&self, account: AccountId, now: Timestamp) -> bool {
        self.link.state(now) == LinkState::Answered && self.link.inviter == Some(account)
    }

    pub(super) fn complete(&mut self, complete: CompleteLink) {
        self.link.phase = LinkState::Linked;
        self.link.completion = Some(complete.completion);
        self.link.device = Some(complete.device);
        self.link.expires_at = complete.expires_at;
    }
}

impl Tables {
    fn step(&mut self, id: LinkId, step: impl FnOnce(&mut StoredLink) -> LinkOutcome) -> LinkOutcome {
        self.links.get_mut(&id).map_or(LinkOutcome::Unavailable, step)
    }
}

#[async_trait::async_trait]
impl Links for FakeDirectory {
    async fn create_link(&self, link: NewLink) -> Result<CreateLinkOutcome, StoreError> {
        self.write(|tables| match tables.links.get(&link.id) {
            Some(stored) if stored.is_of(&link) => {
                CreateLinkOutcome::Repeat { expires_at: stored.link.expires_at }
            }
            Some(_) => CreateLinkOutcome::Exists,
            None => {
                tables.links.insert(link.id, StoredLink::of(link));
                CreateLinkOutcome::Created
            }
        })
        .await
    }

    async fn link(&self, id: LinkId) -> Result<Option<Link>, StoreError> {
        self.read(|tables| tables.links.get(&id).map(|stored| stored.link.clone())).await
    }

    async fn invite(&self, mut invite: InviteLink) -> Result<LinkOutcome, StoreError> {
        let shared = self.makes(Bug::LinkTakenTwice);
        if self.makes(Bug::ImmortalLink) {
            invite.now = Timestamp::default();
        }
        self.write(|tables| tables.step(invite.id, |stored| stored.invite(invite, shared))).await
    }

    async fn answer_link(&self, answer: AnswerLink) -> Result<LinkOutcome, StoreError> {
        self.write(|tables| tables.step(answer.id, |stored| stored.answer(answer))).await
    }

    async fn refuse_link(
        &self,
        id: LinkId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<LinkOutcome, StoreError> {
        self.write(|tables| tables.step(id, |stored| stored.refuse(account, now))).await
    }

    async fn expire_links(&self, ended: Timestamp) -> Result<u64, StoreError> {
        self.write(|tables| {
            let before = tables.links.len();
            tables.links.retain(|_, stored| stored.link.expires_at > ended);
            (before - tables.links.len()) as u64
        })
        .await
    }
}
