//! Other accounts and the numbers that lead to them.

use super::{Columns, Stored, millis};
use rusqlite::{Connection, OptionalExtension, params};
use types::{AccountId, PhoneNumber, Timestamp};

/// Makes sure that an account is in the contacts.
pub(crate) fn ensure(db: &Connection, account: AccountId) -> Stored<()> {
    db.prepare_cached("INSERT OR IGNORE INTO contact (account) VALUES (?1)")?
        .execute([account.as_bytes()])?;
    Ok(())
}

pub(crate) fn exists(db: &Connection, account: AccountId) -> Stored<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM contact WHERE account = ?1")?.exists([account.as_bytes()])?)
}

/// The account that a number leads to for this person, unless it was closed since and nothing else is known.
pub(crate) fn account_of(db: &Connection, phone: &PhoneNumber) -> Stored<Option<AccountId>> {
    let mut statement = db.prepare_cached(
        "SELECT number.account FROM number JOIN contact USING (account)
         WHERE phone = ?1
           AND (NOT closed OR EXISTS (SELECT 1 FROM key_change WHERE key_change.phone = number.phone))",
    )?;
    Ok(statement.query_row([phone.e164()], |row| row.account(0)).optional()?)
}

/// The account that a number led to when it was looked up last, open or closed.
pub(crate) fn last_account_of(db: &Connection, phone: &PhoneNumber) -> Stored<Option<AccountId>> {
    let mut statement = db.prepare_cached("SELECT account FROM number WHERE phone = ?1")?;
    Ok(statement.query_row([phone.e164()], |row| row.account(0)).optional()?)
}

/// Writes that a number was looked up and leads to this account, and to no other one.
pub(crate) fn set_number(
    db: &Connection,
    phone: &PhoneNumber,
    account: AccountId,
    now: Timestamp,
) -> Stored<()> {
    ensure(db, account)?;
    db.execute(
        "DELETE FROM number WHERE account = ?1 AND phone <> ?2",
        params![account.as_bytes(), phone.e164()],
    )?;
    db.execute(
        "INSERT INTO number (phone, account, checked_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (phone) DO UPDATE SET account = excluded.account, checked_at = excluded.checked_at",
        params![phone.e164(), account.as_bytes(), millis(now)],
    )?;
    db.execute("UPDATE contact SET claimed_phone = NULL WHERE account = ?1", [account.as_bytes()])?;
    Ok(())
}

/// Writes that a number leads nowhere.
pub(crate) fn forget_number(db: &Connection, phone: &PhoneNumber) -> Stored<()> {
    db.execute("DELETE FROM number WHERE phone = ?1", [phone.e164()])?;
    Ok(())
}

pub(crate) fn phone_of(db: &Connection, account: AccountId) -> Stored<Option<PhoneNumber>> {
    let mut statement = db.prepare_cached("SELECT phone FROM number WHERE account = ?1")?;
    let phone = statement.query_row([account.as_bytes()], |row| row.read(0, |text: String| text.parse()));
    Ok(phone.optional()?)
}

/// The contact's name, else its checked number.
pub(crate) fn known_as(db: &Connection, account: AccountId) -> Stored<Option<String>> {
    let mut statement = db.prepare_cached(
        "SELECT coalesce((SELECT name FROM contact WHERE account = ?1),
                         (SELECT phone FROM number WHERE account = ?1))",
    )?;
    Ok(statement.query_row([account.as_bytes()], |row| row.get(0))?)
}

/// Remembers the number that a contact says is theirs, to be checked.
pub(crate) fn claim_phone(db: &Connection, account: AccountId, phone: &PhoneNumber) -> Stored<()> {
    db.execute(
        "UPDATE contact SET claimed_phone = ?2 WHERE account = ?1",
        params![account.as_bytes(), phone.e164()],
    )?;
    Ok(())
}

/// Forgets a claim that turned out wrong.
pub(crate) fn drop_claim(db: &Connection, account: AccountId) -> Stored<()> {
    db.execute("UPDATE contact SET claimed_phone = NULL WHERE account = ?1", [account.as_bytes()])?;
    Ok(())
}

/// Claims that were not checked yet, the first `limit` of them.
pub(crate) fn claims(db: &Connection, limit: usize) -> Stored<Vec<(AccountId, PhoneNumber)>> {
    let mut statement = db.prepare_cached(
        "SELECT account, claimed_phone FROM contact WHERE claimed_phone IS NOT NULL ORDER BY account LIMIT ?1",
    )?;
    let rows = statement.query_map([super::number(limit as u64)], |row| {
        Ok((row.account(0)?, row.read(1, |text: String| text.parse())?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether anything of this account was opened and verified: until then it is told our number.
pub(crate) fn is_heard(db: &Connection, account: AccountId) -> Stored<bool> {
    let mut statement = db.prepare_cached("SELECT 1 FROM contact WHERE account = ?1 AND heard")?;
    Ok(statement.exists([account.as_bytes()])?)
}

pub(crate) fn set_heard(db: &Connection, account: AccountId) -> Stored<()> {
    ensure(db, account)?;
    db.prepare_cached("UPDATE contact SET heard = 1 WHERE account = ?1 AND NOT heard")?
        .execute([account.as_bytes()])?;
    Ok(())
}

pub(crate) fn is_closed(db: &Connection, account: AccountId) -> Stored<bool> {
    let mut statement = db.prepare_cached("SELECT 1 FROM contact WHERE account = ?1 AND closed")?;
    Ok(statement.exists([account.as_bytes()])?)
}

pub(crate) fn set_closed(db: &Connection, account: AccountId) -> Stored<()> {
    ensure(db, account)?;
    db.execute("UPDATE contact SET closed = 1 WHERE account = ?1", [account.as_bytes()])?;
    Ok(())
}

/// The server says that an account lives after all; its list will show it.
pub(crate) fn reopen(db: &Connection, account: AccountId) -> Stored<()> {
    db.execute("UPDATE contact SET closed = 0 WHERE account = ?1", [account.as_bytes()])?;
    Ok(())
}

pub(crate) fn is_verified(db: &Connection, account: AccountId) -> Stored<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM contact WHERE account = ?1 AND verified")?
        .exists([account.as_bytes()])?)
}

/// Remembers that the safety number was compared; false if the account is not known.
pub(crate) fn set_verified(db: &Connection, account: AccountId) -> Stored<bool> {
    let changed = db.execute("UPDATE contact SET verified = 1 WHERE account = ?1", [account.as_bytes()])?;
    Ok(changed > 0)
}

// ---- who is blocked

/// Blocks an account or ends that, as of a time; false if a later decision is known, or the same one.
pub(crate) fn decide_block(
    db: &Connection,
    account: AccountId,
    blocked: bool,
    decided_at: Timestamp,
) -> Stored<bool> {
    ensure(db, account)?;
    // Of two decisions of one moment the careful one counts, so that all devices agree.
    let changed = db.execute(
        "UPDATE contact SET blocked = ?2, block_decided_at = ?3 WHERE account = ?1
           AND (block_decided_at < ?3 OR (block_decided_at = ?3 AND blocked < ?2))",
        params![account.as_bytes(), blocked, millis(decided_at)],
    )?;
    Ok(changed > 0)
}

pub(crate) fn is_blocked(db: &Connection, account: AccountId) -> Stored<bool> {
    let mut statement = db.prepare_cached("SELECT 1 FROM contact WHERE account = ?1 AND blocked")?;
    Ok(statement.exists([account.as_bytes()])?)
}

/// Whether an account is blocked, and when that was decided.
pub(crate) fn block(db: &Connection, account: AccountId) -> Stored<(bool, Timestamp)> {
    let mut statement =
        db.prepare_cached("SELECT blocked, block_decided_at FROM contact WHERE account = ?1")?;
    let block = statement.query_row([account.as_bytes()], |row| Ok((row.get(0)?, row.time(1)?)));
    Ok(block.optional()?.unwrap_or((false, Timestamp::from_millis(0))))
}

/// All blocked accounts.
pub(crate) fn blocked(db: &Connection) -> Stored<Vec<AccountId>> {
    let mut statement = db.prepare_cached("SELECT account FROM contact WHERE blocked ORDER BY account")?;
    let rows = statement.query_map([], |row| row.account(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

// ---- what our other devices are still to be told

/// Remembers that something became known of a contact; `accepted`: that a number leads to it.
pub(crate) fn set_untold(db: &Connection, account: AccountId, accepted: bool) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO contact_untold (account, accepted) VALUES (?1, ?2)
         ON CONFLICT (account) DO UPDATE SET accepted = max(accepted, excluded.accepted)",
    )?
    .execute(params![account.as_bytes(), accepted])?;
    Ok(())
}

/// Takes the first `limit` of those contacts.
pub(crate) fn take_untold(db: &Connection, limit: usize) -> Stored<Vec<(AccountId, bool)>> {
    let mut statement = db.prepare_cached(
        "DELETE FROM contact_untold WHERE account IN (SELECT account FROM contact_untold ORDER BY account LIMIT ?1)
         RETURNING account, accepted",
    )?;
    let rows =
        statement.query_map([super::number(limit as u64)], |row| Ok((row.account(0)?, row.get(1)?)))?;
    let mut untold: Vec<_> = rows.collect::<Result<_, _>>()?;
    untold.sort_unstable();
    Ok(untold)
}
