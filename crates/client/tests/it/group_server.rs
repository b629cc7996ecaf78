//! Groups of the server in memory: it orders operations and fans out, honestly unless a test says otherwise.

use crate::server::Server;
use bytes::Bytes;
use signed::{ChainError, GroupState, Signature, SignedOperation};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, Stamp};
use wire::{Code, Envelope, EnvelopeKind, GroupHead, GroupSend, ListVersion, Refusal, Response, Urgency};

/// Operations in one answer: few, so that tests see pages.
const PAGE: usize = 3;

#[derive(Default)]
pub struct Groups {
    pub chains: BTreeMap<GroupId, Chain>,
    /// Sends to groups that were stored, by sender.
    pub sent: BTreeMap<(AccountId, EnvelopeId), (GroupSend, Stamp)>,
    /// How many sends to groups came, also those that were refused.
    pub tries: usize,
    /// These accounts get no rows of operations.
    pub no_rows: BTreeSet<AccountId>,
    /// These accounts are told of no operation after this epoch.
    pub rolled_back: BTreeMap<AccountId, u64>,
    /// Every page of a chain is said not to be the last one.
    pub always_more: bool,
    /// Messages are taken under any head and any lists.
    pub anything_goes: bool,
    /// This many messages are accepted and given to nobody.
    pub swallow: usize,
    /// How many `GetGroup` were answered.
    pub fetched: usize,
}

#[derive(Clone)]
pub struct Chain {
    pub operations: Vec<SignedOperation>,
    pub states: Vec<GroupState>,
    pub stamps: Vec<Stamp>,
}

impl Chain {
    pub fn state(&self) -> &GroupState {
        self.states.last().unwrap()
    }
}

impl Server {
    pub fn apply_group(
        &mut self,
        me: AccountId,
        bytes: &[u8],
        highest: Option<Stamp>,
    ) -> Result<Response, Refusal> {
        let operation = SignedOperation::verify(bytes).map_err(|_| Code::BadGroupOperation)?;
        assert_eq!(operation.actor(), me);
        let group = operation.group();
        if let Some(chain) = self.groups.chains.get(&group) {
            let at = chain.operations.iter().position(|known| known.id() == operation.id());
            if let Some(at) = at {
                return Ok(Response::Accepted { stamp: chain.stamps[at], skipped: Vec::new() });
            }
        }
        let before = self.groups.chains.get(&group).map(|chain| chain.state().clone());
        let after = match &before {
            None if operation.epoch() > 0 => return Err(Code::NoSuchGroup.into()),
            None => GroupState::found(&operation),
            Some(state) => state.apply(&operation),
        };
        let after = match (after, &before) {
            (Ok(after), _) => after,
            (Err(ChainError::Ahead | ChainError::Fork | ChainError::TooOld), Some(state)) => {
                return Err(Refusal::head_moved(GroupHead { epoch: state.epoch(), head: state.head() }));
            }
            (Err(ChainError::NotAMember | ChainError::NotAllowed), _) => return Err(Code::Forbidden.into()),
            (Err(_), _) => return Err(Code::BadGroupOperation.into()),
        };
        let stamp = self.next_stamp(highest);
        self.append_operation(operation, before.as_ref(), after, stamp);
        Ok(Response::Accepted { stamp, skipped: Vec::new() })
    }

    /// Appends and fans out, whatever the operation is.
    pub fn append_operation(
        &mut self,
        operation: SignedOperation,
        before: Option<&GroupState>,
        after: GroupState,
        stamp: Stamp,
    ) {
        let members: BTreeSet<AccountId> =
            before.into_iter().chain([&after]).flat_map(|state| state.members().keys().copied()).collect();
        for member in members {
            if !self.groups.no_rows.contains(&member) {
                self.inject_operation(member, &operation, stamp);
            }
        }
        let chain = self.groups.chains.entry(operation.group()).or_insert(Chain {
            operations: Vec::new(),
            states: Vec::new(),
            stamps: Vec::new(),
        });
        chain.operations.push(operation);
        chain.states.push(after);
        chain.stamps.push(stamp);
    }

    /// A row with an operation, in a mailbox.
    pub fn inject_operation(&mut self, to: AccountId, operation: &SignedOperation, stamp: Stamp) {
        if self.accounts.get(&to).is_none_or(|account| account.closed) {
            return;
        }
        for mailbox in self.mailboxes_of(to) {
            let envelope = Envelope {
                envelope_id: EnvelopeId::from_slice(&operation.hash()[..16]).unwrap(),
                from: DeviceAddress::new(operation.actor(), operation.actor_device()),
                to: mailbox,
                kind: EnvelopeKind::GroupOperation,
                urgency: Urgency::Normal,
                stamp,
                ciphertext: operation.as_bytes().to_vec().into(),
                group: Some(operation.group()),
            };
            self.inject(to, &envelope);
        }
    }

    pub fn get_group(
        &mut self,
        me: AccountId,
        group: GroupId,
        from_epoch: u64,
        link: Option<[u8; 64]>,
    ) -> Result<Response, Refusal> {
        self.groups.fetched += 1;
        let chain = self.groups.chains.get(&group).ok_or(Code::NoSuchGroup)?;
        let last = chain.states.iter().rposition(|state| state.members().contains_key(&me));
        let signature = link.map(|bytes| Signature::from_slice(&bytes).unwrap());
        let by_link = signature.is_some_and(|signature| chain.state().admits(me, &signature));
        let end = match (last, by_link) {
            (_, true) => chain.operations.len(),
            // The operation that removed them, too.
            (Some(last), false) => (last + 2).min(chain.operations.len()),
            (None, false) => return Err(Code::NoSuchGroup.into()),
        };
        let shown = self.groups.rolled_back.get(&me).map_or(end, |epoch| end.min(*epoch as usize + 1));
        let from = (from_epoch as usize).min(shown);
        let page: Vec<Bytes> = chain.operations[from..shown]
            .iter()
            .take(PAGE)
            .map(|operation| operation.as_bytes().to_vec().into())
            .collect();
        let more = from + page.len() < shown || self.groups.always_more;
        Ok(Response::GroupState { operations: page, more })
    }

    pub fn send_group(&mut self, from: DeviceAddress, send: &GroupSend) -> Result<Response, Refusal> {
        let me = from.account;
        self.groups.tries += 1;
        let before = self.witnessed.insert(send.ciphertext.clone(), send.envelope_id);
        assert!(
            before.is_none_or(|before| before == send.envelope_id),
            "a ciphertext under two envelope ids"
        );
        if let Some((known, stamp)) = self.groups.sent.get(&(me, send.envelope_id)) {
            assert_eq!((known.ciphertext.clone(), known.epoch), (send.ciphertext.clone(), send.epoch));
            return Ok(Response::Accepted { stamp: *stamp, skipped: Vec::new() });
        }
        let state = self.groups.chains.get(&send.group).ok_or(Code::NoSuchGroup)?.state().clone();
        if !state.may_send(me) {
            return Err(Code::Forbidden.into());
        }
        if (send.epoch, send.head) != (state.epoch(), state.head()) && !self.groups.anything_goes {
            return Err(Refusal::head_moved(GroupHead { epoch: state.epoch(), head: state.head() }));
        }
        let lists: BTreeMap<AccountId, u64> =
            state.members().keys().map(|account| (*account, self.list_version(*account))).collect();
        if signed::lists_digest(&lists) != send.lists_digest && !self.groups.anything_goes {
            let lists = lists.into_iter().map(|(account, version)| ListVersion { account, version });
            return Err(Refusal::stale_lists(lists.collect()));
        }
        let stamp = self.next_stamp(send.highest_stamp);
        if self.groups.swallow > 0 {
            self.groups.swallow -= 1;
        } else {
            self.fan_out(from, &state, send, stamp);
        }
        self.groups.sent.insert((me, send.envelope_id), (send.clone(), stamp));
        Ok(Response::Accepted { stamp, skipped: Vec::new() })
    }

    fn fan_out(&mut self, from: DeviceAddress, state: &GroupState, send: &GroupSend, stamp: Stamp) {
        for member in state.members().keys() {
            self.inject_from(from, *member, send, stamp);
        }
    }

    /// A row with a message to a group, in each mailbox of a member.
    pub fn inject_message(&mut self, from: AccountId, to: AccountId, send: &GroupSend, stamp: Stamp) {
        self.inject_from(DeviceAddress::new(from, DeviceNumber::PRIMARY), to, send, stamp);
    }

    pub fn inject_from(&mut self, from: DeviceAddress, to: AccountId, send: &GroupSend, stamp: Stamp) {
        if self.accounts.get(&to).is_none_or(|account| account.closed) {
            return;
        }
        let others = self.mailboxes_of(to).into_iter().filter(|mailbox| mailbox.address() != from);
        for mailbox in others.collect::<Vec<_>>() {
            self.inject_row(from, mailbox, send, stamp);
        }
    }

    fn inject_row(&mut self, from: DeviceAddress, to: types::MailboxId, send: &GroupSend, stamp: Stamp) {
        let envelope = Envelope {
            envelope_id: send.envelope_id,
            from,
            to,
            kind: EnvelopeKind::SenderKey,
            urgency: send.urgency,
            stamp,
            ciphertext: send.ciphertext.clone(),
            group: Some(send.group),
        };
        self.inject(to.account, &envelope);
    }

    fn list_version(&self, account: AccountId) -> u64 {
        let account = self.accounts.get(&account).filter(|account| !account.closed);
        account.map_or(0, |account| account.list.version())
    }
}
