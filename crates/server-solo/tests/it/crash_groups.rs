//! A process is killed while it appends to chains: what it was told is there, in order, and whatever it
//! had not delivered is remembered.

use crate::{
    child,
    crash::{KILLS, Log, ROUND, WRITERS, kill_while_working, round},
    samples::{mailbox, open_directory, runtime},
};
use server_ports::group_log::{AppendOperation, AppendOutcome, GroupLog, Membership};
use server_solo::sqlite::SqliteDirectory;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use types::{GroupId, NodeId, Stamp};

/// Chains that the writers share.
const GROUPS: u32 = 4;

fn group(n: u32) -> GroupId {
    GroupId::from_bytes([n as u8; 16])
}

/// The `n`th operation, by which the `n`th account joins.
fn operation(n: u32, expected: Option<[u8; 32]>, stamp: Stamp) -> AppendOperation {
    let mut hash = [0x44; 32];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    let mut operation_id = [0x55; 16];
    operation_id[..4].copy_from_slice(&n.to_be_bytes());
    AppendOperation {
        group: group(n % GROUPS),
        expected,
        hash,
        operation_id,
        actor: mailbox(n),
        bytes: vec![n as u8; 300].into(),
        stamp,
        joined: vec![mailbox(n).account],
        left: Vec::new(),
    }
}

/// The number of an operation, from its id.
fn number(operation_id: [u8; 16]) -> u32 {
    u32::from_be_bytes(*operation_id.first_chunk().unwrap())
}

#[test]
fn group_writer() {
    let Some(work) = child::work() else { return };
    let log = Log::open(&work);
    let groups = Arc::new(open_directory(&work.join("directory.sqlite")));
    let next = Arc::new(AtomicU32::new(round() * ROUND + 1));
    runtime().block_on(async {
        let writers = (0..WRITERS).map(|_| {
            let (groups, log, next) = (groups.clone(), log.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    append_one(&groups, &log, next.fetch_add(1, Ordering::Relaxed)).await;
                }
            })
        });
        futures_util::future::join_all(writers).await;
    });
}

/// Appends, over as many heads as it takes, and delivers two of three.
async fn append_one(groups: &SqliteDirectory, log: &Log, n: u32) {
    log.line(format!("begun {n}"));
    let epoch = loop {
        let head = GroupLog::head(groups, group(n % GROUPS)).await.unwrap();
        let stamp = Stamp::new(head.map_or(1, |head| head.stamp.clock() + 1), NodeId(1));
        match groups.append(operation(n, head.map(|head| head.head), stamp)).await.unwrap() {
            AppendOutcome::Appended { epoch } => break epoch,
            AppendOutcome::Moved(_) => {}
            other => panic!("a new operation: {other:?}"),
        }
    };
    log.line(format!("done {n} {epoch}"));
    if !n.is_multiple_of(3) {
        log.line(format!("delivering {n}"));
        groups.delivered(group(n % GROUPS), epoch).await.unwrap();
        log.line(format!("delivered {n}"));
    }
}

/// What the log of a group writer says.
#[derive(Default)]
struct Told {
    begun: BTreeSet<u32>,
    /// Epochs.
    done: BTreeMap<u32, u64>,
    delivering: BTreeSet<u32>,
    delivered: BTreeSet<u32>,
}

impl Told {
    fn read(log: &str) -> Self {
        let mut told = Self::default();
        for line in log.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["begun", n] => drop(told.begun.insert(n.parse().unwrap())),
                ["done", n, epoch] => drop(told.done.insert(n.parse().unwrap(), epoch.parse().unwrap())),
                ["delivering", n] => drop(told.delivering.insert(n.parse().unwrap())),
                ["delivered", n] => drop(told.delivered.insert(n.parse().unwrap())),
                _ => panic!("a line that nobody wrote: {line}"),
            }
        }
        told
    }
}

async fn check(groups: &SqliteDirectory, told: &Told) {
    let undelivered = groups.undelivered(usize::MAX).await.unwrap();
    let undelivered: BTreeSet<u32> =
        undelivered.iter().map(|(_, operation)| number(operation.operation_id)).collect();
    let mut found = BTreeMap::new();
    for of in 0..GROUPS {
        let chain = groups.operations(group(of), 0, usize::MAX).await.unwrap();
        assert!(chain.is_sorted_by(|one, next| one.stamp < next.stamp), "stamps follow the chain");
        for (operation, epoch) in chain.iter().zip(0..) {
            let n = number(operation.operation_id);
            assert_eq!(operation.epoch, epoch, "a gap in a chain");
            assert!(told.begun.contains(&n), "an operation that nobody appended");
            assert_eq!(operation.bytes, vec![n as u8; 300], "a torn operation");
            assert_eq!(found.insert(n, epoch), None, "an operation twice");
            let member = groups.membership(group(of), mailbox(n).account).await.unwrap();
            assert_eq!(member, Some(Membership { since: epoch, until: None }), "an operation in part");
        }
        let head = GroupLog::head(groups, group(of)).await.unwrap().expect("every group got going");
        assert_eq!(head.head, chain.last().unwrap().hash);
    }
    for (n, epoch) in &told.done {
        assert_eq!(found.get(n), Some(epoch), "an answered operation is lost or elsewhere");
    }
    for n in told.begun.iter().filter(|n| !found.contains_key(n)) {
        let member = groups.membership(group(n % GROUPS), mailbox(*n).account).await.unwrap();
        assert_eq!(member, None, "a member by an operation that is not there");
    }
    for n in found.keys() {
        assert!(undelivered.contains(n) || told.delivering.contains(n), "a duty to deliver is forgotten");
        assert!(!undelivered.contains(n) || !told.delivered.contains(n), "what was delivered comes back");
    }
}

#[test]
fn chains_survive_kill_9() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("directory.sqlite");
    let runtime = runtime();
    let mut answered = 0;
    for round in 0..KILLS / 2 {
        let told = Told::read(&kill_while_working("crash_groups::group_writer", work.path(), round));
        runtime.block_on(check(&open_directory(&path), &told));
        assert!(told.done.len() > answered, "every round gets something done");
        answered = told.done.len();
    }
}
