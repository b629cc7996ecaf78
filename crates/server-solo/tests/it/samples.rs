//! Mailboxes, sends and accounts that are easy to tell apart.

use bytes::Bytes;
use server_ports::{
    Directory, Entropy, Mailboxes,
    blobs::{BlobUpload, NewBlob},
    directory::{
        Accounts, CreateOutcome, DeviceRecord, NewAccount, RegistrationSession, Registrations,
        ServiceIdentity,
    },
    mailboxes::{Append, NewRow, PageLimit, Row, WhenFull},
};
use server_solo::{local::SystemEntropy, redb::RedbMailboxes, sqlite::SqliteDirectory};
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};
use types::{
    AccountId, BlobId, DeviceAddress, DeviceNumber, EnvelopeId, IncarnationId, MailboxId, Millis, NodeId,
    PhoneNumber, Position, Redact, RegistrationId, Stamp, Timestamp,
};
use wire::{KemPrekey, KeyUpload, OneTimePrekey, SignedPrekey};

pub const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Bytes that every row of a send has in common.
const BODY_BYTES: usize = 400;

pub fn mailbox(n: u32) -> MailboxId {
    let mut account = [0; 16];
    account[..4].copy_from_slice(&n.to_be_bytes());
    DeviceAddress::new(AccountId::from_bytes(account), DeviceNumber::PRIMARY)
        .mailbox(RegistrationId::new(1).unwrap())
}

pub fn envelope_id(n: u32) -> EnvelopeId {
    let mut id = [9; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    EnvelopeId::from_bytes(id)
}

/// The `n`th send of a sender: one row to each recipient, which share a body that follows from `n`.
pub fn send(sender: u32, n: u32, recipients: &[MailboxId]) -> Append {
    let body = Bytes::from(vec![n as u8; BODY_BYTES]);
    let row = |to: &MailboxId| NewRow {
        to: *to,
        head: Bytes::from(format!("{n}|")),
        body: body.clone(),
        expires_at: NOW + Millis::from_days(30),
    };
    Append {
        sender: mailbox(sender),
        envelope_id: envelope_id(n),
        digest: [n as u8; 32],
        stamp: Stamp::new(u64::from(n), NodeId(1)),
        rows: recipients.iter().map(row).collect(),
        when_full: WhenFull::Refuse,
        now: NOW,
    }
}

/// Which send a row is of; panics unless every byte of it is as it was written.
pub fn send_of(row: &Row) -> u32 {
    let text = &row.envelope[..row.envelope.len() - BODY_BYTES];
    let n: u32 = std::str::from_utf8(text).unwrap().strip_suffix('|').unwrap().parse().unwrap();
    assert_eq!(row.envelope[text.len()..], vec![n as u8; BODY_BYTES], "a torn row");
    n
}

pub async fn rows(store: &RedbMailboxes, mailbox: MailboxId) -> Vec<Row> {
    let limit = PageLimit { rows: usize::MAX, bytes: usize::MAX, now: NOW };
    store.read(mailbox, Position::ZERO, limit).await.unwrap().rows
}

pub fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}

pub fn open_directory(path: &Path) -> SqliteDirectory {
    SqliteDirectory::open(path, &entropy()).unwrap()
}

/// The `n`th service.
pub fn identity(n: u8) -> ServiceIdentity {
    ServiceIdentity { incarnation: IncarnationId::from_bytes([n; 16]), pepper: Redact::new([n; 32]) }
}

pub fn phone(n: u32) -> PhoneNumber {
    format!("+1555{n:07}").parse().unwrap()
}

/// Creates the `n`th account, whose device has no one-time keys.
pub async fn create_account(directory: &dyn Directory, n: u32) {
    let mut session = [0; 16];
    session[..4].copy_from_slice(&n.to_be_bytes());
    let begun = RegistrationSession {
        id: session,
        phone: phone(n),
        code_hash: [1; 32],
        expires_at: NOW + Millis::from_mins(10),
    };
    Registrations::begin(directory, begun).await.unwrap();
    Registrations::attempt(directory, session, [1; 32], NOW).await.unwrap();
    let created = Accounts::create(directory, new_account(n, session)).await.unwrap();
    assert_eq!(created, CreateOutcome::Created { closed: None });
}

fn new_account(n: u32, session: [u8; 16]) -> NewAccount {
    let signed = SignedPrekey { id: 1, public_key: vec![1; 33].into(), signature: vec![2; 64].into() };
    let last_resort = KemPrekey {
        id: 2,
        public_key: vec![3; 1_569].into(),
        signature: vec![4; 64].into(),
        last_resort: true,
    };
    NewAccount {
        session,
        id: mailbox(n).account,
        key: [n as u8; 32],
        phone: phone(n),
        list_version: 1,
        list: vec![n as u8; 300].into(),
        device: DeviceRecord {
            mailbox: mailbox(n),
            device_key: [1; 32],
            token_hash: [2; 32],
            connection_number: 0,
            last_connected: NOW,
        },
        keys: KeyUpload {
            signed_prekey: Some(signed),
            last_resort: Some(last_resort),
            ..KeyUpload::default()
        },
        replace: false,
        now: NOW,
    }
}

pub fn one_time_keys(ids: std::ops::Range<u32>) -> KeyUpload {
    let key = |id: u32| OneTimePrekey { id, public_key: vec![id as u8; 33].into() };
    KeyUpload { one_time: ids.map(key).collect(), ..KeyUpload::default() }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

pub fn blob_id(n: u32) -> BlobId {
    let mut id = [0xb1; 16];
    id[12..].copy_from_slice(&n.to_be_bytes());
    BlobId::from_bytes(id)
}

/// The bytes of the `n`th blob, which tell by themselves whose they are.
pub fn content(n: u32) -> Bytes {
    let length = 1_000 + n as usize * 7_919 % 60_000;
    (0..length).map(|at| (n as usize + at / 7) as u8).collect()
}

pub fn blob(n: u32) -> NewBlob {
    let bytes = content(n);
    let upload =
        BlobUpload { id: blob_id(n), size: bytes.len() as u64, sha256: Sha256::digest(&bytes).into() };
    NewBlob { upload, bytes, expires_at: NOW + Millis::from_days(30), now: NOW }
}
