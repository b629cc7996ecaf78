//! A process is killed while it writes. What it had answered is there; nothing is there in part.

use crate::{
    audit, child,
    samples::{
        NOW, create_account, envelope_id, mailbox, one_time_keys, open_directory, rows, runtime, send,
        send_of,
    },
};
use server_ports::{
    Mailboxes,
    directory::{Accounts, ConnectOutcome, Prekeys, TakeKeys},
    mailboxes::Placed,
};
use server_solo::redb::RedbMailboxes;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};
use types::{MailboxId, Position};

pub const KILLS: u32 = 20;
/// What is numbered in one round, at most.
pub const ROUND: u32 = 1_000_000;
/// Tasks that write at once.
pub const WRITERS: u32 = 16;
/// Devices that ask for keys at once.
const TAKERS: u32 = 64;

fn recipients() -> [MailboxId; 3] {
    [mailbox(1), mailbox(2), mailbox(3)]
}

/// A log of what the process was told. One write a line: the kernel keeps what a killed process wrote.
pub struct Log(fs::File);

impl Log {
    pub fn open(work: &Path) -> Arc<Self> {
        Arc::new(Self(OpenOptions::new().append(true).create(true).open(work.join("log")).unwrap()))
    }

    pub fn line(&self, line: String) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Starts the part, kills it some time after it got going, and gives back its log.
pub fn kill_while_working(part: &str, work: &Path, round: u32) -> String {
    let length = || fs::metadata(work.join("log")).map_or(0, |log| log.len());
    let before = length();
    let mut command = child::command(part, work);
    let mut process =
        command.env("ROUND", round.to_string()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The first lines of a round only say what was begun.
    while length() < before + 2_000 {
        assert_eq!(process.try_wait().unwrap(), None, "the writer ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
    // Any moment will do, and each round has another one.
    thread::sleep(Duration::from_millis(u64::from(round * 37 % 90)));
    process.kill().unwrap();
    process.wait().unwrap();
    fs::read_to_string(work.join("log")).unwrap()
}

pub fn round() -> u32 {
    std::env::var("ROUND").unwrap().parse().unwrap()
}

#[test]
fn mailbox_writer() {
    let Some(work) = child::work() else { return };
    let log = Log::open(&work);
    let store = Arc::new(RedbMailboxes::open(&work.join("mailboxes.redb")).unwrap());
    let next = Arc::new(AtomicU32::new(round() * ROUND));
    runtime().block_on(async {
        for mailbox in recipients() {
            store.open(mailbox).await.unwrap();
        }
        let writers = (0..WRITERS).map(|writer| {
            let (store, log, next) = (store.clone(), log.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    write_one(&store, &log, 100 + writer, next.fetch_add(1, Ordering::Relaxed)).await;
                }
            })
        });
        futures_util::future::join_all(writers).await;
    });
}

/// Sends, and acknowledges what came to the first recipient.
async fn write_one(store: &RedbMailboxes, log: &Log, sender: u32, n: u32) {
    log.line(format!("begun {n}"));
    let placed = store.append(send(sender, n, &recipients())).await.unwrap().placed;
    let position = |placed: &Placed| match placed {
        Placed::At { position, .. } => position.as_u128(),
        other => panic!("written: {other:?}"),
    };
    let positions = placed.iter().map(position).collect::<Vec<_>>();
    log.line(format!("done {n} {} {} {} {sender}", positions[0], positions[1], positions[2]));
    log.line(format!("acks {n}"));
    store.ack(recipients()[0], &[Position::from_u128(positions[0])]).await.unwrap();
}

/// What the log of a mailbox writer says.
#[derive(Default)]
struct Told {
    begun: BTreeSet<u32>,
    /// Positions in the order of recipients, and the sender.
    done: BTreeMap<u32, ([u128; 3], u32)>,
    acked: BTreeSet<u32>,
}

impl Told {
    fn read(log: &str) -> Self {
        let mut told = Self::default();
        for line in log.lines() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["begun", n] => drop(told.begun.insert(n.parse().unwrap())),
                ["acks", n] => drop(told.acked.insert(n.parse().unwrap())),
                ["done", n, a, b, c, sender] => {
                    let positions = [a, b, c].map(|position| position.parse().unwrap());
                    told.done.insert(n.parse().unwrap(), (positions, sender.parse().unwrap()));
                }
                _ => panic!("a line that nobody wrote: {line}"),
            }
        }
        told
    }
}

async fn check_mailboxes(store: &RedbMailboxes, told: &Told) {
    let mut found: [BTreeMap<u32, u128>; 3] = Default::default();
    for (recipient, found) in recipients().into_iter().zip(&mut found) {
        for row in rows(store, recipient).await {
            let n = send_of(&row);
            assert!(told.begun.contains(&n), "a row that nobody sent");
            assert_eq!(found.insert(n, row.position.as_u128()), None, "a row twice");
        }
    }
    let sent_of = |at: usize| found[at].keys().copied().collect::<BTreeSet<_>>();
    assert_eq!(sent_of(1), sent_of(2), "all rows of a send or none");
    assert!(sent_of(0).is_subset(&sent_of(1)), "all rows of a send or none");
    for (n, (positions, _)) in &told.done {
        assert_eq!(found[1].get(n), Some(&positions[1]), "an answered row is lost");
        assert_eq!(found[2].get(n), Some(&positions[2]), "an answered row is lost");
        assert!(
            found[0].contains_key(n) || told.acked.contains(n),
            "a row is lost that was not acknowledged"
        );
    }
    for n in sent_of(1).difference(&sent_of(0)) {
        assert!(told.acked.contains(n), "a row of an unanswered send is missing");
    }
    for at in 0..3 {
        let mut used: BTreeSet<u128> = told.done.values().map(|(positions, _)| positions[at]).collect();
        assert_eq!(used.len(), told.done.len(), "a position was given twice");
        used.extend(found[at].values());
        let answered: BTreeSet<_> = told.done.keys().copied().chain(found[at].keys().copied()).collect();
        assert_eq!(used.len(), answered.len(), "a position was given twice");
    }
    for (n, (_, sender)) in told.done.iter().rev().take(100) {
        let record = store.recorded(mailbox(*sender), envelope_id(*n)).await.unwrap();
        assert_eq!(
            record.map(|record| record.digest),
            Some([*n as u8; 32]),
            "an answered send is not recorded"
        );
    }
}

#[test]
fn mailboxes_survive_kill_9() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("mailboxes.redb");
    let runtime = runtime();
    let mut answered = 0;
    for round in 0..KILLS {
        let log = kill_while_working("crash::mailbox_writer", work.path(), round);
        let told = Told::read(&log);
        let store = RedbMailboxes::open(&path).unwrap();
        runtime.block_on(check_mailboxes(&store, &told));
        drop(store);
        audit::mailboxes(&path);
        assert!(told.done.len() > answered, "every round gets something done");
        answered = told.done.len();
    }
}

#[test]
fn directory_writer() {
    let Some(work) = child::work() else { return };
    let log = Log::open(&work);
    let directory = Arc::new(open_directory(&work.join("directory.sqlite")));
    let first = round() * ROUND;
    let next = Arc::new(AtomicU32::new(first));
    runtime().block_on(async {
        let takers = (0..TAKERS).map(|_| {
            let (directory, log, next) = (directory.clone(), log.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed) + 1;
                    if n % 64 == 1 {
                        directory.put_keys(mailbox(1), one_time_keys(n..n + 100)).await.unwrap();
                    }
                    use_directory(&directory, &log, n).await;
                }
            })
        });
        futures_util::future::join_all(takers).await;
    });
}

/// Somebody new takes a key, and the device connects.
async fn use_directory(directory: &server_solo::sqlite::SqliteDirectory, log: &Log, n: u32) {
    let take = TakeKeys {
        target: mailbox(1),
        requester: mailbox(1_000 + n),
        reset: false,
        spare_one_time: false,
        now: NOW,
    };
    let taken = directory.take_keys(take).await.unwrap().unwrap();
    if let Some(key) = taken.bundle.one_time_prekey {
        log.line(format!("took {}", key.id));
    }
    let outcome = directory.connect(mailbox(1), n.into(), NOW).await.unwrap();
    if matches!(outcome, ConnectOutcome::Stored { .. }) {
        log.line(format!("connected {n}"));
    }
}

#[test]
fn the_directory_survives_kill_9() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("directory.sqlite");
    let runtime = runtime();
    runtime.block_on(create_account(&open_directory(&path), 1));
    for round in 0..KILLS {
        let log = kill_while_working("crash::directory_writer", work.path(), round);
        let number = |line: &str, word: &str| line.strip_prefix(word).map(|n| n.parse::<u32>().unwrap());
        let taken: Vec<_> = log.lines().filter_map(|line| number(line, "took ")).collect();
        let distinct: BTreeSet<_> = taken.iter().copied().collect();
        assert_eq!(taken.len(), distinct.len(), "a one-time key was given twice");
        assert!(distinct.len() > round as usize, "keys are given in every round");
        let highest = log.lines().filter_map(|line| number(line, "connected ")).max().unwrap();
        let directory = open_directory(&path);
        runtime.block_on(async {
            let again = directory.connect(mailbox(1), highest.into(), NOW).await.unwrap();
            assert_eq!(again, ConnectOutcome::NotGreater, "an answered connection number is forgotten");
            let first = *distinct.first().unwrap();
            let before = directory.key_counts(mailbox(1)).await.unwrap().unwrap();
            let after =
                directory.put_keys(mailbox(1), one_time_keys(first..first + 1)).await.unwrap().unwrap();
            assert_eq!(after, before, "a key that was given away is stored again");
        });
    }
}
