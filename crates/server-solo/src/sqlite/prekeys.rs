//! Prekeys of listed devices.

use super::{SqliteDirectory, accounts::listed, columns, columns::bytes};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use server_ports::{
    StoreError,
    directory::{Prekeys, TakeKeys, TakenKeys},
};
use types::{MailboxId, limits};
use wire::{Bundle, KemPrekey, KeyCounts, KeyUpload, OneTimePrekey, SignedPrekey};

/// Kinds of `prekeys`.
const SIGNED: u8 = 1;
const LAST_RESORT: u8 = 2;
/// Kinds of `one_time`.
const CLASSICAL: u8 = 1;
const POST_QUANTUM: u8 = 2;

#[async_trait::async_trait]
impl Prekeys for SqliteDirectory {
    async fn put_keys(&self, device: MailboxId, keys: KeyUpload) -> Result<Option<KeyCounts>, StoreError> {
        self.write(move |transaction, _| {
            if listed(transaction, device)?.is_none() {
                return Ok(None);
            }
            put(transaction, device, &keys)?;
            counts(transaction, device).map(Some)
        })
        .await
    }

    async fn take_keys(&self, request: TakeKeys) -> Result<Option<TakenKeys>, StoreError> {
        self.write(move |transaction, _| {
            if listed(transaction, request.target)?.is_none() {
                return Ok(None);
            }
            let Some(bundle) = take(transaction, request)? else { return Ok(None) };
            Ok(Some(TakenKeys { bundle, left: counts(transaction, request.target)? }))
        })
        .await
    }

    async fn key_counts(&self, device: MailboxId) -> Result<Option<KeyCounts>, StoreError> {
        self.read(move |connection| match listed(connection, device)? {
            Some(_) => counts(connection, device).map(Some),
            None => Ok(None),
        })
        .await
    }
}

/// Stores keys of a listed device.
pub(super) fn put(connection: &Connection, device: MailboxId, keys: &KeyUpload) -> rusqlite::Result<()> {
    if let Some(key) = &keys.signed_prekey {
        replace(connection, device, SIGNED, (key.id, &key.public_key, &key.signature))?;
    }
    if let Some(key) = &keys.last_resort {
        replace(connection, device, LAST_RESORT, (key.id, &key.public_key, &key.signature))?;
    }
    let classical = keys.one_time.iter().map(|key| (key.id, &key.public_key, None));
    add(connection, device, CLASSICAL, classical)?;
    let post_quantum = keys.one_time_kem.iter().map(|key| (key.id, &key.public_key, Some(&key.signature)));
    add(connection, device, POST_QUANTUM, post_quantum)
}

fn replace(
    connection: &Connection,
    device: MailboxId,
    kind: u8,
    (id, public_key, signature): (u32, &Bytes, &Bytes),
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO prekeys VALUES (?, ?, ?, ?, ?, ?)";
    let (account, number) = (device.account.as_bytes(), device.device.get());
    connection.prepare_cached(sql)?.execute(params![
        account,
        number,
        kind,
        id,
        &public_key[..],
        &signature[..]
    ])?;
    Ok(())
}

/// Adds one-time keys while there is room. A known id, given away or not, is left as it is.
fn add<'k>(
    connection: &Connection,
    device: MailboxId,
    kind: u8,
    keys: impl Iterator<Item = (u32, &'k Bytes, Option<&'k Bytes>)>,
) -> rusqlite::Result<()> {
    let mut room = limits::ONE_TIME_KEYS_MAX.saturating_sub(count(connection, device, kind)? as usize);
    let sql = "INSERT INTO one_time VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let mut insert = connection.prepare_cached(sql)?;
    let (account, number) = (device.account.as_bytes(), device.device.get());
    for (id, public_key, signature) in keys {
        if room == 0 {
            break;
        }
        let signature = signature.map(|signature| &signature[..]);
        room -= insert.execute(params![account, number, kind, id, &public_key[..], signature])?;
    }
    Ok(())
}

fn counts(connection: &Connection, device: MailboxId) -> rusqlite::Result<KeyCounts> {
    Ok(KeyCounts {
        one_time: count(connection, device, CLASSICAL)?,
        one_time_kem: count(connection, device, POST_QUANTUM)?,
    })
}

fn count(connection: &Connection, device: MailboxId, kind: u8) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM one_time
               WHERE account = ? AND device = ? AND kind = ? AND public_key IS NOT NULL";
    let key = params![device.account.as_bytes(), device.device.get(), kind];
    connection.prepare_cached(sql)?.query_row(key, |row| row.get(0))
}

fn take(connection: &Connection, request: TakeKeys) -> rusqlite::Result<Option<Bundle>> {
    forget_old(connection, request)?;
    if !request.reset
        && let Some(bundle) = given(connection, request)?
    {
        return Ok(Some(bundle));
    }
    let target = request.target;
    let Some((id, public_key, signature)) = prekey(connection, target, SIGNED)? else { return Ok(None) };
    let signed_prekey = SignedPrekey { id, public_key, signature };
    let without = request.reset || request.spare_one_time;
    let kem = if without { None } else { take_one(connection, target, POST_QUANTUM)? };
    let kem_prekey = match kem {
        Some((id, public_key, signature)) => {
            KemPrekey { id, public_key, signature: signature.unwrap_or_default(), last_resort: false }
        }
        None => match prekey(connection, target, LAST_RESORT)? {
            Some((id, public_key, signature)) => KemPrekey { id, public_key, signature, last_resort: true },
            None => return Ok(None),
        },
    };
    let one_time = if without { None } else { take_one(connection, target, CLASSICAL)? };
    let bundle = Bundle {
        device: target.device,
        registration: target.registration,
        signed_prekey,
        kem_prekey,
        one_time_prekey: one_time.map(|(id, public_key, _)| OneTimePrekey { id, public_key }),
    };
    if !request.reset {
        remember(connection, request, &bundle)?;
    }
    Ok(Some(bundle))
}

fn prekey(
    connection: &Connection,
    device: MailboxId,
    kind: u8,
) -> rusqlite::Result<Option<(u32, Bytes, Bytes)>> {
    let sql = "SELECT id, public_key, signature FROM prekeys WHERE account = ? AND device = ? AND kind = ?";
    let key = params![device.account.as_bytes(), device.device.get(), kind];
    let read = |row: &Row<'_>| Ok((row.get(0)?, bytes(row, 1)?, bytes(row, 2)?));
    connection.prepare_cached(sql)?.query_row(key, read).optional()
}

/// Takes the one-time key with the lowest id; the id stays, without its key.
fn take_one(
    connection: &Connection,
    device: MailboxId,
    kind: u8,
) -> rusqlite::Result<Option<(u32, Bytes, Option<Bytes>)>> {
    let sql = "SELECT id, public_key, signature FROM one_time
               WHERE account = ? AND device = ? AND kind = ? AND public_key IS NOT NULL ORDER BY id LIMIT 1";
    let (account, number) = (device.account.as_bytes(), device.device.get());
    let read = |row: &Row<'_>| {
        let signature: Option<Vec<u8>> = row.get(2)?;
        Ok((row.get::<_, u32>(0)?, bytes(row, 1)?, signature.map(Bytes::from)))
    };
    let lowest =
        connection.prepare_cached(sql)?.query_row(params![account, number, kind], read).optional()?;
    if let Some((id, ..)) = &lowest {
        let sql = "UPDATE one_time SET public_key = NULL, signature = NULL
                   WHERE account = ? AND device = ? AND kind = ? AND id = ?";
        connection.prepare_cached(sql)?.execute(params![account, number, kind, id])?;
    }
    Ok(lowest)
}

/// Bundles that are too old to be given again.
fn forget_old(connection: &Connection, request: TakeKeys) -> rusqlite::Result<()> {
    let sql = "DELETE FROM given WHERE account = ? AND device = ? AND at <= ?";
    let Some(oldest) = request.now.as_millis().checked_sub(limits::BUNDLE_REPEAT_WITHIN.0) else {
        return Ok(());
    };
    let (account, number) = (request.target.account.as_bytes(), request.target.device.get());
    connection.prepare_cached(sql)?.execute(params![account, number, columns::integer(oldest)])?;
    Ok(())
}

/// The bundle that this requester got a moment ago.
fn given(connection: &Connection, request: TakeKeys) -> rusqlite::Result<Option<Bundle>> {
    let sql = "SELECT signed_id, signed_key, signed_signature,
                      kem_id, kem_key, kem_signature, kem_last_resort, one_time_id, one_time_key
               FROM given WHERE account = ? AND device = ?
               AND to_account = ? AND to_device = ? AND to_registration = ?";
    let (target, to) = (request.target, request.requester);
    let key = params![
        target.account.as_bytes(),
        target.device.get(),
        to.account.as_bytes(),
        to.device.get(),
        to.registration.get()
    ];
    let read = |row: &Row<'_>| {
        let one_time: (Option<u32>, Option<Vec<u8>>) = (row.get(7)?, row.get(8)?);
        Ok(Bundle {
            device: target.device,
            registration: target.registration,
            signed_prekey: SignedPrekey {
                id: row.get(0)?,
                public_key: bytes(row, 1)?,
                signature: bytes(row, 2)?,
            },
            kem_prekey: KemPrekey {
                id: row.get(3)?,
                public_key: bytes(row, 4)?,
                signature: bytes(row, 5)?,
                last_resort: row.get(6)?,
            },
            one_time_prekey: one_time
                .0
                .zip(one_time.1)
                .map(|(id, key)| OneTimePrekey { id, public_key: key.into() }),
        })
    };
    connection.prepare_cached(sql)?.query_row(key, read).optional()
}

fn remember(connection: &Connection, request: TakeKeys, bundle: &Bundle) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO given VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let (target, to) = (request.target, request.requester);
    let (signed, kem, one_time) = (&bundle.signed_prekey, &bundle.kem_prekey, &bundle.one_time_prekey);
    connection.prepare_cached(sql)?.execute(params![
        target.account.as_bytes(),
        target.device.get(),
        to.account.as_bytes(),
        to.device.get(),
        to.registration.get(),
        columns::millis(request.now),
        signed.id,
        &signed.public_key[..],
        &signed.signature[..],
        kem.id,
        &kem.public_key[..],
        &kem.signature[..],
        kem.last_resort,
        one_time.as_ref().map(|key| key.id),
        one_time.as_ref().map(|key| &key.public_key[..]),
    ])?;
    Ok(())
}
