//! Prekeys in SQLite.

use super::{SqliteDirectory, accounts::integer};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use server_ports::{
    StoreError,
    directory::{Prekeys, TakeKeys, TakenKeys},
};
use types::{MailboxId, limits};
use wire::{Bundle, KemPrekey, KeyCounts, KeyUpload, OneTimePrekey, SignedPrekey};

/// What kind of key a row holds; the numbers are stored.
#[derive(Clone, Copy)]
enum Kind {
    Signed = 1,
    LastResort = 2,
    OneTime = 3,
    OneTimeKem = 4,
}

#[async_trait::async_trait]
impl Prekeys for SqliteDirectory {
    async fn put_keys(&self, device: MailboxId, keys: KeyUpload) -> Result<Option<KeyCounts>, StoreError> {
        self.run(move |db| {
            if !is_listed(db, device)? {
                return Ok(None);
            }
            put(db, device, &keys)?;
            counts(db, device).map(Some)
        })
        .await
    }

    async fn take_keys(&self, take: TakeKeys) -> Result<Option<TakenKeys>, StoreError> {
        self.run(move |db| {
            if !is_listed(db, take.target)? {
                return Ok(None);
            }
            let Some(bundle) = bundle(db, take)? else { return Ok(None) };
            Ok(Some(TakenKeys { bundle, left: counts(db, take.target)? }))
        })
        .await
    }

    async fn key_counts(&self, device: MailboxId) -> Result<Option<KeyCounts>, StoreError> {
        self.run(move |db| if is_listed(db, device)? { counts(db, device).map(Some) } else { Ok(None) }).await
    }
}

fn is_listed(db: &Connection, device: MailboxId) -> rusqlite::Result<bool> {
    db.prepare_cached("select 1 from device where account = ?1 and number = ?2 and registration = ?3")?
        .exists((device.account.as_bytes(), device.device.get(), device.registration.get()))
}

/// Stores keys of a device that is listed.
pub(super) fn put(db: &Connection, device: MailboxId, keys: &KeyUpload) -> rusqlite::Result<()> {
    if let Some(key) = &keys.signed_prekey {
        replace(db, device, Kind::Signed, key.id, &key.public_key, &key.signature)?;
    }
    if let Some(key) = &keys.last_resort {
        replace(db, device, Kind::LastResort, key.id, &key.public_key, &key.signature)?;
    }
    let left = counts(db, device)?;
    let mut room = room_for(left.one_time);
    for key in &keys.one_time {
        room -= add(db, device, Kind::OneTime, key.id, &key.public_key, &[], room)?;
    }
    let mut room = room_for(left.one_time_kem);
    for key in &keys.one_time_kem {
        room -= add(db, device, Kind::OneTimeKem, key.id, &key.public_key, &key.signature, room)?;
    }
    Ok(())
}

fn room_for(left: u32) -> usize {
    limits::ONE_TIME_KEYS_MAX.saturating_sub(left as usize)
}

fn replace(
    db: &Connection,
    device: MailboxId,
    kind: Kind,
    id: u32,
    public_key: &[u8],
    signature: &[u8],
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "insert or replace into prekey (account, number, kind, id, public_key, signature)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((device.account.as_bytes(), device.device.get(), kind as u8, id, public_key, signature))?;
    Ok(())
}

/// Adds a one-time key if there is room; an id that is stored, or was given away, stays as it is.
fn add(
    db: &Connection,
    device: MailboxId,
    kind: Kind,
    id: u32,
    public_key: &[u8],
    signature: &[u8],
    room: usize,
) -> rusqlite::Result<usize> {
    if room == 0 {
        return Ok(0);
    }
    db.prepare_cached(
        "insert into one_time (account, number, kind, id, public_key, signature)
         values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing",
    )?
    .execute((device.account.as_bytes(), device.device.get(), kind as u8, id, public_key, signature))
}

fn counts(db: &Connection, device: MailboxId) -> rusqlite::Result<KeyCounts> {
    let mut count = db.prepare_cached(
        "select count(*) from one_time where account = ?1 and number = ?2 and kind = ?3 and public_key is not null",
    )?;
    let mut of = |kind: Kind| {
        count.query_row((device.account.as_bytes(), device.device.get(), kind as u8), |row| {
            row.get::<_, u32>(0)
        })
    };
    Ok(KeyCounts { one_time: of(Kind::OneTime)?, one_time_kem: of(Kind::OneTimeKem)? })
}

/// The bundle for this requester: the one it got, or a new one whose one-time keys are gone from now on.
fn bundle(db: &Connection, take: TakeKeys) -> rusqlite::Result<Option<Bundle>> {
    let target = take.target;
    let since = integer((take.now - limits::BUNDLE_REPEAT_WITHIN).as_millis());
    db.prepare_cached("delete from given where account = ?1 and number = ?2 and at <= ?3")?.execute((
        target.account.as_bytes(),
        target.device.get(),
        since,
    ))?;
    if !take.reset
        && let Some(bundle) = given(db, take)?
    {
        return Ok(Some(bundle));
    }
    let Some(signed) = stored(db, target, Kind::Signed)? else { return Ok(None) };
    let last_resort = stored(db, target, Kind::LastResort)?;
    let without = take.reset || take.spare_one_time;
    let one_time_kem = if without { None } else { give_away(db, target, Kind::OneTimeKem)? };
    let kem_prekey = match (one_time_kem, last_resort) {
        (Some(key), _) => {
            KemPrekey { id: key.id, public_key: key.public_key, signature: key.signature, last_resort: false }
        }
        (None, Some(key)) => {
            KemPrekey { id: key.id, public_key: key.public_key, signature: key.signature, last_resort: true }
        }
        (None, None) => return Ok(None),
    };
    let one_time = if without { None } else { give_away(db, target, Kind::OneTime)? };
    let bundle = Bundle {
        device: target.device,
        registration: target.registration,
        signed_prekey: SignedPrekey {
            id: signed.id,
            public_key: signed.public_key,
            signature: signed.signature,
        },
        kem_prekey,
        one_time_prekey: one_time.map(|key| OneTimePrekey { id: key.id, public_key: key.public_key }),
    };
    if !take.reset {
        remember(db, take, &bundle)?;
    }
    Ok(Some(bundle))
}

/// A key as the tables hold it.
struct StoredKey {
    id: u32,
    public_key: Bytes,
    signature: Bytes,
}

impl StoredKey {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (public_key, signature): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
        Ok(Self { id: row.get(0)?, public_key: public_key.into(), signature: signature.into() })
    }
}

fn stored(db: &Connection, device: MailboxId, kind: Kind) -> rusqlite::Result<Option<StoredKey>> {
    db.prepare_cached(
        "select id, public_key, signature from prekey where account = ?1 and number = ?2 and kind = ?3",
    )?
    .query_row((device.account.as_bytes(), device.device.get(), kind as u8), StoredKey::read)
    .optional()
}

/// The one-time key with the lowest id; only its id stays, so that it is never stored again.
fn give_away(db: &Connection, device: MailboxId, kind: Kind) -> rusqlite::Result<Option<StoredKey>> {
    let key = (device.account.as_bytes(), device.device.get(), kind as u8);
    let found = db
        .prepare_cached(
            "select id, public_key, signature from one_time
             where account = ?1 and number = ?2 and kind = ?3 and public_key is not null order by id limit 1",
        )?
        .query_row(key, StoredKey::read)
        .optional()?;
    if let Some(found) = &found {
        db.prepare_cached(
            "update one_time set public_key = null, signature = null
             where account = ?1 and number = ?2 and kind = ?3 and id = ?4",
        )?
        .execute((key.0, key.1, key.2, found.id))?;
    }
    Ok(found)
}

fn given(db: &Connection, take: TakeKeys) -> rusqlite::Result<Option<Bundle>> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached(
            "select bundle from given where account = ?1 and number = ?2
             and requester = ?3 and requester_number = ?4 and requester_registration = ?5",
        )?
        .query_row(
            (
                take.target.account.as_bytes(),
                take.target.device.get(),
                take.requester.account.as_bytes(),
                take.requester.device.get(),
                take.requester.registration.get(),
            ),
            |row| row.get(0),
        )
        .optional()?;
    // What cannot be read is as good as forgotten: the requester gets a new bundle.
    Ok(bytes.and_then(|bytes| Bundle::decode(bytes.into()).ok()))
}

fn remember(db: &Connection, take: TakeKeys, bundle: &Bundle) -> rusqlite::Result<()> {
    db.prepare_cached(
        "insert or replace into given
         (account, number, requester, requester_number, requester_registration, at, bundle)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        take.target.account.as_bytes(),
        take.target.device.get(),
        take.requester.account.as_bytes(),
        take.requester.device.get(),
        take.requester.registration.get(),
        integer(take.now.as_millis()),
        &bundle.encode()[..],
    ))?;
    Ok(())
}
