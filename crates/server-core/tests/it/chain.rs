//! A group's chain as an honest member keeps it, and what it sends to the group.

use crate::world::{Person, World};
use server_ports::Caller;
use signed::{
    DeviceCertificate, GroupChange, GroupState, SignedOperation,
    group::{OperationDraft, OperationId, Permissions},
};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, EnvelopeId, MailboxId, Stamp, Timestamp};
use wire::{Envelope, EnvelopeKind, GroupSend, Refusal, Request, Response, Urgency};

pub fn ids(people: &[&Person]) -> BTreeSet<AccountId> {
    people.iter().map(|person| person.id()).collect()
}

/// An operation by a person's primary device. `state` is what it follows.
pub fn operation(by: &Person, state: Option<&GroupState>, id: u8, change: GroupChange) -> SignedOperation {
    operation_of(by, by.mailbox(), state, id, change)
}

/// The same by any device of the person.
pub fn operation_of(
    by: &Person,
    device: MailboxId,
    state: Option<&GroupState>,
    id: u8,
    change: GroupChange,
) -> SignedOperation {
    let secret = by.secret_of(device);
    let draft = OperationDraft {
        follows: state.map(GroupState::follows),
        id: OperationId([id; 16]),
        actor_key: by.account.public(),
        certificate: DeviceCertificate::sign(&by.account, device.device, secret.public()),
        at: Timestamp::from_millis(1_767_225_600_000),
        change,
    };
    draft.sign(&secret).unwrap()
}

pub fn create(members: BTreeSet<AccountId>) -> GroupChange {
    GroupChange::Create { members, sealed_info: b"sealed".to_vec(), permissions: Permissions::default() }
}

pub fn apply_request(operation: &SignedOperation) -> Request {
    Request::ApplyGroup { operation: operation.as_bytes().to_vec().into(), highest_stamp: None }
}

/// A group that lives in a world.
pub struct Chain {
    pub state: GroupState,
    next: u8,
}

impl Chain {
    /// Founded by the first with the others as members.
    pub fn found(world: &World, by: &Person, members: &[&Person]) -> Self {
        let operation = operation(by, None, 1, create(ids(members)));
        apply(world, by, &operation).unwrap();
        Self { state: GroupState::found(&operation).unwrap(), next: 2 }
    }

    /// The next operation, not asked for yet.
    pub fn draft(&mut self, by: &Person, change: GroupChange) -> SignedOperation {
        self.next += 1;
        operation(by, Some(&self.state), self.next, change)
    }

    /// The next operation, applied here if the server took it.
    pub fn change(&mut self, world: &World, by: &Person, change: GroupChange) -> Result<Stamp, Refusal> {
        let operation = self.draft(by, change);
        let stamp = apply(world, by, &operation)?;
        self.state = self.state.apply(&operation).unwrap();
        Ok(stamp)
    }

    /// A message as the chain stands, by one who has these list versions in view; 1 for those not named.
    pub fn message(&self, id: u8, versions: &[(&Person, u64)]) -> GroupSend {
        let mut lists: BTreeMap<_, _> = self.state.members().keys().map(|member| (*member, 1)).collect();
        lists.extend(versions.iter().map(|(person, version)| (person.id(), *version)));
        GroupSend {
            // A high first byte keeps it clear of the planted fault that loses some ids.
            envelope_id: EnvelopeId::from_bytes([id | 0x80; 16]),
            group: self.state.id(),
            epoch: self.state.epoch(),
            head: self.state.head(),
            lists_digest: signed::lists_digest(&lists),
            urgency: Urgency::Normal,
            ttl: None,
            ciphertext: vec![id; 300].into(),
            highest_stamp: None,
        }
    }
}

pub fn apply(world: &World, by: &Person, operation: &SignedOperation) -> Result<Stamp, Refusal> {
    accepted(world.ask(&by.caller(), apply_request(operation)))
}

pub fn send(world: &World, by: &Person, message: GroupSend) -> Result<Stamp, Refusal> {
    accepted(world.ask(&by.caller(), Request::SendGroup(message)))
}

fn accepted(answer: Result<Response, Refusal>) -> Result<Stamp, Refusal> {
    match answer? {
        Response::Accepted { stamp, .. } => Ok(stamp),
        other => panic!("answered {other:?}"),
    }
}

/// The rows of one kind in a mailbox.
pub fn rows(world: &World, mailbox: MailboxId, kind: EnvelopeKind) -> Vec<Envelope> {
    world.mailbox(mailbox).into_iter().map(|(_, envelope)| envelope).filter(|row| row.kind == kind).collect()
}

/// Chain operations as `GetGroup` gives them.
pub fn fetched(
    world: &World,
    caller: &Caller,
    chain: &Chain,
    from_epoch: u64,
    link_signature: Option<[u8; 64]>,
) -> Result<(Vec<u64>, bool), Refusal> {
    let request = Request::GetGroup { group: chain.state.id(), from_epoch, link_signature };
    match world.ask(caller, request)? {
        Response::GroupState { operations, more } => {
            let epoch = |bytes: &bytes::Bytes| SignedOperation::verify(bytes).unwrap().epoch();
            Ok((operations.iter().map(epoch).collect(), more))
        }
        other => panic!("answered {other:?}"),
    }
}
