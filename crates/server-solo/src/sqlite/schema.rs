//! The tables, and how they came to be.
//!
//! ```text
//! directory.sqlite
//! ├── service              one row: incarnation, pepper
//! ├── accounts             id -> key, phone (unique; null when closed), list version, list, session that made it
//! │   └── devices          account, number -> registration id, device key, token hash, connection, times
//! │       ├── prekeys      device, kind -> signed prekey (1), last-resort post-quantum prekey (2)
//! │       ├── one_time     device, kind, id -> key; classical (1), post-quantum (2); null once given away
//! │       └── given        device, requester -> the bundle that it got last, and when
//! ├── retiring             devices that lost their record and may still have a mailbox, or, since `retired_at`, a socket
//! ├── registrations        session id -> phone, hash of the code, end, wrong tries, proved
//! ├── links                link id -> token hash, offer, prekeys, phase (1 waiting, 2 invited, 3 answered,
//! │                        4 linked, 5 refused), what the two sides said, the device that came of it, end
//! ├── group_operations     group, epoch -> id, hash, actor, stamp, bytes, whether its rows are delivered
//! └── group_members        group, account -> epochs of its latest time as a member; until is null for now
//! ```
//!
//! What hangs below a device goes with it. An id in `one_time` outlives its key, so that a key that was
//! given away is never stored again.

use rusqlite::{Connection, TransactionBehavior, params};
use server_ports::Entropy;
use std::sync::Arc;

/// The format that this version writes, and the newest that it reads: the number of migrations.
pub(super) const FORMAT: u32 = MIGRATIONS.len() as u32;

/// Each runs once, in order, in one transaction with all that are due.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE service (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        incarnation BLOB NOT NULL,
        pepper BLOB NOT NULL
    ) STRICT;
    CREATE TABLE accounts (
        id BLOB PRIMARY KEY NOT NULL,
        key BLOB NOT NULL,
        phone TEXT UNIQUE,
        list_version INTEGER NOT NULL,
        list BLOB NOT NULL,
        created_by BLOB NOT NULL
    ) STRICT;
    CREATE TABLE devices (
        account BLOB NOT NULL REFERENCES accounts (id),
        device INTEGER NOT NULL,
        registration INTEGER NOT NULL,
        device_key BLOB NOT NULL,
        token_hash BLOB NOT NULL,
        connection_number INTEGER NOT NULL,
        last_connected INTEGER NOT NULL,
        PRIMARY KEY (account, device)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE prekeys (
        account BLOB NOT NULL,
        device INTEGER NOT NULL,
        kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
        id INTEGER NOT NULL,
        public_key BLOB NOT NULL,
        signature BLOB NOT NULL,
        PRIMARY KEY (account, device, kind),
        FOREIGN KEY (account, device) REFERENCES devices ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE one_time (
        account BLOB NOT NULL,
        device INTEGER NOT NULL,
        kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
        id INTEGER NOT NULL,
        public_key BLOB,
        signature BLOB,
        PRIMARY KEY (account, device, kind, id),
        FOREIGN KEY (account, device) REFERENCES devices ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX one_time_left ON one_time (account, device, kind, id) WHERE public_key IS NOT NULL;
    CREATE TABLE given (
        account BLOB NOT NULL,
        device INTEGER NOT NULL,
        to_account BLOB NOT NULL,
        to_device INTEGER NOT NULL,
        to_registration INTEGER NOT NULL,
        at INTEGER NOT NULL,
        signed_id INTEGER NOT NULL,
        signed_key BLOB NOT NULL,
        signed_signature BLOB NOT NULL,
        kem_id INTEGER NOT NULL,
        kem_key BLOB NOT NULL,
        kem_signature BLOB NOT NULL,
        kem_last_resort INTEGER NOT NULL,
        one_time_id INTEGER,
        one_time_key BLOB,
        PRIMARY KEY (account, device, to_account, to_device, to_registration),
        FOREIGN KEY (account, device) REFERENCES devices ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE registrations (
        session BLOB PRIMARY KEY NOT NULL,
        phone TEXT NOT NULL,
        code_hash BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        wrong_tries INTEGER NOT NULL,
        proved INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX registrations_by_phone ON registrations (phone);
    CREATE INDEX registrations_by_end ON registrations (expires_at);
",
    "
    CREATE TABLE links (
        id BLOB PRIMARY KEY NOT NULL,
        token_hash BLOB NOT NULL,
        offer BLOB NOT NULL,
        keys BLOB NOT NULL,
        phase INTEGER NOT NULL CHECK (phase BETWEEN 1 AND 5),
        inviter BLOB,
        invitation BLOB,
        answer BLOB,
        completion BLOB,
        device INTEGER,
        registration INTEGER,
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX links_by_end ON links (expires_at);
    CREATE TABLE group_operations (
        group_id BLOB NOT NULL,
        epoch INTEGER NOT NULL,
        operation_id BLOB NOT NULL,
        hash BLOB NOT NULL,
        actor BLOB NOT NULL,
        actor_device INTEGER NOT NULL,
        actor_registration INTEGER NOT NULL,
        stamp BLOB NOT NULL,
        delivered INTEGER NOT NULL,
        bytes BLOB NOT NULL,
        PRIMARY KEY (group_id, epoch),
        UNIQUE (group_id, operation_id)
    ) STRICT;
    CREATE INDEX group_operations_undelivered ON group_operations (group_id, epoch) WHERE delivered = 0;
    CREATE TABLE group_members (
        group_id BLOB NOT NULL,
        account BLOB NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER,
        PRIMARY KEY (group_id, account)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX group_members_by_account ON group_members (account, group_id) WHERE until IS NULL;
",
    "
    CREATE TABLE retiring (
        account BLOB NOT NULL,
        device INTEGER NOT NULL,
        registration INTEGER NOT NULL,
        PRIMARY KEY (account, device, registration)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE retiring ADD COLUMN retired_at INTEGER;
    CREATE INDEX retiring_by_time ON retiring (retired_at);
",
];

/// Brings the database to [`FORMAT`]; answers its format if that is newer.
pub(super) fn migrate(
    connection: &mut Connection,
    entropy: &Arc<dyn Entropy>,
) -> rusqlite::Result<Option<u32>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > FORMAT {
        return Ok(Some(found));
    }
    for migration in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(migration)?;
    }
    if found == 0 {
        let (incarnation, pepper) = (entropy.array::<16>(), entropy.array::<32>());
        transaction.execute("INSERT INTO service VALUES (1, ?, ?)", params![incarnation, pepper])?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(None)
}
