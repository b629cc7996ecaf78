//! What an honest post office does for groups: it orders operations, and gives messages to the members.
//!
//! Owns: every chain of every group. An honest office has one; a liar can split a group, and then every member
//! stands on a side and sees that side's chain alone.
//! Must not know: who lies, engines.

use super::office::{Office, Served};
use bytes::Bytes;
use signed::{ChainError, GroupChange, GroupState, SignedOperation};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, EnvelopeId, MailboxId, Stamp};
use wire::{
    Code, Envelope, EnvelopeKind, GroupHead, GroupSend, ListVersion, Refusal, Request, Response, Urgency,
};

/// One group.
#[derive(Clone)]
pub struct Group {
    /// Its chains: one, as long as nobody splits it.
    pub chains: Vec<Chain>,
    /// Who sees another chain than the first.
    pub sides: BTreeMap<AccountId, usize>,
}

/// One chain: what was applied, what came of it, and when.
#[derive(Clone)]
pub struct Chain {
    links: Vec<(SignedOperation, GroupState, Stamp)>,
}

impl Group {
    fn side(&self, account: AccountId) -> usize {
        self.sides.get(&account).copied().unwrap_or(0)
    }

    /// The chain that an account sees.
    pub fn chain(&self, account: AccountId) -> &Chain {
        &self.chains[self.side(account)]
    }
}

impl Chain {
    /// The newest state.
    ///
    /// # Panics
    /// Never: a chain begins with an operation.
    pub fn state(&self) -> &GroupState {
        &self.links.last().expect("a chain begins with an operation").1
    }

    /// Every operation, oldest first.
    pub fn operations(&self) -> impl Iterator<Item = Bytes> {
        self.links.iter().map(|(operation, ..)| Bytes::copy_from_slice(operation.as_bytes()))
    }

    /// Every head, oldest first.
    pub fn heads(&self) -> impl Iterator<Item = GroupHead> {
        self.links.iter().map(|(_, state, _)| head_of(state))
    }

    /// What an account may see: all of it, or the part up to its removal.
    fn seen_by(&self, account: AccountId) -> &[(SignedOperation, GroupState, Stamp)] {
        let was_in = |link: &(SignedOperation, GroupState, Stamp)| link.1.members().contains_key(&account);
        match self.links.iter().rposition(was_in) {
            Some(last) => &self.links[..self.links.len().min(last + 2)],
            None => &[],
        }
    }
}

fn head_of(state: &GroupState) -> GroupHead {
    GroupHead { epoch: state.epoch(), head: state.head() }
}

fn accepted(stamp: Stamp) -> Response {
    Response::Accepted { stamp, skipped: Vec::new() }
}

impl Office {
    /// Serves what is asked about groups.
    pub(super) fn serve_group(&mut self, caller: MailboxId, request: &Request) -> Result<Served, Refusal> {
        match request {
            Request::ApplyGroup { operation, highest_stamp } => {
                self.apply_group(caller, operation, *highest_stamp)
            }
            Request::SendGroup(send) => self.send_group(caller, send),
            Request::GetGroup { group, from_epoch, .. } => {
                let chain = self.groups.get(group).ok_or(Code::NoSuchGroup)?.chain(caller.account);
                let seen = chain.seen_by(caller.account);
                if seen.is_empty() {
                    return Err(Code::NoSuchGroup.into());
                }
                let from = usize::try_from(*from_epoch).unwrap_or(usize::MAX).min(seen.len());
                let bytes = |link: &(SignedOperation, _, _)| Bytes::copy_from_slice(link.0.as_bytes());
                let operations = seen[from..].iter().map(bytes).collect();
                Ok(Response::GroupState { operations, more: false }.into())
            }
            _ => Err(Code::Unsupported.into()),
        }
    }

    fn apply_group(
        &mut self,
        caller: MailboxId,
        bytes: &[u8],
        seen: Option<Stamp>,
    ) -> Result<Served, Refusal> {
        let operation = SignedOperation::verify(bytes).map_err(|_| Code::BadGroupOperation)?;
        if operation.actor() != caller.account {
            return Err(Code::BadGroupOperation.into());
        }
        let id = operation.group();
        let before = match self.groups.get(&id) {
            None if operation.epoch() > 0 => return Err(Code::NoSuchGroup.into()),
            None => None,
            Some(group) => {
                let chain = group.chain(caller.account);
                if let Some((.., stamp)) = chain.links.iter().find(|link| link.0.id() == operation.id()) {
                    return Ok(accepted(*stamp).into());
                }
                Some(chain.state().clone())
            }
        };
        let after = match &before {
            None => GroupState::found(&operation),
            Some(before) => before.apply(&operation),
        };
        let after = after.map_err(|error| match (error, &before) {
            (ChainError::Fork | ChainError::TooOld | ChainError::Ahead, Some(before)) => {
                Refusal::head_moved(head_of(before))
            }
            (ChainError::NotAllowed | ChainError::NotAMember, _) => Code::Forbidden.into(),
            _ => Code::BadGroupOperation.into(),
        })?;
        let stamp = self.stamp(seen);
        let members = [before.as_ref(), Some(&after)].into_iter().flatten();
        let concerned: BTreeSet<AccountId> =
            members.flat_map(|state| state.members().keys().copied()).collect();
        let link = (operation.clone(), after, stamp);
        let group = self
            .groups
            .entry(id)
            .or_insert_with(|| Group { chains: vec![Chain { links: Vec::new() }], sides: BTreeMap::new() });
        let side = group.side(caller.account);
        if let GroupChange::Add(added) = operation.change() {
            // Whoever comes, comes to the side that brought them.
            group.sides.extend(added.iter().map(|account| (*account, side)));
        }
        group.chains[side].links.push(link);
        let here: Vec<_> = concerned.into_iter().filter(|account| group.side(*account) == side).collect();
        let mut envelope_id = [0; 16];
        envelope_id.copy_from_slice(&operation.hash()[..16]);
        let row = |to: MailboxId| Envelope {
            envelope_id: EnvelopeId::from_bytes(envelope_id),
            from: caller.address(),
            to,
            kind: EnvelopeKind::GroupOperation,
            urgency: Urgency::Normal,
            stamp,
            ciphertext: Bytes::copy_from_slice(operation.as_bytes()),
            group: Some(id),
        };
        let rows = self.devices_of(&here).map(row).collect();
        Ok(Served { response: accepted(stamp), rows })
    }

    fn send_group(&mut self, caller: MailboxId, send: &GroupSend) -> Result<Served, Refusal> {
        if let Some(stamp) = self.recorded(caller, send.envelope_id) {
            return Ok(accepted(stamp).into());
        }
        let group = self.groups.get(&send.group).ok_or(Code::NoSuchGroup)?;
        let state = group.chain(caller.account).state();
        if !state.may_send(caller.account) {
            return Err(Code::NoSuchGroup.into());
        }
        if head_of(state) != (GroupHead { epoch: send.epoch, head: send.head }) {
            return Err(Refusal::head_moved(head_of(state)));
        }
        let members: Vec<AccountId> = state.members().keys().copied().collect();
        let version = |account: &AccountId| self.accounts.get(account).map_or(0, |of| of.list().version());
        let versions: BTreeMap<AccountId, u64> =
            members.iter().map(|account| (*account, version(account))).collect();
        if signed::lists_digest(&versions) != send.lists_digest && !self.is_former(caller) {
            let list = |(account, version)| ListVersion { account, version };
            return Err(Refusal::stale_lists(versions.into_iter().map(list).collect()));
        }
        let stamp = self.stamp(send.highest_stamp);
        self.note(caller, send.envelope_id, stamp);
        let row = |to: MailboxId| Envelope {
            envelope_id: send.envelope_id,
            from: caller.address(),
            to,
            kind: EnvelopeKind::SenderKey,
            urgency: send.urgency,
            stamp,
            ciphertext: send.ciphertext.clone(),
            group: Some(send.group),
        };
        let rows = self.devices_of(&members).filter(|to| *to != caller).map(row).collect();
        Ok(Served { response: accepted(stamp), rows })
    }

    fn devices_of<'a>(&'a self, accounts: &'a [AccountId]) -> impl Iterator<Item = MailboxId> + 'a {
        let known = accounts.iter().filter_map(|account| self.accounts.get(account));
        known.flat_map(|account| account.list().mailboxes())
    }
}
