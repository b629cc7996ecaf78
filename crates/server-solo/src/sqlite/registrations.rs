//! Registration sessions in SQLite.

use super::{
    SqliteDirectory,
    accounts::{integer, valid},
};
use rusqlite::{Connection, OptionalExtension};
use server_ports::{
    StoreError,
    directory::{Attempt, RegistrationSession, Registrations, SessionId},
};
use subtle::ConstantTimeEq;
use types::{PhoneNumber, Timestamp, limits};

#[async_trait::async_trait]
impl Registrations for SqliteDirectory {
    async fn begin(&self, session: RegistrationSession) -> Result<(), StoreError> {
        self.run(move |db| {
            db.prepare_cached("delete from registration where phone = ?1 and proved = 0")?
                .execute([session.phone.e164()])?;
            db.prepare_cached(
                "insert into registration (id, phone, code_hash, expires_at) values (?1, ?2, ?3, ?4)",
            )?
            .execute((
                session.id,
                session.phone.e164(),
                session.code_hash,
                integer(session.expires_at.as_millis()),
            ))?;
            Ok(())
        })
        .await
    }

    async fn attempt(
        &self,
        session: SessionId,
        code_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Attempt, StoreError> {
        self.run(move |db| attempt(db, session, code_hash, now)).await
    }

    async fn expire_registrations(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.run(move |db| {
            let expired = db
                .prepare_cached("delete from registration where expires_at <= ?1")?
                .execute([integer(now.as_millis())])?;
            Ok(expired as u64)
        })
        .await
    }
}

fn attempt(db: &Connection, id: SessionId, code_hash: [u8; 32], now: Timestamp) -> rusqlite::Result<Attempt> {
    let stored = db
        .prepare_cached("select phone, code_hash, expires_at, wrong_tries from registration where id = ?1")?
        .query_row([id], |row| {
            let (phone, hash): (String, [u8; 32]) = (row.get(0)?, row.get(1)?);
            let (expires_at, wrong_tries): (i64, u32) = (row.get(2)?, row.get(3)?);
            Ok((valid(0, phone.parse::<PhoneNumber>())?, hash, expires_at, wrong_tries))
        })
        .optional()?;
    let Some((phone, hash, expires_at, wrong_tries)) = stored else { return Ok(Attempt::Unknown) };
    if integer(now.as_millis()) >= expires_at {
        return Ok(Attempt::Expired);
    }
    if wrong_tries >= limits::CODE_TRIES_MAX {
        return Ok(Attempt::Exhausted);
    }
    if bool::from(hash.ct_eq(&code_hash)) {
        db.prepare_cached("update registration set proved = 1 where id = ?1")?.execute([id])?;
        return Ok(Attempt::Proved(phone));
    }
    // The try and its answer are one transaction, and transactions run one after the other: no try is
    // compared that is not counted.
    db.prepare_cached("update registration set wrong_tries = wrong_tries + 1 where id = ?1")?
        .execute([id])?;
    Ok(Attempt::Wrong { left: limits::CODE_TRIES_MAX - wrong_tries - 1 })
}

/// Whether a session has proved this number and is still good.
pub(super) fn has_proved(
    db: &Connection,
    id: SessionId,
    phone: &PhoneNumber,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "select 1 from registration where id = ?1 and phone = ?2 and proved = 1 and expires_at > ?3",
    )?
    .exists((id, phone.e164(), integer(now.as_millis())))
}

/// The session made its account.
pub(super) fn consume(db: &Connection, id: SessionId) -> rusqlite::Result<()> {
    db.prepare_cached("delete from registration where id = ?1")?.execute([id])?;
    Ok(())
}
