//! A guild: a group whose members are guests, accounts made by hand that never connect. What the server owes to
//! groups is tried here alone, without any engine's care: heads that moved, lists that changed, retries at other
//! nodes, sends while somebody is removed.
//!
//! Owns: the members' views of the chain, and the one thing that each waits for; a request whose outcome is
//! unknown is repeated byte for byte until it is known.
//! Must not know: how the server orders what they ask.

use crate::{
    chance::Chance,
    chronicle::{Chronicle, digest_of},
    guest::Guest,
    world::World,
};
use bytes::Bytes;
use server_core::Core;
use server_ports::Caller;
use signed::{GroupChange, GroupState, SignedOperation, lists_digest};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use testkit::history::{Fact, SignedLog};
use types::{AccountId, EnvelopeId, GroupId, MailboxId, MessageId, Millis, Timestamp};
use wire::{Code, GroupSend, Refusal, Request, Response, Urgency};

/// A request that was not answered in this time was lost with its node.
const ANSWER_WITHIN: Millis = Millis::from_secs(30);
/// Members that act at one time, at most.
const ACTS_MAX: u64 = 5;
/// The founder. (The first guest's devices change; its operations are its primary device's.)
const FOUNDER: usize = 1;

/// The guild.
pub struct Guild {
    group: Option<GroupId>,
    members: Vec<Arc<Mutex<Member>>>,
    /// Whom somebody has asked to remove: until it reads the chain it goes on as before.
    parting: Option<usize>,
    chance: Chance,
}

/// What one member knows and waits for.
#[derive(Default)]
struct Member {
    view: Option<GroupState>,
    waits_for: Option<Waiting>,
}

#[derive(Clone)]
struct Waiting {
    request: Request,
    message: Option<MessageId>,
    /// Asked and not answered yet.
    asked_at: Option<Timestamp>,
}

impl Guild {
    /// A guild of so many, that is not founded yet.
    pub fn new(members: usize, chance: Chance) -> Self {
        let members = (0..members).map(|_| Arc::default()).collect();
        Self { group: None, members, parting: None, chance }
    }

    /// Some of the members do something at the same time: read the chain, change the group, or write.
    pub fn act(&mut self, guests: &mut [Guest], world: &mut World) {
        self.let_parting_write(guests, world);
        let first = self.group.is_none();
        let acts = if first { 1 } else { 1 + self.chance.below(ACTS_MAX) };
        (0..acts).for_each(|_| self.act_one(guests, world));
    }

    /// Whoever was removed since writes once more, by what it knew before.
    fn let_parting_write(&mut self, guests: &[Guest], world: &mut World) {
        let Some(who) = self.parting.take() else { return };
        let account = guests[who].account();
        let view = lock(&self.members[who]).view.clone();
        if let Some(view) = view.filter(|view| view.members().contains_key(&account))
            && !self.repeat(who, &guests[who], world)
        {
            let message = self.message(&view, guests);
            self.ask(who, &guests[who], message, world);
        }
    }

    fn act_one(&mut self, guests: &mut [Guest], world: &mut World) {
        let who = match self.group {
            None => FOUNDER,
            Some(_) => self.chance.below(self.members.len() as u64) as usize,
        };
        if !self.repeat(who, &guests[who], world) {
            let request = self.wish(who, guests, world);
            self.ask(who, &guests[who], request, world);
        }
    }

    /// Repeats what has no outcome. True when nobody waits any more.
    pub fn settle(&mut self, guests: &[Guest], world: &mut World) -> bool {
        let waiting: Vec<_> =
            (0..self.members.len()).filter(|who| self.repeat(*who, &guests[*who], world)).collect();
        waiting.is_empty()
    }

    /// Whether a member waits for an answer; a question that was lost is asked again.
    fn repeat(&self, who: usize, guest: &Guest, world: &mut World) -> bool {
        let Some(waiting) = lock(&self.members[who]).waits_for.clone() else { return false };
        if waiting.asked_at.is_none_or(|at| world.now().since(at) > ANSWER_WITHIN) {
            self.ask(who, guest, waiting, world);
        }
        true
    }

    // ---- what a member wants

    fn wish(&mut self, who: usize, guests: &mut [Guest], world: &World) -> Waiting {
        let view = lock(&self.members[who]).view.clone();
        let account = guests[who].account();
        match view.filter(|view| view.members().contains_key(&account)) {
            Some(view) => match self.chance.below(10) {
                0..=4 => self.message(&view, guests),
                5..=7 => self.change(who, &view, guests, world),
                _ => self.read(),
            },
            None if self.group.is_none() => self.founding(guests, world),
            None => self.read(),
        }
    }

    fn founding(&mut self, guests: &mut [Guest], world: &World) -> Waiting {
        let members = BTreeSet::from([guests[0].account(), guests[2].account()]);
        let change =
            GroupChange::Create { members, sealed_info: vec![1; 40], permissions: Default::default() };
        let operation = guests[FOUNDER].sign(None, change, world.now());
        self.group = Some(operation.group());
        apply(&operation)
    }

    fn read(&self) -> Waiting {
        let group = self.group.expect("the founder acts first");
        asks(Request::GetGroup { group, from_epoch: 0, link_signature: None })
    }

    fn message(&mut self, view: &GroupState, guests: &[Guest]) -> Waiting {
        let versions: BTreeMap<AccountId, u64> = guests
            .iter()
            .filter(|guest| view.members().contains_key(&guest.account()))
            .map(|guest| (guest.account(), guest.version()))
            .collect();
        let mut ciphertext = vec![0; 64];
        rand_core::RngCore::fill_bytes(self.chance.rng(), &mut ciphertext);
        let send = GroupSend {
            envelope_id: EnvelopeId::random(self.chance.rng()),
            group: view.id(),
            epoch: view.epoch(),
            head: view.head(),
            lists_digest: lists_digest(&versions),
            urgency: Urgency::Normal,
            ttl: None,
            ciphertext: ciphertext.into(),
            highest_stamp: None,
        };
        let message = MessageId::new(Timestamp::from_millis(1), self.chance.rng());
        Waiting { request: Request::SendGroup(send), message: Some(message), asked_at: None }
    }

    /// Adds one who is out, or removes or promotes one who is in, if the rules let this member.
    fn change(&mut self, who: usize, view: &GroupState, guests: &mut [Guest], world: &World) -> Waiting {
        let whom = self.chance.below(guests.len() as u64) as usize;
        let target = guests[whom].account();
        let is_member = view.members().contains_key(&target);
        let promotes = self.chance.per_mille(300);
        let target = BTreeSet::from([target]);
        let change = match (is_member, promotes) {
            (false, _) => GroupChange::Add(target),
            (true, false) => GroupChange::Remove(target),
            (true, true) => GroupChange::Promote(target),
        };
        let operation = guests[who].sign(Some(view.follows()), change, world.now());
        if view.apply(&operation).is_err() {
            return self.read();
        }
        if is_member && !promotes {
            self.parting = Some(whom);
        }
        apply(&operation)
    }

    // ---- asking

    fn ask(&self, who: usize, guest: &Guest, waiting: Waiting, world: &mut World) {
        let now = world.now();
        let chronicle = world.chronicle.clone();
        let member = self.members[who].clone();
        lock(&member).waits_for = Some(Waiting { asked_at: Some(now), ..waiting.clone() });
        let asked = Asked { by: guest.primary(), at: chronicle.since_start(now), chronicle, waiting };
        asked.record_leaving();
        world.ask(move |core| async move { asked.put_to(&core, &member).await });
    }
}

fn lock(member: &Mutex<Member>) -> MutexGuard<'_, Member> {
    member.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn asks(request: Request) -> Waiting {
    Waiting { request, message: None, asked_at: None }
}

fn apply(operation: &SignedOperation) -> Waiting {
    let operation = Bytes::copy_from_slice(operation.as_bytes());
    asks(Request::ApplyGroup { operation, highest_stamp: None })
}

/// The rows of an operation have an envelope id that follows from it.
fn envelope_of(operation: &SignedOperation) -> EnvelopeId {
    let mut id = [0; 16];
    id.copy_from_slice(&operation.hash()[..16]);
    EnvelopeId::from_bytes(id)
}

/// One question to one node.
struct Asked {
    by: MailboxId,
    at: Millis,
    chronicle: Chronicle,
    waiting: Waiting,
}

impl Asked {
    fn record_leaving(&self) {
        let sender = self.by.address();
        match &self.waiting.request {
            Request::SendGroup(send) => self.chronicle.record(Fact::SealedForGroup {
                envelope: send.envelope_id,
                message: self.waiting.message,
                group: send.group,
                epoch: send.epoch,
                sender,
                key: None,
                step: None,
                ciphertext: digest_of(&send.ciphertext),
            }),
            Request::ApplyGroup { operation: bytes, .. } => {
                let operation = SignedOperation::verify(bytes).expect("an operation that a guest signed");
                self.chronicle.record(Fact::SealedForGroup {
                    envelope: envelope_of(&operation),
                    message: None,
                    group: operation.group(),
                    epoch: operation.epoch(),
                    sender,
                    key: None,
                    step: None,
                    ciphertext: digest_of(bytes),
                });
            }
            _ => {}
        }
    }

    async fn put_to(self, core: &Core, member: &Mutex<Member>) {
        let caller = Caller { mailbox: self.by, connection: 0 };
        let result = core.handle(&caller, self.waiting.request.clone()).await;
        let is_open = matches!(&result, Err(Refusal { code: Code::Unavailable | Code::RetryAfter, .. }));
        let mut member = lock(member);
        if is_open {
            if let Some(waiting) = &mut member.waits_for {
                waiting.asked_at = None;
            }
            return;
        }
        // An answer to a question that was asked again meanwhile says the same as the other answer will.
        if member.waits_for.as_ref().is_some_and(|waiting| waiting.request == self.waiting.request) {
            member.waits_for = None;
        }
        match result {
            Ok(response) => self.answered(response, &mut member),
            // The next thing that this member does is to read the chain.
            Err(_) => member.view = None,
        }
    }

    fn answered(&self, response: Response, member: &mut Member) {
        match (&self.waiting.request, response) {
            (Request::SendGroup(send), Response::Accepted { stamp, skipped }) => {
                self.accepted(send.envelope_id, stamp, skipped);
            }
            (Request::ApplyGroup { operation, .. }, Response::Accepted { stamp, skipped }) => {
                let signed = SignedOperation::verify(operation).expect("an operation that a guest signed");
                self.accepted(envelope_of(&signed), stamp, skipped);
                let log = SignedLog::GroupChain(signed.group());
                self.chronicle.record(Fact::LogAnswered {
                    by: self.by.address(),
                    log,
                    version: signed.epoch(),
                    digest: digest_of(operation),
                    asked_at_ms: self.at.0,
                });
                // Known only from the chain: what this follows is not always what the member had in view.
                member.view = None;
            }
            (Request::GetGroup { group, .. }, Response::GroupState { operations, more: false }) => {
                self.read(*group, &operations, member);
            }
            _ => {}
        }
    }

    fn accepted(&self, envelope: EnvelopeId, stamp: types::Stamp, skipped: Vec<MailboxId>) {
        self.chronicle.record(Fact::Accepted {
            envelope: Some(envelope),
            message: self.waiting.message,
            resend: false,
            sender: self.by.address(),
            to: Vec::new(),
            stamp,
        });
        if !skipped.is_empty() {
            self.chronicle.record(Fact::Skipped { envelope, mailboxes: skipped });
        }
    }

    fn read(&self, group: GroupId, operations: &[Bytes], member: &mut Member) {
        let mut state: Option<GroupState> = None;
        for bytes in operations {
            let operation = SignedOperation::verify(bytes).expect("a server cannot make an operation");
            let next = match &state {
                None => GroupState::found(&operation),
                Some(state) => state.apply(&operation),
            };
            state = Some(next.expect("a chain follows its rules"));
        }
        let (Some(state), Some(newest)) = (state, operations.last()) else { return };
        // Who was removed reads up to the removal, and what came later is not theirs.
        if state.members().contains_key(&self.by.account) {
            self.chronicle.record(Fact::LogRead {
                by: self.by.address(),
                log: SignedLog::GroupChain(group),
                version: state.epoch(),
                digest: digest_of(newest),
                asked_at_ms: self.at.0,
            });
        }
        member.view = Some(state);
    }
}
