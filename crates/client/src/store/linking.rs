//! Links that are under way: one that this device asks for, and one that this device is asked for.

use super::{Columns, Stored, millis, prekeys};
use rusqlite::{Connection, OptionalExtension, params};
use seal::{
    DeviceSecrets, IdentityKeyPair,
    link::{InvitedDevice, LinkCode, NewDevice, Primary},
    names::DeviceName,
};
use types::{Redact, Timestamp};

// ---- this device on its way into an account

/// What a device needs to become one of an account.
pub(crate) struct LinkRequest {
    pub(crate) server: String,
    pub(crate) server_pin: Option<[u8; 32]>,
    pub(crate) name: DeviceName,
    pub(crate) secrets: DeviceSecrets,
    pub(crate) token: Redact<[u8; 32]>,
    pub(crate) prekey_next: u32,
    pub(crate) begun_at: Timestamp,
    pub(crate) offering: NewDevice,
    /// The invitation that was answered, and what came of it.
    pub(crate) invited: Option<(Vec<u8>, InvitedDevice)>,
}

pub(crate) fn request(db: &Connection) -> Stored<Option<LinkRequest>> {
    let mut statement = db.prepare_cached(
        "SELECT server, server_pin, name, registration, device_secret, identity, token, prekey_next, begun_at,
                offering, invitation, invited
         FROM link_request",
    )?;
    let request = statement.query_row([], |row| {
        let invited = row.read(11, |state: Option<Vec<u8>>| {
            state.map(|state| InvitedDevice::from_slice(&state)).transpose()
        })?;
        Ok(LinkRequest {
            server: row.get(0)?,
            server_pin: row.get(1)?,
            name: row.read(2, |name: String| name.parse())?,
            secrets: DeviceSecrets {
                identity: row.read(5, |bytes: Vec<u8>| IdentityKeyPair::from_slice(&bytes))?,
                registration: row.registration(3)?,
                device_key_seed: Redact::new(row.get(4)?),
            },
            token: Redact::new(row.get(6)?),
            prekey_next: row.get(7)?,
            begun_at: row.time(8)?,
            offering: row.read(9, |state: Vec<u8>| NewDevice::from_slice(&state))?,
            invited: row.get::<_, Option<Vec<u8>>>(10)?.zip(invited),
        })
    });
    Ok(request.optional()?)
}

/// Writes a request before anybody hears of it; nothing of an earlier one stays.
pub(crate) fn insert_request(db: &Connection, request: &LinkRequest) -> Stored<()> {
    db.execute(
        "INSERT OR REPLACE INTO link_request
           (only, server, server_pin, name, registration, device_secret, identity, token, prekey_next, begun_at,
            offering)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            request.server,
            request.server_pin,
            request.name.as_str(),
            request.secrets.registration.get(),
            request.secrets.device_key_seed.expose(),
            request.secrets.identity.to_bytes().as_slice(),
            request.token.expose(),
            request.prekey_next,
            millis(request.begun_at),
            request.offering.to_bytes().as_slice(),
        ],
    )?;
    Ok(())
}

pub(crate) fn set_invited(db: &Connection, invitation: &[u8], invited: &InvitedDevice) -> Stored<()> {
    db.execute(
        "UPDATE link_request SET invitation = ?1, invited = ?2",
        params![invitation, invited.to_bytes().as_slice()],
    )?;
    Ok(())
}

/// Forgets a request whose link is dead, with the prekeys that were made for it.
pub(crate) fn forget_request(db: &Connection) -> Stored<()> {
    if remove_request(db)? { prekeys::clear(db) } else { Ok(()) }
}

/// Forgets a request; true if there was one.
pub(crate) fn remove_request(db: &Connection) -> Stored<bool> {
    Ok(db.execute("DELETE FROM link_request", [])? > 0)
}

// ---- a device that this primary is asked to add

pub(crate) struct Addition {
    pub(crate) code: LinkCode,
    pub(crate) with_history: bool,
    /// Since the offer was found to fit the code.
    pub(crate) inviting: Option<Primary>,
    /// The server has taken the invitation.
    pub(crate) invited: bool,
    /// The device's answer, as it was verified.
    pub(crate) answer: Option<Vec<u8>>,
}

pub(crate) fn addition(db: &Connection) -> Stored<Option<Addition>> {
    let mut statement =
        db.prepare_cached("SELECT code, with_history, inviting, invited, answer FROM addition")?;
    let addition = statement.query_row([], |row| {
        Ok(Addition {
            code: row.read(0, |code: String| code.parse())?,
            with_history: row.get(1)?,
            inviting: row.read(2, |state: Option<Vec<u8>>| {
                state.map(|state| Primary::from_slice(&state)).transpose()
            })?,
            invited: row.get(3)?,
            answer: row.get(4)?,
        })
    });
    Ok(addition.optional()?)
}

/// Begins to add a device. What is known of the same code stays: its invitation can be made only once.
pub(crate) fn begin_addition(db: &Connection, code: &LinkCode, with_history: bool) -> Stored<()> {
    let code = code.to_string();
    db.execute("DELETE FROM addition WHERE code <> ?1", [&code])?;
    db.execute(
        "INSERT INTO addition (only, code, with_history) VALUES (1, ?1, ?2)
         ON CONFLICT (only) DO UPDATE SET with_history = excluded.with_history",
        params![code, with_history],
    )?;
    Ok(())
}

pub(crate) fn set_inviting(db: &Connection, inviting: &Primary) -> Stored<()> {
    db.execute("UPDATE addition SET inviting = ?1", [inviting.to_bytes().as_slice()])?;
    Ok(())
}

pub(crate) fn set_addition_invited(db: &Connection) -> Stored<()> {
    db.execute("UPDATE addition SET invited = 1", [])?;
    Ok(())
}

pub(crate) fn set_answer(db: &Connection, answer: &[u8]) -> Stored<()> {
    db.execute("UPDATE addition SET answer = ?1", [answer])?;
    Ok(())
}

pub(crate) fn remove_addition(db: &Connection) -> Stored<()> {
    db.execute("DELETE FROM addition", [])?;
    Ok(())
}
