//! Linking: a new device, which has no session yet, meets the primary of an account.
//!
//! Invariants: only device 1 links; a code is void a minute after it was shown, by the server's clock, unless
//! the primary has invited by then; the first inviter has the link; a link is complete together with the list
//! that names its device, or not at all; the new device's token is what it connects with afterwards, and only
//! its hash is kept.
//!
//! Must not know: what invitation, answer and completion say. They are sealed with a key that the server never
//! has.

use crate::{
    Core,
    keys::{self, KeyError},
    lists,
    quota::{self, Count},
    refusal::Rejection,
    registration::address_bytes,
};
use bytes::Bytes;
use server_ports::{
    Caller, StoreError,
    directory::{
        AnswerLink, CompleteLink, CreateLinkOutcome, InviteLink, Link, LinkOutcome, LinkState, NewLink,
    },
};
use sha2::{Digest, Sha256};
use signed::{DeviceList, LinkOffer, ListedDevice};
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use types::{AccountId, DeviceNumber, LinkId, MailboxId, Millis, Redact, limits};
use wire::{Code, KeyUpload, Response};

/// A device that learns late how its link ended still learns it for so long.
pub(crate) const REMEMBERED: Millis = Millis::from_mins(10);

/// What a new device offers.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Drawn by the device; its code has it.
    pub link: LinkId,
    /// Drawn by the device. It asks with it, and connects with it once it is linked; only its hash is kept.
    pub token: Redact<[u8; 32]>,
    /// `waxwing.link.v1.LinkOffer`; the code has its hash.
    pub offer: Bytes,
    /// The device's first keys; signed and last-resort prekeys are required.
    pub keys: KeyUpload,
}

/// How a link stands, for the new device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// How far it is.
    pub state: LinkState,
    /// What the inviter says, sealed.
    pub invitation: Option<Bytes>,
    /// What the device needs once it is linked, sealed.
    pub completion: Option<Bytes>,
    /// How long the link still lives.
    pub expires_in: Millis,
}

/// Why the new device was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The offer or the answer is not one.
    #[error("{0} is not valid")]
    Malformed(&'static str),
    /// The keys are refused.
    #[error(transparent)]
    BadKeys(#[from] KeyError),
    /// The signed or the last-resort prekey is missing.
    #[error("a new device needs a signed and a last-resort prekey")]
    KeysMissing,
    /// Another device has this link id.
    #[error("the link exists")]
    Exists,
    /// No such link, or not this device's, or not where the step begins.
    #[error("there is no such link")]
    NoLink,
    /// A quota: try again after this long.
    #[error("too many links; try again later")]
    RetryAfter(Millis),
    /// The outcome is unknown: repeat the request.
    #[error("the service cannot answer now")]
    Unavailable,
}

impl Core {
    /// Stores what a new device offers; answers how long its code is good. Repeating the request with the same
    /// bytes is the same link.
    pub async fn link_begin(&self, device: NewDevice, from: IpAddr) -> Result<Millis, LinkError> {
        LinkOffer::decode(&device.offer).map_err(|_| LinkError::Malformed("the offer"))?;
        keys::check(&device.keys)?;
        if device.keys.signed_prekey.is_none() || device.keys.last_resort.is_none() {
            return Err(LinkError::KeysMissing);
        }
        let known = self.ports.directory.link(device.link).await.map_err(|error| self.no_link(&error))?;
        if known.is_none() {
            let (address, allowance) = (address_bytes(from), self.config.quotas.links_per_address);
            let count = Count { quota: "links_per_address", subject: &[&address], allowance };
            quota::spend(self, count, 1).await.map_err(LinkError::of_quota)?;
        }
        let now = self.now();
        let link = NewLink {
            id: device.link,
            token_hash: token_hash(&device.token),
            offer: device.offer,
            keys: device.keys,
            expires_at: now + limits::LINK_CODE_LIFE,
        };
        match self.ports.directory.create_link(link).await.map_err(|error| self.no_link(&error))? {
            CreateLinkOutcome::Created => Ok(limits::LINK_CODE_LIFE),
            CreateLinkOutcome::Repeat { expires_at } => Ok(expires_at.since(now)),
            CreateLinkOutcome::Exists => Err(LinkError::Exists),
        }
    }

    /// How the link stands.
    pub async fn link_poll(&self, link: LinkId, token: &Redact<[u8; 32]>) -> Result<LinkView, LinkError> {
        let found = self.ports.directory.link(link).await.map_err(|error| self.no_link(&error))?;
        let found = found.filter(|found| bool::from(found.token_hash.ct_eq(&token_hash(token))));
        let found = found.ok_or(LinkError::NoLink)?;
        let now = self.now();
        Ok(LinkView {
            state: found.state(now),
            expires_in: found.expires_at.since(now),
            invitation: found.invitation,
            completion: found.completion,
        })
    }

    /// The new device answers its invitation. The same bytes again are the same answer.
    pub async fn link_answer(
        &self,
        link: LinkId,
        token: &Redact<[u8; 32]>,
        answer: Bytes,
    ) -> Result<(), LinkError> {
        if answer.is_empty() || answer.len() > limits::LINK_MESSAGE_BYTES_MAX {
            return Err(LinkError::Malformed("the answer"));
        }
        let answer = AnswerLink { id: link, token_hash: token_hash(token), answer, now: self.now() };
        let outcome = self.ports.directory.answer_link(answer).await;
        match outcome.map_err(|error| self.no_link(&error))? {
            LinkOutcome::Done | LinkOutcome::Repeat => Ok(()),
            LinkOutcome::Unavailable => Err(LinkError::NoLink),
        }
    }

    fn no_link(&self, error: &StoreError) -> LinkError {
        self.note(error);
        LinkError::Unavailable
    }
}

impl LinkError {
    fn of_quota(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Quota { retry_after } => Self::RetryAfter(retry_after),
            _ => Self::Unavailable,
        }
    }
}

/// What a new device offers and has answered, for the primary.
pub(crate) async fn get(core: &Core, caller: &Caller, id: LinkId) -> Result<Response, Rejection> {
    primary(core, caller).await?;
    let link = open_link(core, caller, id).await?;
    Ok(Response::LinkState(wire::LinkState {
        expires_in: link.expires_at.since(core.now()),
        offer: link.offer,
        answer: link.answer,
    }))
}

/// The caller's account takes the link.
pub(crate) async fn invite(
    core: &Core,
    caller: &Caller,
    id: LinkId,
    invitation: Bytes,
) -> Result<Response, Rejection> {
    primary(core, caller).await?;
    if invitation.is_empty() {
        return Err(Rejection::Code(Code::Malformed));
    }
    if open_link(core, caller, id).await?.inviter.is_none() {
        let allowance = core.config.quotas.link_invitations;
        let subject: &[&[u8]] = &[caller.mailbox.account.as_bytes()];
        quota::spend(core, Count { quota: "link_invitations", subject, allowance }, 1).await?;
    }
    let now = core.now();
    let expires_at = now + limits::LINK_LIFE_INVITED;
    let invite = InviteLink { id, account: caller.mailbox.account, invitation, expires_at, now };
    taken(core.ports.directory.invite(invite).await?)
}

/// The digits differ, or the person changed their mind.
pub(crate) async fn refuse(core: &Core, caller: &Caller, id: LinkId) -> Result<Response, Rejection> {
    primary(core, caller).await?;
    taken(core.ports.directory.refuse_link(id, caller.mailbox.account, core.now()).await?)
}

/// Stores the list that adds the link's device, with everything that the device needs here.
pub(crate) async fn complete(
    core: &Core,
    caller: &Caller,
    id: LinkId,
    carried: Bytes,
    completion: Bytes,
) -> Result<Response, Rejection> {
    let primary = primary(core, caller).await?;
    let list = lists::verified(caller, &carried)?;
    let link = core.ports.directory.link(id).await?.ok_or(Rejection::Code(Code::LinkUnavailable))?;
    if link.inviter != Some(primary.account) {
        return Err(Rejection::Code(Code::LinkUnavailable));
    }
    let device = offered(&link, &list).ok_or(lists::ListRefused::NotTheOffered)?;
    let (now, expires_at) = (core.now(), core.now() + limits::LINK_LIFE_INVITED);
    let link = CompleteLink { id, device, completion, expires_at, now };
    lists::replace(core, caller, list, carried, Some(link)).await
}

/// The device of the list that the link offered: pure.
fn offered(link: &Link, list: &DeviceList) -> Option<MailboxId> {
    let offer = LinkOffer::decode(&link.offer).ok()?;
    let is_offered = |listed: &ListedDevice| {
        (listed.identity_key(), listed.device_key(), listed.registration())
            == (offer.identity_key(), offer.device_key(), offer.registration())
    };
    list.devices()
        .iter()
        .zip(list.mailboxes())
        .find(|(listed, _)| is_offered(listed))
        .map(|(_, mailbox)| mailbox)
}

/// The caller, if it is the listed primary device of its account.
async fn primary(core: &Core, caller: &Caller) -> Result<MailboxId, Rejection> {
    if caller.mailbox.device != DeviceNumber::PRIMARY {
        return Err(Rejection::Code(Code::Forbidden));
    }
    let record = core.ports.directory.device(caller.address()).await?;
    match record {
        Some(record) if record.mailbox == caller.mailbox => Ok(caller.mailbox),
        _ => Err(Rejection::Code(Code::Revoked)),
    }
}

/// A link that still goes on, and that no other account has.
async fn open_link(core: &Core, caller: &Caller, id: LinkId) -> Result<Link, Rejection> {
    let link = core.ports.directory.link(id).await?;
    let now = core.now();
    link.filter(|link| goes_on(link, caller.mailbox.account, link.state(now)))
        .ok_or(Rejection::Code(Code::LinkUnavailable))
}

fn goes_on(link: &Link, account: AccountId, state: LinkState) -> bool {
    match state {
        LinkState::Waiting => true,
        LinkState::Invited | LinkState::Answered => link.inviter == Some(account),
        LinkState::Linked | LinkState::Refused | LinkState::Expired => false,
    }
}

fn taken(outcome: LinkOutcome) -> Result<Response, Rejection> {
    match outcome {
        LinkOutcome::Done | LinkOutcome::Repeat => Ok(Response::Done),
        LinkOutcome::Unavailable => Err(Rejection::Code(Code::LinkUnavailable)),
    }
}

fn token_hash(token: &Redact<[u8; 32]>) -> [u8; 32] {
    Sha256::digest(token.expose()).into()
}
