//! A suite that passes a broken adapter proves nothing: each planted mistake must be found by it.

use crate::conformance::{Dir, Ex, Log, Mail, Store, now};
use server_ports::{
    conformance::{self, Case, Subject},
    fake::{Bug, Bugs, FakeBlobs, FakeDirectory, FakeExchange, FakeGroupLog, FakeMailboxes, Mode, Setup},
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
        (Bug::LinkTakenTwice, "links::one_of_many_inviters_has_the_link"),
        (Bug::ImmortalLink, "links::time_ends_a_link"),
        (Bug::LinkCompletedInPart, "links::a_link_is_completed_with_its_list_or_not_at_all"),
        (Bug::RetiringForgotten, "retiring::who_lost_its_record_is_retiring_until_it_is_retired"),
        (Bug::RestoredByAnybody, "restoration::a_list_alone_restores_nothing"),
    ] {
        let found = directory(bug);
        assert!(found.contains(&case), "{bug:?} should fail {case}, failed {found:?}");
    }
}

#[test]
fn group_log_suite_finds_planted_mistakes() {
    for (bug, case) in [
        (Bug::HeadNotCompared, "one_of_many_is_appended_to_a_head"),
        (Bug::OperationTwice, "a_repeat_is_told_where_it_stands"),
        (Bug::DutyToDeliverForgotten, "what_is_not_delivered_is_remembered"),
        (Bug::RemovedMemberStays, "members_come_and_go_with_operations"),
    ] {
        let make =
            |setup: &Setup| -> Box<dyn Subject<_>> { Box::new(Log(Arc::new(FakeGroupLog::new(setup)))) };
        let found = failing(conformance::group_log::CASES, make, bug);
        assert!(found.contains(&case), "{bug:?} should fail {case}, failed {found:?}");
    }
}

#[test]
fn blob_suite_finds_planted_mistakes() {
    let make = |setup: &Setup| -> Box<dyn Subject<_>> { Box::new(Store(Arc::new(FakeBlobs::new(setup)))) };
    for (bug, case) in [
        (Bug::BlobNotChecked, "other_bytes_than_announced_are_refused"),
        (Bug::ImmortalBlob, "a_blob_is_gone_at_its_time_and_not_before"),
        (Bug::BlobTorn, "a_blob_is_as_it_was_stored"),
    ] {
        let found = failing(conformance::blobs::CASES, make, bug);
        assert!(found.contains(&case), "{bug:?} should fail {case}, failed {found:?}");
    }
    let found = failing(conformance::blobs::PATH_CASES, make, Bug::AddressNeverEnds);
    assert!(found.contains(&"an_address_ends"), "failed {found:?}");
}

#[test]
fn exchange_suite_finds_planted_mistakes() {
    let make = |setup: &Setup| -> Box<dyn Subject<_>> { Box::new(Ex(Arc::new(FakeExchange::new(setup)))) };
    let found = failing(conformance::exchange::CASES, make, Bug::SignalMisrouted);
    assert!(found.contains(&"signals_reach_the_node_that_holds_the_route"), "failed {found:?}");
}
