//! What every adapter of [`GroupLog`] does.

use super::{
    Case, Subject, cases,
    samples::{account, device, filled, life},
};
use crate::{
    GroupLog,
    group_log::{AppendOperation, AppendOutcome, GroupHead, Membership, StoredOperation},
};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use types::{AccountId, GroupId, NodeId, Stamp};

/// Every case.
pub const CASES: &[Case<dyn GroupLog>] = cases![dyn GroupLog:
    a_chain_is_as_it_was_appended,
    an_unknown_group_has_nothing,
    pages_bring_every_operation_once,
    another_head_is_refused,
    one_of_many_is_appended_to_a_head,
    many_writers_make_one_chain,
    a_repeat_is_told_where_it_stands,
    concurrent_repeats_are_one_operation,
    a_lower_stamp_is_refused,
    a_group_begins_once,
    chains_are_apart,
    members_come_and_go_with_operations,
    members_of_one_group_know_each_other,
    what_is_not_delivered_is_remembered,
    what_is_not_delivered_is_listed_in_order,
    a_thousand_members_are_one_operation,
];

type Log<'a> = &'a mut dyn Subject<dyn GroupLog>;

fn group(n: u8) -> GroupId {
    GroupId::from_bytes([n; 16])
}

fn stamp(n: u64) -> Stamp {
    Stamp::new(n << 16, NodeId(3))
}

/// The hash of the `n`th operation of a group.
fn hash(group: GroupId, n: u64) -> [u8; 32] {
    let mut hash = [group.as_bytes()[0]; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    hash
}

/// The `n`th operation of a group, which follows the one before.
fn operation(group: GroupId, n: u64) -> AppendOperation {
    let mut operation_id = [group.as_bytes()[0]; 16];
    operation_id[8..].copy_from_slice(&n.to_be_bytes());
    AppendOperation {
        group,
        expected: n.checked_sub(1).map(|before| hash(group, before)),
        hash: hash(group, n),
        operation_id,
        actor: life(n as u32 % 3, 1 + n as u32 % 5, 50 + n as u32),
        bytes: filled(n as u8, 200),
        stamp: stamp(n + 1),
        joined: Vec::new(),
        left: Vec::new(),
    }
}

fn stored(operation: &AppendOperation, epoch: u64) -> StoredOperation {
    StoredOperation {
        epoch,
        hash: operation.hash,
        operation_id: operation.operation_id,
        actor: operation.actor,
        stamp: operation.stamp,
        bytes: operation.bytes.clone(),
    }
}

async fn append(log: Log<'_>, operation: AppendOperation) -> AppendOutcome {
    log.port().append(operation).await.expect("an append is answered")
}

/// Appends the operations `0..count` of a group.
async fn chain(log: Log<'_>, group: GroupId, count: u64) {
    for n in 0..count {
        assert_eq!(append(log, operation(group, n)).await, AppendOutcome::Appended { epoch: n });
    }
}

async fn head(log: Log<'_>, group: GroupId) -> Option<GroupHead> {
    log.port().head(group).await.expect("readable")
}

async fn operations(log: Log<'_>, group: GroupId, from: u64, limit: usize) -> Vec<StoredOperation> {
    log.port().operations(group, from, limit).await.expect("readable")
}

async fn all(log: Log<'_>, group: GroupId) -> Vec<StoredOperation> {
    operations(log, group, 0, usize::MAX).await
}

async fn membership(log: Log<'_>, group: GroupId, n: u32) -> Option<Membership> {
    log.port().membership(group, account(n)).await.expect("readable")
}

async fn groups_of(log: Log<'_>, n: u32) -> Vec<GroupId> {
    log.port().groups_of(account(n)).await.expect("readable")
}

/// Group and epoch of what is not delivered, as listed.
async fn undelivered(log: Log<'_>, limit: usize) -> Vec<(GroupId, u64)> {
    let listed = log.port().undelivered(limit).await.expect("readable");
    listed.into_iter().map(|(group, operation)| (group, operation.epoch)).collect()
}

async fn deliver(log: Log<'_>, group: GroupId, epoch: u64) {
    log.port().delivered(group, epoch).await.expect("stored");
}

async fn a_chain_is_as_it_was_appended(log: Log<'_>) {
    chain(log, group(1), 5).await;
    let expected: Vec<_> = (0..5).map(|n| stored(&operation(group(1), n), n)).collect();
    for _ in 0..2 {
        assert_eq!(all(log, group(1)).await, expected);
        let newest = GroupHead { epoch: 4, head: hash(group(1), 4), stamp: stamp(5), delivered: false };
        assert_eq!(head(log, group(1)).await, Some(newest));
        for operation in &expected {
            let found = log.port().find_operation(group(1), operation.operation_id).await;
            assert_eq!(found, Ok(Some(operation.clone())));
        }
        log.reopen().await;
    }
    assert_eq!(log.port().health(), Ok(()));
}

async fn an_unknown_group_has_nothing(log: Log<'_>) {
    chain(log, group(1), 1).await;
    assert_eq!(head(log, group(2)).await, None);
    assert_eq!(all(log, group(2)).await, []);
    assert_eq!(log.port().find_operation(group(2), [1; 16]).await, Ok(None));
    assert_eq!(log.port().find_operation(group(1), [9; 16]).await, Ok(None));
    assert_eq!(membership(log, group(2), 1).await, None);
    deliver(log, group(2), 0).await;
    deliver(log, group(1), 7).await;
    assert_eq!(append(log, operation(group(2), 3)).await, AppendOutcome::NoGroup);
    assert_eq!(head(log, group(2)).await, None, "and still has nothing");
}

async fn pages_bring_every_operation_once(log: Log<'_>) {
    chain(log, group(1), 10).await;
    let mut epochs = Vec::new();
    loop {
        let page = operations(log, group(1), epochs.len() as u64, 3).await;
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        epochs.extend(page.iter().map(|operation| operation.epoch));
    }
    assert_eq!(epochs, (0..10).collect::<Vec<_>>());
    assert_eq!(operations(log, group(1), 10, 9).await, []);
    assert_eq!(operations(log, group(1), u64::MAX, 9).await, []);
    assert_eq!(operations(log, group(1), 0, 0).await, []);
}

async fn another_head_is_refused(log: Log<'_>) {
    chain(log, group(1), 3).await;
    let before = head(log, group(1)).await.expect("exists");
    let late = |expected| AppendOperation { expected, stamp: stamp(90), ..operation(group(1), 7) };
    for expected in [None, Some(hash(group(1), 0)), Some(hash(group(1), 1)), Some([0; 32])] {
        assert_eq!(append(log, late(expected)).await, AppendOutcome::Moved(before));
        assert_eq!(head(log, group(1)).await, Some(before), "nothing was appended");
    }
    log.reopen().await;
    assert_eq!(all(log, group(1)).await.len(), 3);
    let in_time = late(Some(before.head));
    assert_eq!(append(log, in_time).await, AppendOutcome::Appended { epoch: 3 });
}

async fn one_of_many_is_appended_to_a_head(log: Log<'_>) {
    chain(log, group(1), 2).await;
    let port = log.port();
    let rivals = (0..16).map(|n| {
        let expected = Some(hash(group(1), 1));
        port.append(AppendOperation {
            expected,
            joined: vec![account(n)],
            ..operation(group(1), 100 + u64::from(n))
        })
    });
    let answers = join_all(rivals).await;
    drop(port);
    let appended = |answer: &Result<_, _>| *answer == Ok(AppendOutcome::Appended { epoch: 2 });
    assert_eq!(answers.iter().filter(|answer| appended(answer)).count(), 1, "one of sixteen writers");
    let winner = answers.iter().position(appended).expect("one was appended") as u32;
    let newest = head(log, group(1)).await.expect("exists");
    assert_eq!((newest.epoch, newest.head), (2, hash(group(1), 100 + u64::from(winner))));
    let moved = answers.iter().filter(|answer| **answer == Ok(AppendOutcome::Moved(newest)));
    assert_eq!(moved.count(), 15, "the others are told the head that they lost to");
    for n in 0..16 {
        let member = membership(log, group(1), n).await.is_some();
        assert_eq!(member, n == winner, "who lost has changed no membership");
    }
}

/// Sixteen writers, each of which tries until all its operations are in.
async fn many_writers_make_one_chain(log: Log<'_>) {
    chain(log, group(1), 1).await;
    let port = log.port();
    let writer = |writer: u64| {
        let port = port.clone();
        async move {
            for n in 0..5 {
                loop {
                    let head = port.head(group(1)).await.expect("readable").expect("exists");
                    let mine = AppendOperation {
                        expected: Some(head.head),
                        stamp: Stamp::new(head.stamp.clock() + 1, NodeId(1)),
                        ..operation(group(1), 1_000 * writer + n)
                    };
                    match port.append(mine).await.expect("answered") {
                        AppendOutcome::Appended { .. } => break,
                        AppendOutcome::Moved(_) => {}
                        other => panic!("a new operation of a known group: {other:?}"),
                    }
                }
            }
        }
    };
    join_all((1..=16).map(writer)).await;
    drop(port);
    log.reopen().await;
    let chain = all(log, group(1)).await;
    assert_eq!(chain.len(), 1 + 16 * 5);
    assert!(chain.iter().zip(0..).all(|(operation, epoch)| operation.epoch == epoch), "no gap in epochs");
    assert!(chain.is_sorted_by(|one, next| one.stamp < next.stamp), "stamps follow the chain");
    let ids: BTreeSet<_> = chain.iter().map(|operation| operation.operation_id).collect();
    assert_eq!(ids.len(), chain.len(), "every operation once");
}

async fn a_repeat_is_told_where_it_stands(log: Log<'_>) {
    chain(log, group(1), 4).await;
    for _ in 0..2 {
        for n in 0..4 {
            let repeat = AppendOutcome::Repeat { epoch: n, stamp: stamp(n + 1) };
            assert_eq!(append(log, operation(group(1), n)).await, repeat);
            // Signed again on the head of the day, because the answer to the first try was lost.
            let expected = Some(hash(group(1), 3));
            let again =
                AppendOperation { expected, hash: [9; 32], stamp: stamp(99), ..operation(group(1), n) };
            assert_eq!(append(log, again).await, repeat, "by its id, whatever else it is");
        }
        assert_eq!(all(log, group(1)).await.len(), 4);
        log.reopen().await;
    }
}

async fn concurrent_repeats_are_one_operation(log: Log<'_>) {
    chain(log, group(1), 1).await;
    let port = log.port();
    let answers = join_all((0..16).map(|_| port.append(operation(group(1), 1)))).await;
    drop(port);
    let appended = answers.iter().filter(|answer| **answer == Ok(AppendOutcome::Appended { epoch: 1 }));
    assert_eq!(appended.count(), 1);
    let repeat = Ok(AppendOutcome::Repeat { epoch: 1, stamp: stamp(2) });
    assert_eq!(answers.iter().filter(|answer| **answer == repeat).count(), 15);
    assert_eq!(all(log, group(1)).await.len(), 2);
}

async fn a_lower_stamp_is_refused(log: Log<'_>) {
    chain(log, group(1), 2).await;
    let before = head(log, group(1)).await.expect("exists");
    for low in [stamp(0), stamp(1), stamp(2)] {
        let early = AppendOperation { stamp: low, ..operation(group(1), 2) };
        assert_eq!(append(log, early).await, AppendOutcome::Moved(before), "members sort by stamp");
    }
    assert_eq!(append(log, operation(group(1), 2)).await, AppendOutcome::Appended { epoch: 2 });
}

async fn a_group_begins_once(log: Log<'_>) {
    let port = log.port();
    let rivals = (0..16).map(|n| port.append(AppendOperation { expected: None, ..operation(group(1), n) }));
    let answers = join_all(rivals).await;
    drop(port);
    let begun = answers.iter().filter(|answer| **answer == Ok(AppendOutcome::Appended { epoch: 0 }));
    assert_eq!(begun.count(), 1);
    assert_eq!(all(log, group(1)).await.len(), 1);
}

async fn chains_are_apart(log: Log<'_>) {
    for n in 1..4 {
        chain(log, group(n), u64::from(n)).await;
    }
    // The same id in another chain is another operation.
    let same_id = operation(group(1), 0).operation_id;
    let other = AppendOperation { operation_id: same_id, ..operation(group(2), 2) };
    assert_eq!(append(log, other).await, AppendOutcome::Appended { epoch: 2 });
    for n in 1..4 {
        assert!(all(log, group(n)).await.iter().all(|operation| operation.hash[31] == n), "no foreign one");
    }
    assert_eq!(all(log, group(1)).await.len(), 1);
}

async fn members_come_and_go_with_operations(log: Log<'_>) {
    let change = |n, joined: &[u32], left: &[u32]| {
        let accounts = |numbers: &[u32]| numbers.iter().map(|n| account(*n)).collect::<Vec<AccountId>>();
        AppendOperation { joined: accounts(joined), left: accounts(left), ..operation(group(1), n) }
    };
    append(log, change(0, &[1, 2, 3], &[])).await;
    append(log, change(1, &[4], &[2])).await;
    append(log, change(2, &[], &[])).await;
    append(log, change(3, &[2], &[3])).await;
    let since = |since| Some(Membership { since, until: None });
    for _ in 0..2 {
        assert_eq!(membership(log, group(1), 1).await, since(0));
        assert_eq!(membership(log, group(1), 2).await, since(3), "the latest time counts");
        assert_eq!(membership(log, group(1), 3).await, Some(Membership { since: 0, until: Some(3) }));
        assert_eq!(membership(log, group(1), 4).await, since(1));
        assert_eq!(membership(log, group(1), 5).await, None, "never a member");
        assert_eq!(groups_of(log, 2).await, [group(1)]);
        assert_eq!(groups_of(log, 3).await, [], "whoever left is in it no more");
        log.reopen().await;
    }
    append(log, change(4, &[], &[1, 2, 4])).await;
    assert_eq!(membership(log, group(1), 1).await, Some(Membership { since: 0, until: Some(4) }));
    assert_eq!(all(log, group(1)).await.len(), 5, "a chain without members still reads");
}

async fn members_of_one_group_know_each_other(log: Log<'_>) {
    let found = |n: u8, members: &[u32]| {
        let joined = members.iter().map(|n| account(*n)).collect();
        AppendOperation { joined, ..operation(group(n), 0) }
    };
    append(log, found(2, &[1, 2])).await;
    append(log, found(1, &[2, 3])).await;
    append(log, found(3, &[4])).await;
    let know = async |log: Log<'_>, one, other| {
        let answer = log.port().in_one_group(account(one), account(other)).await.expect("readable");
        let reverse = log.port().in_one_group(account(other), account(one)).await.expect("readable");
        assert_eq!(answer, reverse);
        answer
    };
    for _ in 0..2 {
        assert!(know(log, 1, 2).await && know(log, 2, 3).await);
        assert!(!know(log, 1, 3).await, "a common member is not a common group");
        assert!(!know(log, 1, 4).await && !know(log, 1, 9).await);
        assert_eq!(groups_of(log, 2).await, [group(1), group(2)], "in ascending order");
        assert_eq!(groups_of(log, 9).await, []);
        log.reopen().await;
    }
    append(log, AppendOperation { left: vec![account(2)], ..operation(group(2), 1) }).await;
    assert!(!know(log, 1, 2).await, "not when one of them has left");
    assert!(know(log, 2, 3).await);
}

async fn what_is_not_delivered_is_remembered(log: Log<'_>) {
    let delivered = async |log: Log<'_>| head(log, group(1)).await.expect("exists").delivered;
    chain(log, group(1), 2).await;
    deliver(log, group(1), 0).await;
    assert_eq!(undelivered(log, 10).await, [(group(1), 1)]);
    log.reopen().await;
    assert_eq!(undelivered(log, 10).await, [(group(1), 1)], "a crash in the fan-out is repaired from this");
    let listed = log.port().undelivered(10).await.expect("readable");
    assert_eq!(listed[0].1, stored(&operation(group(1), 1), 1), "with all that its rows need");
    assert!(!delivered(log).await);
    append(log, operation(group(1), 1)).await;
    assert_eq!(undelivered(log, 10).await, [(group(1), 1)], "a repeat delivers nothing");
    for _ in 0..2 {
        deliver(log, group(1), 1).await;
        log.reopen().await;
        assert_eq!(undelivered(log, 10).await, []);
        assert!(delivered(log).await);
    }
    append(log, operation(group(1), 2)).await;
    assert_eq!(undelivered(log, 10).await, [(group(1), 2)]);
}

async fn what_is_not_delivered_is_listed_in_order(log: Log<'_>) {
    for n in 0..4 {
        for g in [3, 1, 2] {
            append(log, operation(group(g), n)).await;
        }
    }
    deliver(log, group(1), 0).await;
    deliver(log, group(2), 3).await;
    let first = undelivered(log, 4).await;
    let every = undelivered(log, usize::MAX).await;
    assert_eq!((first.len(), every.len()), (4, 10));
    assert_eq!(first, every[..4]);
    for g in 1..4 {
        let epochs: Vec<_> =
            every.iter().filter(|(of, _)| *of == group(g)).map(|(_, epoch)| *epoch).collect();
        assert!(epochs.is_sorted(), "none before an undelivered one of the same group");
    }
    assert_eq!(undelivered(log, 0).await, []);
}

async fn a_thousand_members_are_one_operation(log: Log<'_>) {
    let members: Vec<_> = (0..1_024).map(account).collect();
    let largest = AppendOperation {
        joined: members.clone(),
        bytes: filled(9, types::limits::GROUP_OPERATION_BYTES_MAX),
        ..operation(group(1), 0)
    };
    append(log, largest).await;
    append(log, AppendOperation { left: members[1..].to_vec(), actor: device(0), ..operation(group(1), 1) })
        .await;
    log.reopen().await;
    assert_eq!(all(log, group(1)).await[0].bytes.len(), types::limits::GROUP_OPERATION_BYTES_MAX);
    for n in [1, 500, 1_023] {
        assert_eq!(membership(log, group(1), n).await, Some(Membership { since: 0, until: Some(1) }));
    }
    assert_eq!(membership(log, group(1), 0).await, Some(Membership { since: 0, until: None }));
}
