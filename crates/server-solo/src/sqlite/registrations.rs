//! Registration sessions.

use super::{SqliteDirectory, columns};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use server_ports::{
    StoreError,
    directory::{Attempt, RegistrationSession, Registrations, SessionId},
};
use types::{PhoneNumber, Timestamp, limits};

#[async_trait::async_trait]
impl Registrations for SqliteDirectory {
    async fn begin(&self, session: RegistrationSession) -> Result<(), StoreError> {
        self.write(move |transaction, _| begin(transaction, &session)).await
    }

    async fn attempt(
        &self,
        session: SessionId,
        code_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Attempt, StoreError> {
        // The answer leaves after the commit that counts the try, so nobody learns anything uncounted.
        self.write(move |transaction, _| attempt(transaction, session, code_hash, now)).await
    }

    async fn expire_registrations(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |transaction, _| {
            let mut delete = transaction.prepare_cached("DELETE FROM registrations WHERE expires_at <= ?")?;
            Ok(delete.execute([columns::millis(now)])? as u64)
        })
        .await
    }
}

struct Stored {
    phone: PhoneNumber,
    code_hash: [u8; 32],
    expires_at: Timestamp,
    wrong_tries: u32,
    proved: bool,
}

fn stored(connection: &Connection, session: SessionId) -> rusqlite::Result<Option<Stored>> {
    let sql = "SELECT phone, code_hash, expires_at, wrong_tries, proved FROM registrations WHERE session = ?";
    let read = |row: &Row<'_>| {
        Ok(Stored {
            phone: columns::phone(row, 0)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
            code_hash: row.get(1)?,
            expires_at: columns::time(row, 2)?,
            wrong_tries: row.get(3)?,
            proved: row.get(4)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([session], read).optional()
}

fn begin(connection: &Connection, session: &RegistrationSession) -> rusqlite::Result<()> {
    let void = "DELETE FROM registrations WHERE phone = ?";
    connection.prepare_cached(void)?.execute([session.phone.e164()])?;
    let sql = "INSERT OR REPLACE INTO registrations VALUES (?, ?, ?, ?, 0, 0)";
    connection.prepare_cached(sql)?.execute(params![
        session.id,
        session.phone.e164(),
        session.code_hash,
        columns::millis(session.expires_at),
    ])?;
    Ok(())
}

fn attempt(
    connection: &Connection,
    session: SessionId,
    code_hash: [u8; 32],
    now: Timestamp,
) -> rusqlite::Result<Attempt> {
    let Some(stored) = stored(connection, session)? else { return Ok(Attempt::Unknown) };
    if now >= stored.expires_at {
        return Ok(Attempt::Expired);
    }
    if stored.wrong_tries >= limits::CODE_TRIES_MAX {
        return Ok(Attempt::Exhausted);
    }
    if stored.code_hash == code_hash {
        let prove = "UPDATE registrations SET proved = 1 WHERE session = ?";
        connection.prepare_cached(prove)?.execute([session])?;
        return Ok(Attempt::Proved(stored.phone));
    }
    let count = "UPDATE registrations SET wrong_tries = wrong_tries + 1 WHERE session = ?";
    connection.prepare_cached(count)?.execute([session])?;
    let left = limits::CODE_TRIES_MAX - stored.wrong_tries - 1;
    Ok(Attempt::Wrong { phone: stored.phone, left })
}

/// Whether this session has proved this number, and still counts.
pub(super) fn proved(
    connection: &Connection,
    session: SessionId,
    phone: &PhoneNumber,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let stored = stored(connection, session)?;
    Ok(stored.is_some_and(|stored| stored.proved && now < stored.expires_at && stored.phone == *phone))
}

pub(super) fn consume(connection: &Connection, session: SessionId) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM registrations WHERE session = ?")?.execute([session])?;
    Ok(())
}
