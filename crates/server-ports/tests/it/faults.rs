//! Faults: planned, seeded, and within the contract.

use crate::conformance::now;
use bytes::Bytes;
use futures_util::FutureExt as _;
use server_ports::{
    Exchange, Mailboxes, NodeInbox, Signal, StoreError,
    exchange::Route,
    fake::{FakeExchange, FakeMailboxes, FaultPlan, Mode, Setup},
    mailboxes::{Append, AppendError, NewRow, PageLimit, Placed, WhenFull},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use types::{
    AccountId, DeviceAddress, DeviceNumber, EnvelopeId, MailboxId, Millis, NodeId, Position, RegistrationId,
    Stamp,
};

fn mailbox(n: u8) -> MailboxId {
    DeviceAddress::new(AccountId::from_bytes([n; 16]), DeviceNumber::PRIMARY)
        .mailbox(RegistrationId::new(1).unwrap())
}

fn send(setup: &Setup, n: u8) -> Append {
    let now = setup.clock.true_now();
    let row = NewRow {
        to: mailbox(1),
        head: Bytes::from(vec![n]),
        body: Bytes::new(),
        expires_at: now + Millis::from_days(30),
    };
    Append {
        sender: mailbox(9),
        envelope_id: EnvelopeId::from_bytes([n; 16]),
        digest: [n; 32],
        stamp: Stamp::new(u64::from(n), NodeId(1)),
        rows: vec![row],
        when_full: WhenFull::Refuse,
        now,
    }
}

fn world(plan: FaultPlan) -> (Setup, FakeMailboxes) {
    let setup = Setup { plan, ..Setup::default() };
    let store = FakeMailboxes::new(Mode::Fleet, &setup);
    now(store.open(mailbox(1))).unwrap_or(());
    (setup, store)
}

fn read(setup: &Setup, store: &FakeMailboxes, after: Position) -> (BTreeSet<u8>, Position) {
    let limit = PageLimit { rows: 1_000, bytes: 1_000_000, now: setup.clock.true_now() };
    let page = now(store.read(mailbox(1), after, limit)).unwrap();
    (page.rows.iter().map(|row| row.envelope[0]).collect(), page.cursor)
}

#[test]
fn a_fleet_shows_rows_late_and_out_of_order_but_its_cursor_passes_none() {
    let plan = FaultPlan { seed: 3, row_late: 500, late_max: Millis::from_secs(10), ..FaultPlan::default() };
    let (setup, store) = world(plan);
    let (mut seen, mut cursor, mut out_of_order) = (BTreeSet::new(), Position::ZERO, false);
    for n in 0..200 {
        let appended = now(store.append(send(&setup, n))).unwrap();
        assert!(
            matches!(appended.placed[0], Placed::At { previous: None, .. }),
            "a fleet knows no row before"
        );
        setup.clock.advance(Millis(700));
        let (fresh, next) = read(&setup, &store, cursor);
        let fresh: BTreeSet<_> = fresh.difference(&seen).copied().collect();
        out_of_order |= fresh.iter().any(|n| seen.last().is_some_and(|newest| n < newest));
        seen.extend(fresh);
        cursor = cursor.max(next);
    }
    setup.clock.advance(Millis::from_secs(10));
    seen.extend(read(&setup, &store, cursor).0);
    assert_eq!(seen, (0..200).collect(), "reading on from cursors brings every row");
    assert!(out_of_order, "some row appeared below one that was read before");
    assert!(cursor > Position::ZERO, "and the cursor does move");
}

#[test]
fn an_answered_error_may_still_commit() {
    let plan = FaultPlan { seed: 1, store_fails_after: 300, store_fails: 300, ..FaultPlan::default() };
    let (setup, store) = world(plan);
    store.faults().heal();
    now(store.open(mailbox(1))).unwrap();
    store.faults().set(FaultPlan { store_fails_after: 300, store_fails: 300, ..FaultPlan::default() });
    let failed: Vec<_> = (0..100).filter(|n| now(store.append(send(&setup, *n))).is_err()).collect();
    store.faults().heal();
    let (present, _) = read(&setup, &store, Position::ZERO);
    assert!(failed.iter().any(|n| present.contains(n)), "done, though it failed");
    assert!(failed.iter().any(|n| !present.contains(n)), "not done");
    for n in failed {
        let again = now(store.append(send(&setup, n))).unwrap();
        assert_eq!(again.repeat, present.contains(&n), "a retry settles it");
    }
    assert_eq!(read(&setup, &store, Position::ZERO).0, (0..100).collect());
}

#[test]
fn a_late_record_lets_a_retry_write_again_and_the_lowest_stamp_wins() {
    let plan =
        FaultPlan { seed: 5, record_late: 1_000, late_max: Millis::from_secs(10), ..FaultPlan::default() };
    let (setup, store) = world(plan);
    let doubled = (0..50).find(|n| {
        now(store.append(send(&setup, *n))).unwrap();
        let retry = Append { stamp: Stamp::new(1_000, NodeId(2)), ..send(&setup, *n) };
        !now(store.append(retry)).unwrap().repeat
    });
    let doubled = doubled.expect("some record is late");
    setup.clock.advance(Millis::from_secs(11));
    let record = now(store.recorded(mailbox(9), EnvelopeId::from_bytes([doubled; 16]))).unwrap();
    assert_eq!(record.unwrap().stamp, Stamp::new(u64::from(doubled), NodeId(1)));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let plan = FaultPlan {
            seed,
            store_fails: 200,
            store_fails_after: 200,
            row_late: 500,
            late_max: Millis::from_secs(10),
            ..FaultPlan::default()
        };
        let (setup, store) = world(plan);
        let answers: Vec<_> = (0..50).map(|n| now(store.append(send(&setup, n)))).collect();
        (answers, store.rows())
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

#[test]
fn a_delayed_call_waits_for_virtual_time() {
    let (setup, store) = world(FaultPlan::default());
    store.faults().set(FaultPlan { store_delay_max: Millis(50), ..FaultPlan::default() });
    let mut append = store.append(send(&setup, 1));
    while append.as_mut().now_or_never().is_none() {
        setup.clock.advance_to(setup.clock.next_timer().expect("it waits for a timer"));
    }
    drop(append);
    assert_eq!(store.rows().len(), 1);
}

#[test]
fn a_power_cut_loses_queued_acks_only() {
    let setup = Setup::default();
    let store = FakeMailboxes::new(Mode::Solo, &setup);
    now(store.open(mailbox(1))).unwrap();
    let answer = now(store.append(send(&setup, 1))).unwrap();
    let Placed::At { position, .. } = answer.placed[0] else { panic!("written") };
    now(store.ack(mailbox(1), &[position])).unwrap();
    assert!(read(&setup, &store, Position::ZERO).0.is_empty());
    store.power_cut();
    assert_eq!(read(&setup, &store, Position::ZERO).0, BTreeSet::from([1]), "it is delivered again");
    now(store.ack(mailbox(1), &[position])).unwrap();
    now(store.append(send(&setup, 2))).unwrap();
    store.power_cut();
    assert_eq!(read(&setup, &store, Position::ZERO).0, BTreeSet::from([2]), "the next commit carried it");
}

#[test]
fn a_poisoned_store_answers_nothing() {
    let setup = Setup::default();
    let store = FakeMailboxes::new(Mode::Solo, &setup);
    now(store.open(mailbox(1))).unwrap();
    store.poison();
    assert!(matches!(now(store.append(send(&setup, 1))), Err(AppendError::Store(StoreError::Poisoned(_)))));
    assert!(store.health().unwrap_err().is_poisoned());
    store.power_cut();
    assert_eq!(store.health(), Ok(()));
    assert!(store.rows().is_empty());
}

#[derive(Default)]
struct Inbox(Mutex<Vec<Signal>>);

impl NodeInbox for Inbox {
    fn deliver(&self, _: MailboxId, _: u64, signal: Signal) {
        self.0.lock().unwrap().push(signal);
    }
}

#[test]
fn signals_are_lost_doubled_and_late_but_keep_their_order() {
    let plan = FaultPlan {
        seed: 2,
        signal_lost: 300,
        signal_doubled: 300,
        signal_late: 500,
        signal_late_max: Millis(500),
        ..FaultPlan::default()
    };
    let setup = Setup { plan, ..Setup::default() };
    let exchange = FakeExchange::new(&setup);
    let inbox = Arc::new(Inbox::default());
    exchange.subscribe(NodeId(1), inbox.clone());
    now(exchange.claim(Route { device: mailbox(1), node: NodeId(1), connection: 1 })).unwrap();
    for n in 0..200_u8 {
        now(exchange.signal(mailbox(1), Signal::Ephemeral(Bytes::from(vec![n])))).unwrap();
        setup.clock.advance(Millis(10));
    }
    setup.clock.advance(Millis(500));
    let arrived: Vec<_> = inbox
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|signal| match signal {
            Signal::Ephemeral(bytes) => bytes[0],
            other => panic!("not sent: {other:?}"),
        })
        .collect();
    let distinct: BTreeSet<_> = arrived.iter().collect();
    assert!(arrived.is_sorted(), "signals to one device keep their order");
    assert!(distinct.len() < 180 && distinct.len() > 80, "some are lost");
    assert!(arrived.len() > distinct.len(), "some come twice");
}
