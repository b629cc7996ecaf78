//! Groups by hand, and what a crash leaves of a fan-out: every row or none.

use crate::{
    devices::link,
    node::Node,
    raw::{Connection, Device, Raw},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use signed::{
    GroupChange, GroupState, SignedOperation,
    group::{OperationDraft, OperationId, Permissions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use types::EnvelopeId;
use wire::{Code, EnvelopeKind, GroupSend, Refusal, Request, Response, Urgency};

const KILLS: usize = 12;
const MEMBERS: u32 = 30;

fn operation(
    by: &Raw,
    device: &Device,
    state: Option<&GroupState>,
    id: u8,
    change: GroupChange,
) -> SignedOperation {
    let draft = OperationDraft {
        follows: state.map(GroupState::follows),
        id: OperationId([id; 16]),
        actor_key: by.account.public(),
        certificate: by.certificate(device),
        at: types::Timestamp::from_millis(1_767_225_600_000),
        change,
    };
    draft.sign(&device.secret).unwrap()
}

fn create(members: &[Raw]) -> GroupChange {
    GroupChange::Create {
        members: members.iter().map(Raw::id).collect(),
        sealed_info: vec![],
        permissions: Permissions::default(),
    }
}

async fn apply(session: &mut Connection, operation: &SignedOperation) -> Result<Response, Refusal> {
    let operation = operation.as_bytes().to_vec().into();
    session.ask(Request::ApplyGroup { operation, highest_stamp: None }).await
}

fn message(state: &GroupState, versions: &BTreeMap<types::AccountId, u64>, id: [u8; 16]) -> Request {
    Request::SendGroup(GroupSend {
        envelope_id: EnvelopeId::from_bytes(id),
        group: state.id(),
        epoch: state.epoch(),
        head: state.head(),
        lists_digest: signed::lists_digest(versions),
        urgency: Urgency::Normal,
        ttl: None,
        ciphertext: id.repeat(20).into(),
        highest_stamp: None,
    })
}

#[tokio::test]
async fn a_group_lives_over_a_restart_and_a_removed_member_gets_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(data.path());
    let people: Vec<_> = (1..=3).map(Raw::new).collect();
    let mut devices = Vec::new();
    for person in &people {
        devices.push(person.register(&node).await);
    }
    let second = people[1].device(2, 0);
    let mut session = devices[1].connect(&node).await;
    link(&node, &people[1], &mut session, &[&devices[1], &second], 2).await;

    let mut alice = devices[0].connect(&node).await;
    let founded = operation(&people[0], &devices[0], None, 1, create(&people[1..]));
    apply(&mut alice, &founded).await.unwrap();
    let state = GroupState::found(&founded).unwrap();
    let mut versions: BTreeMap<_, _> = state.members().keys().map(|member| (*member, 1)).collect();
    let stale = alice.ask(message(&state, &versions, [1; 16])).await.unwrap_err();
    assert_eq!(stale.code, Code::StaleDevices);
    for list in stale.group.unwrap().lists {
        versions.insert(list.account, list.version);
    }
    alice.ask(message(&state, &versions, [2; 16])).await.unwrap();

    node.kill_and_restart();
    let mut alice = devices[0].connect(&node).await;
    let members = BTreeSet::from([people[2].id()]);
    let removal = operation(&people[0], &devices[0], Some(&state), 2, GroupChange::Remove(members));
    apply(&mut alice, &removal).await.unwrap();
    let state = state.apply(&removal).unwrap();
    versions.remove(&people[2].id());
    alice.ask(message(&state, &versions, [3; 16])).await.unwrap();
    for (device, expected) in [(&devices[1], 4), (&second, 4), (&devices[2], 3)] {
        let mail = device.mail(&node).await;
        assert_eq!(mail.len(), expected, "{mail:?}");
        assert!(mail.is_sorted_by_key(|envelope| envelope.stamp));
    }
    let answer =
        alice.ask(Request::GetGroup { group: state.id(), from_epoch: 0, link_signature: None }).await;
    let Response::GroupState { operations, more } = answer.unwrap() else { panic!() };
    assert_eq!((&operations[1][..], operations.len(), more), (removal.as_bytes(), 2, false));
}

/// Invariant 13: a message to a group is in the mailbox of every device, or of none, wherever a crash meets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_fan_out_is_all_or_none() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(data.path());
    let people: Vec<_> = (1..=MEMBERS).map(Raw::new).collect();
    let mut devices = Vec::new();
    for person in &people {
        devices.push(person.register(&node).await);
    }
    let mut alice = devices[0].connect(&node).await;
    let founded = operation(&people[0], &devices[0], None, 1, create(&people[1..]));
    apply(&mut alice, &founded).await.unwrap();
    let mut state = GroupState::found(&founded).unwrap();
    let versions: BTreeMap<_, _> = state.members().keys().map(|member| (*member, 1)).collect();

    let mut rng = SmallRng::seed_from_u64(13);
    let (mut accepted, mut asked) = (BTreeSet::new(), BTreeSet::new());
    for kill in 0..KILLS {
        // A burst, and an operation in the middle of it; the answers that come before the kill are promises.
        let change =
            operation(&people[0], &devices[0], Some(&state), 2 + kill as u8, GroupChange::SetTimer(9));
        let mut under_way = BTreeMap::new();
        for turn in 0..40_u8 {
            let mut id = [kill as u8; 16];
            id[1] = turn;
            under_way.insert(alice.say(message(&state, &versions, id)).await, EnvelopeId::from_bytes(id));
            asked.insert(EnvelopeId::from_bytes(id));
        }
        let operation =
            Request::ApplyGroup { operation: change.as_bytes().to_vec().into(), highest_stamp: None };
        alice.say(operation).await;
        let until = tokio::time::Instant::now() + Duration::from_millis(rng.random_range(1..40));
        while let Ok(answer) = tokio::time::timeout_at(until, alice.answer()).await {
            let Some((id, answer)) = answer else { break };
            if let (Some(envelope), Ok(_)) = (under_way.get(&id), answer) {
                accepted.insert(*envelope);
            }
        }
        tokio::task::block_in_place(|| node.kill_and_restart());
        alice = devices[0].connect(&node).await;
        // The operation's outcome is unknown: the same bytes again settle it.
        apply(&mut alice, &change).await.unwrap();
        state = state.apply(&change).unwrap();
    }

    let mut mail = Vec::new();
    for device in &devices[1..] {
        mail.push(device.mail(&node).await);
    }
    let ids = |envelopes: &[wire::Envelope], kind: EnvelopeKind| {
        let of_kind = envelopes.iter().filter(|envelope| envelope.kind == kind);
        let ids: Vec<_> = of_kind.map(|envelope| (envelope.stamp, envelope.envelope_id)).collect();
        let unique: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "a row came twice");
        unique
    };
    let first = ids(&mail[0], EnvelopeKind::SenderKey);
    let stored: BTreeSet<_> = first.iter().map(|(_, id)| *id).collect();
    assert!(accepted.is_subset(&stored), "accepted and lost");
    assert!(stored.len() < asked.len(), "no kill met a burst: {} of {}", stored.len(), asked.len());
    for envelopes in &mail {
        assert_eq!(ids(envelopes, EnvelopeKind::SenderKey), first, "one has what another has not");
        assert_eq!(ids(envelopes, EnvelopeKind::GroupOperation).len(), KILLS + 1, "every operation, once");
        let operations = envelopes.iter().filter(|envelope| envelope.kind == EnvelopeKind::GroupOperation);
        let epochs: Vec<_> = operations
            .map(|envelope| SignedOperation::verify(&envelope.ciphertext).unwrap().epoch())
            .collect();
        assert!(epochs.is_sorted(), "{epochs:?}");
    }
    println!(
        "{} of {} messages stored, {} accepted, over {KILLS} kills",
        stored.len(),
        asked.len(),
        accepted.len()
    );
}
