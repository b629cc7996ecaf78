//! Prekeys: the private halves for those who open sessions with us, and what the server has of them.

use super::{Columns, Stored, millis};
use crate::Fault;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use seal::NewPrekey;
use types::{Timestamp, limits};
use wire::KeyUpload;
use zeroize::Zeroizing;

/// What one upload carries and what is to be written when it was answered.
pub(crate) struct Upload {
    pub(crate) keys: KeyUpload,
    pub(crate) signed: Option<u32>,
    pub(crate) last_resort: Option<u32>,
}

impl Upload {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys == KeyUpload::default()
    }
}

struct Prekey<'a> {
    kind: &'static str,
    id: u32,
    record: &'a Zeroizing<Vec<u8>>,
    public_key: &'a [u8],
    signature: &'a [u8],
    last_resort: bool,
}

impl Prekey<'_> {
    fn insert(&self, db: &Connection, now: Timestamp) -> Stored<()> {
        let mut statement = db.prepare_cached(
            "INSERT OR REPLACE INTO prekey (kind, id, record, public_key, signature, last_resort, made_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        statement.execute(params![
            self.kind,
            self.id,
            self.record.as_slice(),
            self.public_key,
            self.signature,
            self.last_resort,
            millis(now)
        ])?;
        Ok(())
    }
}

pub(crate) fn insert_one_time(
    db: &Connection,
    prekey: &NewPrekey<seal::OneTimePrekey>,
    now: Timestamp,
) -> Stored<()> {
    let NewPrekey { public, record } = prekey;
    Prekey {
        kind: "one_time",
        id: public.id,
        record,
        public_key: &public.public_key,
        signature: &[],
        last_resort: false,
    }
    .insert(db, now)
}

pub(crate) fn insert_signed(
    db: &Connection,
    prekey: &NewPrekey<seal::SignedPrekey>,
    now: Timestamp,
) -> Stored<()> {
    let NewPrekey { public, record } = prekey;
    Prekey {
        kind: "signed",
        id: public.id,
        record,
        public_key: &public.public_key,
        signature: &public.signature,
        last_resort: false,
    }
    .insert(db, now)
}

pub(crate) fn insert_kem(db: &Connection, prekey: &NewPrekey<seal::KemPrekey>, now: Timestamp) -> Stored<()> {
    let NewPrekey { public, record } = prekey;
    Prekey {
        kind: "kem",
        id: public.id,
        record,
        public_key: &public.public_key,
        signature: &public.signature,
        last_resort: public.last_resort,
    }
    .insert(db, now)
}

/// Everything that was made and never uploaded, as much as one upload takes.
pub(crate) fn to_upload(db: &Connection) -> Stored<Upload> {
    let signed = newest(db, "kind = 'signed' AND uploaded_at IS NULL AND replaced_at IS NULL")?;
    let last_resort =
        newest(db, "kind = 'kem' AND last_resort AND uploaded_at IS NULL AND replaced_at IS NULL")?;
    let one_time = all(db, "kind = 'one_time' AND uploaded_at IS NULL")?;
    let one_time_kem = all(db, "kind = 'kem' AND NOT last_resort AND uploaded_at IS NULL")?;
    Ok(Upload {
        signed: signed.as_ref().map(|row| row.id),
        last_resort: last_resort.as_ref().map(|row| row.id),
        keys: KeyUpload {
            signed_prekey: signed.map(|row| wire::SignedPrekey {
                id: row.id,
                public_key: row.public_key,
                signature: row.signature,
            }),
            last_resort: last_resort.map(PublicRow::into_kem),
            one_time: one_time
                .into_iter()
                .map(|row| wire::OneTimePrekey { id: row.id, public_key: row.public_key })
                .collect(),
            one_time_kem: one_time_kem.into_iter().map(PublicRow::into_kem).collect(),
        },
    })
}

/// Writes that one-time prekeys leave now. They are never uploaded again, whatever the outcome: the server
/// may have given one of them away already.
pub(crate) fn set_one_time_uploaded(db: &Connection, upload: &Upload, now: Timestamp) -> Stored<()> {
    let mut statement =
        db.prepare_cached("UPDATE prekey SET uploaded_at = ?3 WHERE kind = ?1 AND id = ?2")?;
    for prekey in &upload.keys.one_time {
        statement.execute(params!["one_time", prekey.id, millis(now)])?;
    }
    for prekey in &upload.keys.one_time_kem {
        statement.execute(params!["kem", prekey.id, millis(now)])?;
    }
    Ok(())
}

/// The server has everything that was made: it came with the registration.
pub(crate) fn set_all_uploaded(db: &Connection) -> Stored<()> {
    db.execute("UPDATE prekey SET uploaded_at = made_at", [])?;
    Ok(())
}

/// Forgets the prekeys of a registration that was never finished.
pub(crate) fn clear(db: &Connection) -> Stored<()> {
    db.execute("DELETE FROM prekey", [])?;
    db.execute("DELETE FROM device_list", [])?;
    db.execute("DELETE FROM list_seen", [])?;
    Ok(())
}

/// The server gives out this signed prekey from now on.
pub(crate) fn set_signed_uploaded(db: &Connection, id: u32, now: Timestamp) -> Stored<()> {
    replace(db, "kind = 'signed'", id, now)
}

/// The server gives out this last-resort prekey from now on.
pub(crate) fn set_last_resort_uploaded(db: &Connection, id: u32, now: Timestamp) -> Stored<()> {
    replace(db, "kind = 'kem' AND last_resort", id, now)
}

/// Whatever was made before it is replaced, also what was never known to be uploaded: its upload may have
/// arrived without an answer, and it must not take the place of a newer one.
fn replace(db: &Connection, which: &str, id: u32, now: Timestamp) -> Stored<()> {
    db.execute(
        &format!(
            "UPDATE prekey SET replaced_at = ?2 WHERE {which} AND id <> ?1 AND replaced_at IS NULL
             AND made_at <= (SELECT made_at FROM prekey WHERE {which} AND id = ?1)"
        ),
        params![id, millis(now)],
    )?;
    db.execute(
        &format!("UPDATE prekey SET uploaded_at = ?2 WHERE {which} AND id = ?1"),
        params![id, millis(now)],
    )?;
    Ok(())
}

/// When the newest signed prekey was made.
pub(crate) fn newest_signed_made_at(db: &Connection) -> Stored<Option<Timestamp>> {
    let made_at = db.query_row("SELECT max(made_at) FROM prekey WHERE kind = 'signed'", [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.map(|_| row.time(0)))
    })?;
    Ok(made_at.transpose()?)
}

/// All one-time prekeys that the server had are void: it lost its memory of which it gave away.
pub(crate) fn void_one_time(db: &Connection, now: Timestamp) -> Stored<()> {
    db.execute(
        "UPDATE prekey SET replaced_at = ?1
         WHERE (kind = 'one_time' OR kind = 'kem' AND NOT last_resort) AND uploaded_at IS NOT NULL",
        [millis(now)],
    )?;
    Ok(())
}

/// Has the newest signed and last-resort prekeys uploaded again.
pub(crate) fn upload_signed_again(db: &Connection) -> Stored<()> {
    db.execute(
        "UPDATE prekey SET uploaded_at = NULL
         WHERE (kind = 'signed' OR kind = 'kem' AND last_resort) AND replaced_at IS NULL",
        [],
    )?;
    Ok(())
}

/// Forgets private halves: replaceable ones `replaced_before`, one-time ones `made_before`.
pub(crate) fn prune(db: &Connection, replaced_before: Timestamp, made_before: Timestamp) -> Stored<()> {
    db.execute(
        "DELETE FROM prekey WHERE (kind = 'signed' OR last_resort) AND replaced_at < ?1",
        [millis(replaced_before)],
    )?;
    db.execute(
        "DELETE FROM prekey WHERE kind <> 'signed' AND NOT last_resort AND made_at < ?1",
        [millis(made_before)],
    )?;
    super::encryption::prune_last_resort_uses(db)
}

/// Whether an upload of one-time prekeys has an unknown outcome.
pub(crate) fn is_unsure(db: &Connection) -> Stored<bool> {
    Ok(db.query_row("SELECT keys_unsure FROM profile", [], |row| row.get(0))?)
}

pub(crate) fn set_unsure(db: &Connection, unsure: bool) -> Stored<()> {
    db.execute("UPDATE profile SET keys_unsure = ?1", [unsure])?;
    Ok(())
}

struct PublicRow {
    id: u32,
    public_key: Bytes,
    signature: Bytes,
    last_resort: bool,
}

impl PublicRow {
    fn into_kem(self) -> wire::KemPrekey {
        let Self { id, public_key, signature, last_resort } = self;
        wire::KemPrekey { id, public_key, signature, last_resort }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            public_key: row.get::<_, Vec<u8>>(1)?.into(),
            signature: row.get::<_, Vec<u8>>(2)?.into(),
            last_resort: row.get(3)?,
        })
    }
}

const PUBLIC: &str = "SELECT id, public_key, signature, last_resort FROM prekey WHERE";

fn newest(db: &Connection, which: &str) -> Stored<Option<PublicRow>> {
    let sql = format!("{PUBLIC} {which} ORDER BY made_at DESC, id DESC LIMIT 1");
    Ok(db.query_row(&sql, [], PublicRow::read).optional()?)
}

fn all(db: &Connection, which: &str) -> Stored<Vec<PublicRow>> {
    let sql = format!("{PUBLIC} {which} ORDER BY id LIMIT {}", limits::ONE_TIME_KEYS_POOL);
    let mut statement = db.prepare(&sql)?;
    let rows = statement.query_map([], PublicRow::read)?;
    rows.collect::<Result<_, _>>().map_err(Fault::from)
}
