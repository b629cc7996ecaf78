//! Lies about groups: ghosts that nobody added, chains that are split, cut or rolled back, messages for those
//! who were removed.

use super::{Liar, Lie};
use crate::hostile::{
    forger::{self, Ghost},
    groups::{Chain, Group},
    office::Office,
};
use bytes::Bytes;
use seal::GroupView;
use signed::{GroupChange, SignedOperation};
use types::{AccountId, EnvelopeId, MailboxId};
use wire::{Code, Envelope, EnvelopeKind, GroupHead, GroupSend, Refusal, Request, Response, Urgency};

/// Chains of one group at most.
const CHAINS_MAX: usize = 3;

impl Liar {
    /// A refusal of a message to a group, with a head that was one long ago or never.
    pub(super) fn group_refusal(&mut self, send: &GroupSend, office: &Office) -> Option<Refusal> {
        if self.tells(Lie::HeadRolledBack) {
            let chain = office.groups.get(&send.group)?.chains.first()?;
            let heads: Vec<GroupHead> = chain.heads().collect();
            return Some(Refusal::head_moved(self.chance.one_of(&heads)));
        }
        self.tells(Lie::Refused).then(|| Refusal::new(Code::Unavailable))
    }

    /// Some members, the caller among them, see what is asked for now; the others never will.
    pub fn split(&mut self, caller: MailboxId, request: &Request, office: &mut Office) {
        let Request::ApplyGroup { operation, .. } = request else { return };
        let Ok(operation) = SignedOperation::verify(operation) else { return };
        let Some(group) = office.groups.get_mut(&operation.group()) else { return };
        if group.chains.len() >= CHAINS_MAX || !self.tells(Lie::ChainForked) {
            return;
        }
        self.divide(caller.account, &operation, group);
    }

    fn divide(&mut self, caller: AccountId, operation: &SignedOperation, group: &mut Group) {
        let chain: Chain = group.chain(caller).clone();
        let side = group.chains.len();
        let members: Vec<AccountId> = chain.state().members().keys().copied().collect();
        group.chains.push(chain);
        for member in members {
            let stays_behind = match operation.change() {
                GroupChange::Remove(removed) if removed.contains(&member) => true,
                _ => self.chance.per_mille(500),
            };
            if member == caller || !stays_behind {
                group.sides.insert(member, side);
            }
        }
    }

    /// A chain, cut short or with an operation that no admin made.
    pub(super) fn chain(&mut self, operations: Vec<Bytes>, office: &Office) -> Response {
        let mut operations = operations;
        if self.tells(Lie::ChainRolledBack) {
            let left = self.chance.below(operations.len() as u64 + 1) as usize;
            operations.truncate(left);
        }
        if self.tells(Lie::GhostAdded) {
            operations.extend(self.ghost_operation(office).map(|(_, operation)| operation));
        }
        Response::GroupState { operations, more: false }
    }

    /// What nobody asked for in groups.
    pub(super) fn stir_groups(&mut self, office: &mut Office) {
        if self.tells(Lie::GhostAdded)
            && let Some((group, operation)) = self.ghost_operation(office)
            && let (Some(to), Some(from)) = (self.somebody(office), self.somebody(office))
        {
            let row = Envelope {
                envelope_id: EnvelopeId::random(&mut self.rng),
                from: from.address(),
                to,
                kind: EnvelopeKind::GroupOperation,
                urgency: Urgency::Normal,
                stamp: office.stamp(None),
                ciphertext: operation,
                group: Some(group),
            };
            office.put(&row);
        }
        if self.tells(Lie::KeyForged) {
            self.forge_key(office);
        }
    }

    /// Somebody gives a sender key, and writes with it, whose own key is on nobody's list.
    fn forge_key(&mut self, office: &mut Office) {
        let Some((id, state)) = office.groups.iter().next().map(|(id, group)| {
            let side = self.chance.below(group.chains.len() as u64) as usize;
            (*id, group.chains[side].state().clone())
        }) else {
            return;
        };
        let Some((from, peer, bundle)) = self.victim(office) else { return };
        let view = GroupView { epoch: state.epoch(), head: state.head() };
        let at = (office.now, office.stamp(None));
        let rows = Ghost::claiming(from).write_in_group(&peer, &bundle, at, (id, view), &mut self.rng);
        rows.into_iter().flatten().for_each(|row| office.put(&row));
    }

    /// An operation that adds a ghost, or a change that an admin made with a bit of it turned over.
    fn ghost_operation(&mut self, office: &Office) -> Option<(types::GroupId, Bytes)> {
        let (id, group) = office.groups.iter().next()?;
        let side = self.chance.below(group.chains.len() as u64) as usize;
        let chain = &group.chains[side];
        let signed = match self.chance.below(3) {
            0 => {
                let newest = chain.operations().last()?;
                let mut flipped = newest.to_vec();
                let at = self.chance.below(flipped.len() as u64) as usize;
                flipped[at] ^= 1 << self.chance.below(8);
                return Some((*id, flipped.into()));
            }
            1 => forger::operation(chain.state(), None, office.now, &mut self.rng),
            // A plain member who is in league with the server.
            _ => forger::operation(chain.state(), self.traitor.as_ref(), office.now, &mut self.rng),
        }?;
        Some((*id, Bytes::copy_from_slice(signed.as_bytes())))
    }

    /// Messages of a group for those who are not in it.
    pub(super) fn leak(&mut self, row: &Envelope, office: &mut Office) {
        let is_message = row.kind == EnvelopeKind::SenderKey;
        let group = row.group.and_then(|group| office.groups.get(&group)).filter(|_| is_message);
        let Some(group) = group else { return };
        let members = group.chain(row.from.account).state().members().clone();
        let others: Vec<MailboxId> = office
            .accounts
            .iter()
            .filter(|(account, _)| !members.contains_key(account))
            .flat_map(|(_, account)| account.list().mailboxes())
            .chain(office.formers())
            .collect();
        if !others.is_empty() && self.tells(Lie::Leaked) {
            others.into_iter().for_each(|to| office.put(&Envelope { to, ..row.clone() }));
        }
    }
}
