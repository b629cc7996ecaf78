//! What is written down of a device in groups: what left it for a group, and what it was told of chains.

use super::{Device, Outside, Post, groups::Question};
use crate::{chronicle::digest_of, disk::Posted};
use bytes::Bytes;
use signed::SignedOperation;
use testkit::{
    history::{Fact, SignedLog},
    ratchet,
};
use types::{EnvelopeId, GroupId, Millis};
use wire::{EnvelopeKind, Refusal, Request, Response, Send};

/// Nothing that history shows.
const SILENT: Posted = Posted { message: None, resend: false };

impl Device {
    /// A send that carries a sender key.
    pub(super) fn note_sender_key(&self, send: &Send) {
        let (Some((group, key)), Some(mailbox)) = (self.disk.sender_key_in(send.envelope_id), self.mailbox)
        else {
            return;
        };
        let epoch = (self.disk.chain(group).len() as u64).saturating_sub(1);
        for sealed in &send.sealed {
            let (by, to) = (mailbox.address(), sealed.to);
            self.chronicle.record(Fact::SenderKeyGiven { group, key, by, to, epoch });
        }
    }

    pub(super) fn note_group_request(&mut self, id: u64, request: &Request, outside: &mut Outside<'_>) {
        let Some(mailbox) = self.mailbox else { return };
        let at = self.chronicle.since_start(outside.now);
        match request {
            Request::SendGroup(send) => {
                let posted = self.disk.posted(send.envelope_id).unwrap_or(SILENT);
                self.leaves(id, send.envelope_id, posted, outside);
                self.chronicle.record(Fact::SealedForGroup {
                    envelope: send.envelope_id,
                    message: posted.message,
                    group: send.group,
                    epoch: send.epoch,
                    sender: mailbox.address(),
                    key: self.disk.sender_key_of(send.envelope_id),
                    step: ratchet::step(EnvelopeKind::SenderKey, &send.ciphertext),
                    ciphertext: digest_of(&send.ciphertext),
                });
            }
            Request::ApplyGroup { operation: bytes, .. } => {
                let operation = SignedOperation::verify(bytes).expect("an operation that an engine signed");
                let envelope = envelope_of(&operation);
                self.groups.signed.entry(operation.id()).or_default().entry(operation.hash()).or_insert(at);
                self.groups.questions.insert(id, Question::Apply { operation: bytes.clone() });
                self.leaves(id, envelope, SILENT, outside);
                self.chronicle.record(Fact::SealedForGroup {
                    envelope,
                    message: None,
                    group: operation.group(),
                    epoch: operation.epoch(),
                    sender: mailbox.address(),
                    key: None,
                    step: None,
                    ciphertext: digest_of(bytes),
                });
            }
            Request::GetGroup { group, from_epoch, .. } => {
                let (group, from_epoch) = (*group, *from_epoch);
                self.groups.questions.insert(id, Question::Read { group, from_epoch, at });
            }
            _ => {}
        }
    }

    fn leaves(&mut self, id: u64, envelope: EnvelopeId, posted: Posted, outside: &mut Outside<'_>) {
        outside.post.entry(envelope).or_insert(Post { posted, to: Vec::new() });
        self.asked.insert(id, envelope);
    }

    /// What an answer says of a group. Gives the envelope that was accepted, if it is known which one was.
    pub(super) fn note_group_answer(
        &mut self,
        id: u64,
        envelope: Option<EnvelopeId>,
        result: &Result<Response, Refusal>,
    ) -> Option<EnvelopeId> {
        let question = self.groups.questions.remove(&id);
        match (question, result) {
            (Some(Question::Apply { operation }), Ok(Response::Accepted { .. })) => {
                self.note_applied(&operation).then_some(envelope).flatten()
            }
            (
                Some(Question::Read { group, from_epoch, at }),
                Ok(Response::GroupState { operations, more }),
            ) => {
                if !more {
                    self.note_chain(group, from_epoch, operations, at);
                }
                None
            }
            (None, Ok(Response::Accepted { skipped, .. })) => {
                if let Some(envelope) = envelope.filter(|_| !skipped.is_empty()) {
                    self.chronicle.record(Fact::Skipped { envelope, mailboxes: skipped.clone() });
                }
                envelope
            }
            _ => None,
        }
    }

    /// Of an operation that was signed for several heads the answer does not say which one the chain has. Says
    /// whether it is known.
    fn note_applied(&self, bytes: &Bytes) -> bool {
        let operation = SignedOperation::verify(bytes).expect("an operation that an engine signed");
        let signed = self.groups.signed.get(&operation.id()).filter(|signed| signed.len() == 1);
        let asked_at = signed.and_then(|signed| signed.get(&operation.hash()));
        let (Some(mailbox), Some(asked_at)) = (self.mailbox, asked_at) else { return false };
        self.chronicle.record(Fact::LogAnswered {
            by: mailbox.address(),
            log: SignedLog::GroupChain(operation.group()),
            version: operation.epoch(),
            digest: digest_of(bytes),
            asked_at_ms: asked_at.0,
        });
        true
    }

    /// What a member was told of the chain; who was removed is told of it up to the removal.
    fn note_chain(&self, group: GroupId, from_epoch: u64, operations: &[Bytes], at: Millis) {
        let Some(mailbox) = self.mailbox else { return };
        let known = self.disk.operations(group).into_iter().map(|(bytes, _)| Bytes::from(bytes));
        let before = usize::try_from(from_epoch).unwrap_or(usize::MAX);
        let chain: Vec<Bytes> = known.take(before).chain(operations.iter().cloned()).collect();
        let verified = chain.iter().map(|bytes| SignedOperation::verify(bytes).ok());
        let Some(operations) = verified.collect::<Option<Vec<_>>>() else { return };
        let mut states = operations.iter();
        let first = states.next().and_then(|first| signed::GroupState::found(first).ok());
        let newest = states.try_fold(first, |state, operation| state?.apply(operation).ok().map(Some));
        let (Some(Some(state)), Some(bytes)) = (newest, chain.last()) else { return };
        if state.members().contains_key(&mailbox.account) {
            self.chronicle.record(Fact::LogRead {
                by: mailbox.address(),
                log: SignedLog::GroupChain(group),
                version: state.epoch(),
                digest: digest_of(bytes),
                asked_at_ms: at.0,
            });
        }
    }
}

/// The rows of an operation have an envelope id that follows from it.
fn envelope_of(operation: &SignedOperation) -> EnvelopeId {
    let mut id = [0; 16];
    id.copy_from_slice(&operation.hash()[..16]);
    EnvelopeId::from_bytes(id)
}
