//! The redb adapter against the fake, row by row, under random operations.

use crate::audit;
use bytes::Bytes;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use server_ports::{
    Mailboxes,
    fake::{FakeMailboxes, Mode, Setup},
    mailboxes::{Append, NewRow, PageLimit, WhenFull},
};
use server_solo::redb::RedbMailboxes;
use types::{
    AccountId, DeviceAddress, DeviceNumber, EnvelopeId, MailboxId, Millis, NodeId, Position, RegistrationId,
    Stamp, Timestamp,
};

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const MAILBOXES: u8 = 4;

#[derive(Clone, Debug)]
enum Operation {
    Open(u8),
    Close(u8),
    /// What is sent follows from envelope and version: the same send again is a repeat, another version of
    /// it a conflict.
    Append {
        sender: u8,
        envelope: u8,
        version: u8,
        skip: bool,
    },
    /// Acknowledges the row at this place among those in the mailbox, and a position that may not exist.
    Ack {
        mailbox: u8,
        place: u8,
        wild: u8,
    },
    Read {
        mailbox: u8,
        after: u8,
        rows: usize,
        bytes: usize,
    },
    Days(u8),
    Expire,
    Reserve(u64),
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let mailbox = 0..MAILBOXES;
    let append = (mailbox.clone(), 0..40_u8, 0..2_u8, any::<bool>());
    prop_oneof![
        2 => mailbox.clone().prop_map(Operation::Open),
        1 => mailbox.clone().prop_map(Operation::Close),
        12 => append
            .prop_map(|(sender, envelope, version, skip)| Operation::Append { sender, envelope, version, skip }),
        6 => (mailbox.clone(), 0..8_u8, 0..60_u8)
            .prop_map(|(mailbox, place, wild)| Operation::Ack { mailbox, place, wild }),
        6 => (mailbox, 0..30_u8, 1..6_usize, 0..2_000_usize)
            .prop_map(|(mailbox, after, rows, bytes)| Operation::Read { mailbox, after, rows, bytes }),
        1 => (1..4_u8).prop_map(Operation::Days),
        1 => Just(Operation::Expire),
        1 => (0..1_000_u64).prop_map(Operation::Reserve),
        1 => Just(Operation::Reopen),
    ]
}

fn mailbox(n: u8) -> MailboxId {
    // Two accounts, so that neighbours in the key order differ by account and by life.
    let account = AccountId::from_bytes([n / 2; 16]);
    DeviceAddress::new(account, DeviceNumber::PRIMARY)
        .mailbox(RegistrationId::new(u32::from(n) + 255).unwrap())
}

fn append_of(operation: &Operation, now: Timestamp, stamp: u64) -> Append {
    let Operation::Append { sender, envelope, version, skip } = operation else { unreachable!() };
    let common = Bytes::from(vec![*envelope; 300]);
    // Any numbers will do, if the same send always gives the same ones.
    let mut state = u32::from(*envelope) << 8 | u32::from(*version);
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let rows = (0..draw(6)).map(|_| {
        let (to, length, days) = (draw(MAILBOXES.into()) as u8, draw(600), draw(6));
        NewRow {
            to: mailbox(to),
            head: Bytes::from(vec![to; length as usize]),
            body: if draw(3) == 0 { Bytes::from(vec![length as u8; 200]) } else { common.clone() },
            expires_at: now + Millis::from_days(days.into()) + Millis(length.into()),
        }
    });
    Append {
        rows: rows.collect(),
        sender: mailbox(*sender),
        envelope_id: EnvelopeId::from_bytes([*envelope; 16]),
        digest: [*version; 32],
        stamp: Stamp::new(stamp, NodeId(1)),
        when_full: if *skip { WhenFull::Skip } else { WhenFull::Refuse },
        now,
    }
}

async fn whole(store: &dyn Mailboxes, n: u8, now: Timestamp) -> server_ports::mailboxes::Page {
    let limit = PageLimit { rows: usize::MAX, bytes: usize::MAX, now };
    store.read(mailbox(n), Position::ZERO, limit).await.unwrap()
}

async fn check(operations: Vec<Operation>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mailboxes.redb");
    let fake = FakeMailboxes::new(Mode::Solo, &Setup::default());
    let mut real = RedbMailboxes::open(&path).unwrap();
    let mut now = START;
    for (step, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Open(n) => {
                fake.open(mailbox(*n)).await.unwrap();
                real.open(mailbox(*n)).await.unwrap();
            }
            Operation::Close(n) => {
                fake.close(mailbox(*n)).await.unwrap();
                real.close(mailbox(*n)).await.unwrap();
            }
            Operation::Append { .. } => {
                let append = append_of(operation, now, step as u64 + 1);
                assert_eq!(real.append(append.clone()).await, fake.append(append).await, "step {step}");
            }
            Operation::Ack { mailbox: n, place, wild } => {
                let rows = whole(&fake, *n, START).await.rows;
                let known = rows.get(*place as usize).map(|row| row.position);
                let positions: Vec<_> =
                    known.into_iter().chain([Position::from_u128(u128::from(*wild))]).collect();
                fake.ack(mailbox(*n), &positions).await.unwrap();
                real.ack(mailbox(*n), &positions).await.unwrap();
            }
            Operation::Read { mailbox: n, after, rows, bytes } => {
                let limit = PageLimit { rows: *rows, bytes: *bytes, now };
                let after = Position::from_u128(u128::from(*after));
                let expected = fake.read(mailbox(*n), after, limit).await;
                let page = real.read(mailbox(*n), after, limit).await;
                assert_eq!(page, expected, "step {step}");
            }
            Operation::Days(days) => now = now + Millis::from_days(u64::from(*days)),
            Operation::Expire => {
                fake.expire(now).await.unwrap();
                real.expire(now).await.unwrap();
            }
            Operation::Reserve(clock) => {
                fake.reserve_stamps(NodeId(1), *clock).await.unwrap();
                real.reserve_stamps(NodeId(1), *clock).await.unwrap();
            }
            Operation::Reopen => {
                drop(real);
                real = RedbMailboxes::open(&path).unwrap();
            }
        }
    }
    for n in 0..MAILBOXES {
        assert_eq!(whole(&real, n, now).await, whole(&fake, n, now).await, "mailbox {n} at the end");
        for envelope in 0..40 {
            let envelope = EnvelopeId::from_bytes([envelope; 16]);
            let expected = fake.recorded(mailbox(n), envelope).now_or_never().unwrap();
            assert_eq!(real.recorded(mailbox(n), envelope).await, expected, "records of {n}");
        }
    }
    assert_eq!(real.reserved_stamps(NodeId(1)).await, fake.reserved_stamps(NodeId(1)).await);
    drop(real);
    audit::mailboxes(&path);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redb_answers_what_the_fake_answers(operations in prop::collection::vec(operation(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(operations));
    }
}
