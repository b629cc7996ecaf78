//! What every adapter of [`Directory`] does.

mod accounts;
mod creation;
mod links;
mod lists;
mod prekeys;
mod registrations;
mod restoration;
mod retiring;

use super::{
    Case, Subject, cases,
    samples::{NOW, account, device, filled, life},
};
use crate::{
    Directory,
    directory::{
        Account, AnswerLink, Attempt, ClosedAccount, CompleteLink, ConnectOutcome, CreateLinkOutcome,
        CreateOutcome, DeviceRecord, InviteLink, Link, LinkOutcome, LinkState, NewAccount, NewLink, NewList,
        PutListOutcome, RegistrationSession, Restore, RestoreOutcome, SessionId, TakeKeys, TakenKeys,
    },
};
use types::{DeviceNumber, MailboxId, Millis, PhoneNumber, limits};
use wire::{KemPrekey, KeyCounts, KeyUpload, OneTimePrekey, SignedPrekey};

/// Every case.
pub const CASES: &[Case<dyn Directory>] = cases![dyn Directory:
    the_service_keeps_its_identity,
    registrations::the_right_code_proves_the_number,
    registrations::tries_are_counted_and_end,
    registrations::parallel_tries_are_no_more_than_allowed,
    registrations::a_later_session_voids_every_earlier_one,
    registrations::sessions_end,
    creation::an_account_is_as_it_was_given,
    creation::needs_a_session_that_proved_the_number,
    creation::a_taken_number_is_refused_and_nothing_changes,
    creation::a_number_moves_when_asked_to,
    creation::a_repeat_answers_so_and_replaces_the_token,
    creation::an_id_belongs_to_one_session,
    creation::one_of_many_gets_the_number,
    accounts::closing_frees_the_number_and_deletes_devices,
    accounts::many_are_read_as_one_by_one,
    accounts::many_are_read_as_they_are_now,
    accounts::numbers_are_found_in_the_order_asked,
    accounts::connection_numbers_only_grow,
    accounts::one_of_many_connections_gets_a_number,
    lists::a_list_replaces_the_version_it_expects,
    lists::dropped_and_replaced_devices_lose_their_keys,
    lists::a_device_that_stays_keeps_what_it_has,
    lists::one_of_many_lists_is_stored,
    links::a_link_goes_from_offer_to_device,
    links::the_same_offer_again_is_the_same_link,
    links::a_link_has_one_inviter,
    links::one_of_many_inviters_has_the_link,
    links::a_step_again_is_told_so,
    links::steps_out_of_order_are_refused,
    links::only_the_right_token_answers,
    links::time_ends_a_link,
    links::refusing_ends_a_link,
    links::ended_links_are_deleted,
    links::a_link_is_completed_with_its_list_or_not_at_all,
    links::only_an_answered_link_of_the_account_is_completed,
    links::a_link_makes_one_device,
    restoration::a_new_primary_takes_the_place_of_the_old,
    restoration::the_same_again_changes_nothing,
    restoration::a_list_alone_restores_nothing,
    restoration::needs_the_stored_version_and_an_open_account,
    restoration::one_of_many_restores,
    retiring::who_lost_its_record_is_retiring_until_it_is_retired,
    retiring::whoever_takes_a_record_away_makes_its_device_retire,
    retiring::a_device_that_has_a_record_is_not_retiring,
    retiring::who_departed_is_remembered_for_a_while,
    prekeys::a_bundle_is_what_was_uploaded,
    prekeys::a_one_time_key_is_given_once,
    prekeys::parallel_takers_never_share_a_key,
    prekeys::the_same_requester_gets_the_same_bundle_for_a_while,
    prekeys::reset_and_a_spared_pool_take_no_one_time_key,
    prekeys::uploads_replace_and_add,
    prekeys::a_key_that_was_given_away_is_not_stored_again,
    prekeys::pools_are_bounded,
    prekeys::devices_without_keys_have_no_bundle,
];

type Dir<'a> = &'a mut dyn Subject<dyn Directory>;

async fn the_service_keeps_its_identity(dir: Dir<'_>) {
    let first = dir.port().service().await.expect("readable");
    dir.reopen().await;
    let again = dir.port().service().await.expect("readable");
    assert_eq!(first.incarnation, again.incarnation);
    assert_eq!(first.pepper, again.pepper);
    assert_ne!(*first.pepper.expose(), [0; 32]);
    assert_eq!(dir.port().health(), Ok(()));
}

/// The `n`th number.
fn phone(n: u32) -> PhoneNumber {
    format!("+1555{:07}", n).parse().expect("cases use numbers in E.164")
}

fn session_id(n: u32) -> SessionId {
    let mut id = [0x5e; 16];
    id[12..].copy_from_slice(&n.to_be_bytes());
    id
}

const CODE: [u8; 32] = [1; 32];
const WRONG_CODE: [u8; 32] = [2; 32];

/// Session `n` asks for a code for number `number`.
async fn begin(dir: Dir<'_>, n: u32, number: u32) {
    let session = RegistrationSession {
        id: session_id(n),
        phone: phone(number),
        code_hash: CODE,
        expires_at: NOW + limits::CODE_LIFE,
    };
    dir.port().begin(session).await.expect("a session begins");
}

async fn attempt(dir: Dir<'_>, n: u32, code: [u8; 32]) -> Attempt {
    dir.port().attempt(session_id(n), code, NOW).await.expect("a try is answered")
}

/// Session `n` has proved number `number`.
async fn prove(dir: Dir<'_>, n: u32, number: u32) {
    begin(dir, n, number).await;
    assert_eq!(attempt(dir, n, CODE).await, Attempt::Proved(phone(number)));
}

fn record(mailbox: MailboxId) -> DeviceRecord {
    let tag = mailbox.registration.get() as u8;
    DeviceRecord {
        mailbox,
        device_key: [tag; 32],
        token_hash: [tag ^ 0x55; 32],
        connection_number: 0,
        last_connected: NOW,
    }
}

/// The `n`th account, to be created by session `session` for number `number`.
fn new_account(n: u32, session: u32, number: u32) -> NewAccount {
    NewAccount {
        session: session_id(session),
        id: account(n),
        key: [n as u8; 32],
        phone: phone(number),
        list_version: 1,
        list: filled(n as u8, 300),
        device: record(device(n)),
        keys: keys(1..4),
        replace: false,
        now: NOW,
    }
}

/// A list of the `n`th account whose bytes follow from its version.
fn new_list(n: u32, expected: u64, version: u64, devices: &[MailboxId]) -> NewList {
    NewList {
        account: account(n),
        expected,
        version,
        list: filled(version as u8, 50),
        devices: devices.iter().map(|mailbox| record(*mailbox)).collect(),
        link: None,
    }
}

async fn create(dir: Dir<'_>, account: NewAccount) -> CreateOutcome {
    dir.port().create(account).await.expect("a creation is answered")
}

/// Creates the `n`th account with the `n`th number by the `n`th session.
async fn created(dir: Dir<'_>, n: u32) {
    prove(dir, n, n).await;
    assert_eq!(create(dir, new_account(n, n, n)).await, CreateOutcome::Created { closed: None });
}

async fn view(dir: Dir<'_>, n: u32) -> Account {
    dir.port().account(account(n)).await.expect("readable").expect("the account exists")
}

async fn find(dir: Dir<'_>, number: u32) -> Option<types::AccountId> {
    dir.port().find(&[phone(number)]).await.expect("readable")[0]
}

async fn counts(dir: Dir<'_>, mailbox: MailboxId) -> Option<KeyCounts> {
    dir.port().key_counts(mailbox).await.expect("readable")
}

/// Signed and last-resort keys, and one-time keys of both kinds with these ids.
fn keys(ids: std::ops::Range<u32>) -> KeyUpload {
    KeyUpload {
        signed_prekey: Some(signed_prekey(7)),
        last_resort: Some(KemPrekey { last_resort: true, ..kem(8) }),
        one_time: ids.clone().map(one_time).collect(),
        one_time_kem: ids.map(kem).collect(),
    }
}

fn only_one_time(ids: std::ops::Range<u32>) -> KeyUpload {
    KeyUpload { signed_prekey: None, last_resort: None, ..keys(ids) }
}

fn signed_prekey(id: u32) -> SignedPrekey {
    SignedPrekey { id, public_key: filled(id as u8, 33), signature: filled(!(id as u8), 64) }
}

fn one_time(id: u32) -> OneTimePrekey {
    OneTimePrekey { id, public_key: filled(id as u8, 33) }
}

fn kem(id: u32) -> KemPrekey {
    KemPrekey { id, public_key: filled(id as u8, 1_569), signature: filled(id as u8, 64), last_resort: false }
}

/// `requester` asks for the keys of `target`.
fn taking(target: u32, requester: u32) -> TakeKeys {
    TakeKeys {
        target: device(target),
        requester: device(requester),
        reset: false,
        spare_one_time: false,
        now: NOW,
    }
}

async fn take(dir: Dir<'_>, take: TakeKeys) -> Option<TakenKeys> {
    dir.port().take_keys(take).await.expect("a request for keys is answered")
}
