//! A suite that passes a broken adapter proves nothing: each planted mistake must be found by it.

use crate::conformance::{Dir, Ex, Mail, now};
use server_ports::{
    conformance::{self, Case, Subject},
    fake::{Bug, Bugs, FakeDirectory, FakeExchange, FakeMailboxes, Mode, Setup},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// The names of the cases that fail.
fn failing<P: ?Sized + 'static>(
    cases: &[Case<P>],
    make: impl Fn(&Setup) -> Box<dyn Subject<P>>,
    bug: Bug,
) -> Vec<&'static str> {
    let setup = Setup { bugs: Bugs::of([bug]), ..Setup::default() };
    let fails = |case: &&Case<P>| {
        let mut subject = make(&setup);
        catch_unwind(AssertUnwindSafe(|| now((case.run)(&mut *subject)))).is_err()
    };
    cases.iter().filter(fails).map(|case| case.name).collect()
}

fn mail(bug: Bug) -> Vec<&'static str> {
    let make = |setup: &Setup| -> Box<dyn Subject<_>> {
        Box::new(Mail(Arc::new(FakeMailboxes::new(Mode::Solo, setup))))
    };
    failing(conformance::mailboxes::CASES, make, bug)
}

fn directory(bug: Bug) -> Vec<&'static str> {
    failing(conformance::directory::CASES, |setup| Box::new(Dir(Arc::new(FakeDirectory::new(setup)))), bug)
}

#[test]
fn mailbox_suite_finds_planted_mistakes() {
    for (bug, case) in [
        (Bug::PositionReused, "positions::are_never_used_twice"),
        (Bug::AllOrNoneBroken, "rows::of_a_send_are_all_there_or_none"),
        (Bug::RecordForgotten, "idempotency::a_repeat_writes_nothing"),
        (Bug::EarlyExpiry, "expiry::a_row_is_gone_at_its_time_and_not_before"),
        (Bug::ImmortalRow, "expiry::expired_rows_make_room"),
        (Bug::AckDeletesBelow, "rows::are_deleted_by_exact_ack"),
        (Bug::AppendNotSynced, "rows::survive_a_crash"),
    ] {
        let found = mail(bug);
        assert!(found.contains(&case), "{bug:?} should fail {case}, failed {found:?}");
    }
}

#[test]
fn directory_suite_finds_planted_mistakes() {
    for (bug, case) in [
        (Bug::OneTimeKeyTwice, "prekeys::parallel_takers_never_share_a_key"),
        (Bug::ConnectionNumberNotCompared, "accounts::one_of_many_connections_gets_a_number"),
        (Bug::TriesNotCounted, "registrations::parallel_tries_are_no_more_than_allowed"),
    ] {
        let found = directory(bug);
        assert!(found.contains(&case), "{bug:?} should fail {case}, failed {found:?}");
    }
}

#[test]
fn exchange_suite_finds_planted_mistakes() {
    let make = |setup: &Setup| -> Box<dyn Subject<_>> { Box::new(Ex(Arc::new(FakeExchange::new(setup)))) };
    let found = failing(conformance::exchange::CASES, make, Bug::SignalMisrouted);
    assert!(found.contains(&"signals_reach_the_node_that_holds_the_route"), "failed {found:?}");
}
