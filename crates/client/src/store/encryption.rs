//! The encryption state of `seal` over one transaction, and which sessions have to be opened anew.

use super::{Stored, millis};
use crate::store::profile::Me;
use rusqlite::{Connection, OptionalExtension, params};
use seal::{KemPrekeyRecord, LastResortUse, LocalDevice, Store, StoreError};
use types::{DeviceAddress, GroupId, Timestamp};
use zeroize::Zeroizing;

/// [`seal::Store`] over the transaction of one turn.
pub(crate) struct EncryptionState<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) me: &'a Me,
}

impl EncryptionState<'_> {
    fn secret(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(StoreError::new)?;
        let record = statement.query_row(params, |row| row.get::<_, Vec<u8>>(0)).optional();
        Ok(record.map_err(StoreError::new)?.map(Zeroizing::new))
    }

    fn write(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(StoreError::new)?;
        statement.execute(params).map_err(StoreError::new)
    }
}

impl Store for EncryptionState<'_> {
    fn local(&self) -> Result<LocalDevice, StoreError> {
        Ok(LocalDevice {
            address: self.me.address,
            registration: self.me.registration,
            identity: self.me.identity.clone(),
        })
    }

    fn session(&self, peer: DeviceAddress) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let key = params![peer.account.as_bytes(), peer.device.get()];
        self.secret("SELECT record FROM ratchet WHERE account = ?1 AND device = ?2", key)
    }

    fn store_session(&mut self, peer: DeviceAddress, record: &[u8]) -> Result<(), StoreError> {
        self.write(
            "INSERT OR REPLACE INTO ratchet (account, device, record) VALUES (?1, ?2, ?3)",
            params![peer.account.as_bytes(), peer.device.get(), record],
        )?;
        Ok(())
    }

    fn one_time_prekey(&self, id: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.secret("SELECT record FROM prekey WHERE kind = 'one_time' AND id = ?1", [id])
    }

    fn remove_one_time_prekey(&mut self, id: u32) -> Result<(), StoreError> {
        self.write("DELETE FROM prekey WHERE kind = 'one_time' AND id = ?1", [id])?;
        Ok(())
    }

    fn signed_prekey(&self, id: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.secret("SELECT record FROM prekey WHERE kind = 'signed' AND id = ?1", [id])
    }

    fn kem_prekey(&self, id: u32) -> Result<Option<KemPrekeyRecord>, StoreError> {
        let sql = "SELECT record, last_resort FROM prekey WHERE kind = 'kem' AND id = ?1";
        let mut statement = self.db.prepare_cached(sql).map_err(StoreError::new)?;
        let row = statement.query_row([id], |row| {
            Ok(KemPrekeyRecord { record: Zeroizing::new(row.get(0)?), last_resort: row.get(1)? })
        });
        row.optional().map_err(StoreError::new)
    }

    fn remove_kem_prekey(&mut self, id: u32) -> Result<(), StoreError> {
        self.write("DELETE FROM prekey WHERE kind = 'kem' AND id = ?1", [id])?;
        Ok(())
    }

    fn remember_last_resort_use(&mut self, used: &LastResortUse) -> Result<bool, StoreError> {
        let inserted = self.write(
            "INSERT OR IGNORE INTO last_resort_use (kem_prekey, signed_prekey, base_key) VALUES (?1, ?2, ?3)",
            params![used.kem_prekey, used.signed_prekey, used.base_key],
        )?;
        Ok(inserted > 0)
    }

    fn sender_key(
        &self,
        group: GroupId,
        sender: DeviceAddress,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.secret(
            "SELECT record FROM sender_key WHERE group_id = ?1 AND account = ?2 AND device = ?3",
            params![group.as_bytes(), sender.account.as_bytes(), sender.device.get()],
        )
    }

    fn store_sender_key(
        &mut self,
        group: GroupId,
        sender: DeviceAddress,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.write(
            "INSERT OR REPLACE INTO sender_key (group_id, account, device, record) VALUES (?1, ?2, ?3, ?4)",
            params![group.as_bytes(), sender.account.as_bytes(), sender.device.get(), record],
        )?;
        Ok(())
    }
}

/// Whether the next content to this device must open a new session.
pub(crate) fn is_renewal_wanted(db: &Connection, peer: DeviceAddress) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM renewal WHERE account = ?1 AND device = ?2 AND wanted")?;
    Ok(statement.exists(params![peer.account.as_bytes(), peer.device.get()])?)
}

/// Wants a new session with this device, unless one was opened since `not_since`: a flood of messages that
/// do not open costs one new session.
pub(crate) fn want_renewal(db: &Connection, peer: DeviceAddress, not_since: Timestamp) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO renewal (account, device, wanted) VALUES (?1, ?2, 1)
         ON CONFLICT (account, device) DO UPDATE SET wanted = 1 WHERE done_at < ?3",
    )?
    .execute(params![peer.account.as_bytes(), peer.device.get(), millis(not_since)])?;
    Ok(())
}

/// A new session was opened by us.
pub(crate) fn set_renewed(db: &Connection, peer: DeviceAddress, now: Timestamp) -> Stored<()> {
    db.prepare_cached("UPDATE renewal SET wanted = 0, done_at = ?3 WHERE account = ?1 AND device = ?2")?
        .execute(params![peer.account.as_bytes(), peer.device.get(), millis(now)])?;
    Ok(())
}

/// The other side has opened a new session, so ours need not.
pub(crate) fn drop_renewal(db: &Connection, peer: DeviceAddress) -> Stored<()> {
    db.prepare_cached("UPDATE renewal SET wanted = 0 WHERE account = ?1 AND device = ?2 AND wanted")?
        .execute(params![peer.account.as_bytes(), peer.device.get()])?;
    Ok(())
}

/// Forgets uses of last-resort prekeys whose private halves are gone.
pub(crate) fn prune_last_resort_uses(db: &Connection) -> Stored<()> {
    db.execute(
        "DELETE FROM last_resort_use
         WHERE NOT EXISTS (SELECT 1 FROM prekey WHERE kind = 'kem' AND id = last_resort_use.kem_prekey)",
        [],
    )?;
    Ok(())
}

/// Forgets the session with a device that is gone: its number begins anew with another one.
pub(crate) fn forget_device(db: &Connection, device: DeviceAddress) -> Stored<()> {
    let key = params![device.account.as_bytes(), device.device.get()];
    db.execute("DELETE FROM ratchet WHERE account = ?1 AND device = ?2", key)?;
    db.execute("DELETE FROM renewal WHERE account = ?1 AND device = ?2", key)?;
    Ok(())
}
