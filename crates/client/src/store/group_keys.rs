//! Our sender keys: which there are, which devices hold them, and what carries them there.

use super::{Columns, Stored, messages::MessageSeq, millis, number, outbox::OutboxId};
use rusqlite::{Connection, OptionalExtension, params};
use seal::Peer;
use signed::DeviceList;
use types::{AccountId, DeviceAddress, EnvelopeId, GroupId, Timestamp};

// ---- whom a message goes to

/// What is known of a member's devices.
pub(crate) struct MemberList {
    pub(crate) account: AccountId,
    /// The version of the newest verified list; none if there is none.
    pub(crate) version: Option<u64>,
    /// The server said that there is another one.
    pub(crate) stale: bool,
    pub(crate) closed: bool,
}

/// The lists of all present members, by account.
pub(crate) fn member_lists(db: &Connection, group: GroupId) -> Stored<Vec<MemberList>> {
    let mut statement = db.prepare_cached(
        "SELECT member.account, list.version, coalesce(list.stale, 0), coalesce(contact.closed, 0)
         FROM group_member AS member
         LEFT JOIN device_list AS list USING (account) LEFT JOIN contact USING (account)
         WHERE member.group_id = ?1 AND member.until IS NULL ORDER BY member.account",
    )?;
    let rows = statement.query_map([group.as_bytes()], |row| {
        Ok(MemberList {
            account: row.account(0)?,
            version: row.get::<_, Option<i64>>(1)?.map(|_| row.number(1)).transpose()?,
            stale: row.get(2)?,
            closed: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Grows whenever a list, or whether an account is closed, changes.
pub(crate) fn generation(db: &Connection) -> Stored<u64> {
    let mut statement = db.prepare_cached("SELECT generation FROM list_generation")?;
    Ok(statement.query_row([], |row| row.number(0))?)
}

/// Writes the devices of a list, so that groups can be compared with them.
pub(crate) fn index_list(db: &Connection, list: &DeviceList) -> Stored<()> {
    let account = list.account();
    db.prepare_cached("DELETE FROM list_device WHERE account = ?1")?.execute([account.as_bytes()])?;
    let mut statement =
        db.prepare_cached("INSERT INTO list_device (account, device, identity) VALUES (?1, ?2, ?3)")?;
    for device in list.devices() {
        statement.execute(params![
            account.as_bytes(),
            device.number().get(),
            device.identity_key().as_bytes()
        ])?;
    }
    Ok(())
}

/// Accounts whose lists were written before there were groups.
pub(crate) fn not_indexed(db: &Connection) -> Stored<Vec<AccountId>> {
    let mut statement = db.prepare(
        "SELECT account FROM device_list
         WHERE NOT EXISTS (SELECT 1 FROM list_device WHERE list_device.account = device_list.account)",
    )?;
    let rows = statement.query_map([], |row| row.account(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

// ---- our key

/// This device's present sender key in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnKey {
    /// One more with each rotation.
    pub(crate) number: u64,
    /// Messages that were encrypted with it.
    pub(crate) served: u64,
    pub(crate) made_at: Timestamp,
}

pub(crate) fn own(db: &Connection, group: GroupId) -> Stored<Option<OwnKey>> {
    let mut statement =
        db.prepare_cached("SELECT number, served, made_at FROM own_sender_key WHERE group_id = ?1")?;
    let key = statement.query_row([group.as_bytes()], |row| {
        Ok(OwnKey { number: row.number(0)?, served: row.number(1)?, made_at: row.time(2)? })
    });
    Ok(key.optional()?)
}

pub(crate) fn set_own(db: &Connection, group: GroupId, key: OwnKey) -> Stored<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO own_sender_key (group_id, number, served, made_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![group.as_bytes(), number(key.number), number(key.served), millis(key.made_at)])?;
    Ok(())
}

// ---- who holds it

/// A device that may send to the group now: a present member's, on its verified list, of an open account.
const AUDIENCE: &str = "group_member AS member
    JOIN list_device AS listed ON listed.account = member.account
    LEFT JOIN contact ON contact.account = member.account
    WHERE member.group_id = ?1 AND member.until IS NULL AND NOT coalesce(contact.closed, 0)";

/// Whether a device that is not of the audience has, or may have, this key.
pub(crate) fn is_held_by_others(db: &Connection, group: GroupId, key: u64) -> Stored<bool> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT 1 FROM key_holder AS holder WHERE holder.group_id = ?1 AND holder.number = ?2
           AND NOT EXISTS (SELECT 1 FROM {AUDIENCE} AND member.account = holder.account
                             AND listed.device = holder.device AND listed.identity = holder.identity)"
    ))?;
    Ok(statement.exists(params![group.as_bytes(), number(key)])?)
}

/// Accounts of the audience with a device that lacks this key, and to which it is not on its way.
pub(crate) fn without_key(
    db: &Connection,
    group: GroupId,
    key: u64,
    me: DeviceAddress,
) -> Stored<Vec<AccountId>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT DISTINCT member.account FROM {AUDIENCE}
           AND NOT (listed.account = ?3 AND listed.device = ?4)
           AND NOT EXISTS (SELECT 1 FROM key_holder AS holder
                           WHERE holder.group_id = ?1 AND holder.number = ?2 AND holder.account = listed.account
                             AND holder.device = listed.device AND holder.identity = listed.identity
                             AND holder.accepted)
           AND NOT EXISTS (SELECT 1 FROM group_parcel AS parcel
                           WHERE parcel.group_id = ?1 AND parcel.number = ?2 AND parcel.account = member.account)
         ORDER BY member.account"
    ))?;
    let key = params![group.as_bytes(), number(key), me.account.as_bytes(), me.device.get()];
    let rows = statement.query_map(key, |row| row.account(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A distribution was sealed to these devices: they may have the key from now on.
pub(crate) fn add_holders(db: &Connection, parcel: &Parcel, key: u64, peers: &[&Peer]) -> Stored<()> {
    let mut statement = db.prepare_cached(
        "INSERT OR IGNORE INTO key_holder (group_id, number, account, device, identity, served)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for peer in peers {
        let address = peer.address();
        statement.execute(params![
            parcel.group.as_bytes(),
            number(key),
            address.account.as_bytes(),
            address.device.get(),
            peer.identity().as_bytes(),
            number(parcel.served)
        ])?;
    }
    Ok(())
}

/// What a device was given of a key is lost, as far as it says.
pub(crate) fn doubt_holder(db: &Connection, group: GroupId, key: u64, device: DeviceAddress) -> Stored<()> {
    let holder = params![group.as_bytes(), number(key), device.account.as_bytes(), device.device.get()];
    db.prepare_cached(
        "UPDATE key_holder SET accepted = 0
         WHERE group_id = ?1 AND number = ?2 AND account = ?3 AND device = ?4",
    )?
    .execute(holder)?;
    Ok(())
}

/// The server has stored a distribution to the devices that it was sealed to.
pub(crate) fn accept_holders(db: &Connection, parcel: &Parcel, key: u64, row: OutboxId) -> Stored<()> {
    db.prepare_cached(
        "UPDATE key_holder SET accepted = 1
         WHERE group_id = ?1 AND number = ?2 AND account = ?3
           AND device IN (SELECT device FROM outbox_sealed WHERE outbox = ?4 AND account = ?3)",
    )?
    .execute(params![parcel.group.as_bytes(), number(key), parcel.account.as_bytes(), row.0])?;
    Ok(())
}

/// Whether a device, under this identity, could open a message in this envelope to a group.
pub(crate) fn could_open(db: &Connection, envelope: EnvelopeId, peer: &Peer) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM sent JOIN sent_group AS keyed USING (envelope_id) JOIN key_holder AS holder
           ON holder.group_id = sent.chat AND holder.number = keyed.number AND holder.served <= keyed.served
         WHERE envelope_id = ?1 AND holder.account = ?2 AND holder.device = ?3 AND holder.identity = ?4",
    )?;
    let address = peer.address();
    Ok(statement.exists(params![
        envelope.as_bytes(),
        address.account.as_bytes(),
        address.device.get(),
        peer.identity().as_bytes()
    ])?)
}

/// Forgets who held keys that nothing is sent again under.
pub(crate) fn prune_holders(db: &Connection) -> Stored<()> {
    db.execute(
        "DELETE FROM key_holder
         WHERE number < (SELECT own.number FROM own_sender_key AS own WHERE own.group_id = key_holder.group_id)
           AND number NOT IN (SELECT number FROM sent_group)",
        [],
    )?;
    Ok(())
}

// ---- parcels

/// A row of the outbox that carries something of a group to one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) group: GroupId,
    pub(crate) account: AccountId,
    /// The number of the sender key that it carries, if it does.
    pub(crate) key: Option<u64>,
    /// Messages that were encrypted before what it carries.
    pub(crate) served: u64,
}

/// Adds a parcel; its group waits for it unless it is waived.
pub(crate) fn add_parcel(db: &Connection, row: OutboxId, parcel: &Parcel, waived: bool) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO group_parcel (outbox, group_id, account, number, served, waived)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        row.0,
        parcel.group.as_bytes(),
        parcel.account.as_bytes(),
        parcel.key.map(number),
        number(parcel.served),
        waived
    ])?;
    Ok(())
}

pub(crate) fn parcel(db: &Connection, row: OutboxId) -> Stored<Option<Parcel>> {
    let mut statement =
        db.prepare_cached("SELECT group_id, account, number, served FROM group_parcel WHERE outbox = ?1")?;
    Ok(statement.query_row([row.0], read_parcel).optional()?)
}

fn read_parcel(row: &rusqlite::Row<'_>) -> rusqlite::Result<Parcel> {
    Ok(Parcel {
        group: GroupId::from_bytes(row.get(0)?),
        account: row.account(1)?,
        key: row.get::<_, Option<i64>>(2)?.map(|_| row.number(2)).transpose()?,
        served: row.number(3)?,
    })
}

/// Whether a sender key is still on its way to somebody for whom the group waits.
pub(crate) fn is_on_its_way(db: &Connection, group: GroupId, key: u64) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM group_parcel WHERE group_id = ?1 AND number = ?2 AND NOT waived LIMIT 1",
    )?;
    Ok(statement.exists(params![group.as_bytes(), number(key)])?)
}

/// No group waits any more for what is queued for an account; gives what it was.
pub(crate) fn waive(db: &Connection, account: AccountId) -> Stored<Vec<Parcel>> {
    let mut statement = db.prepare_cached(
        "UPDATE group_parcel SET waived = 1 WHERE account = ?1 AND NOT waived
         RETURNING group_id, account, number, served",
    )?;
    let parcels = statement.query_map([account.as_bytes()], read_parcel)?;
    Ok(parcels.collect::<Result<_, _>>()?)
}

// ---- sealed messages

/// The one ciphertext of a message to a group, and the view under which it was made.
pub(crate) struct SealedForGroup {
    pub(crate) epoch: u64,
    pub(crate) head: [u8; 32],
    pub(crate) lists_digest: [u8; 32],
    pub(crate) ciphertext: Vec<u8>,
}

pub(crate) fn set_sealed(db: &Connection, row: OutboxId, sealed: &SealedForGroup) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO outbox_group (outbox, epoch, head, lists_digest, ciphertext) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![row.0, number(sealed.epoch), sealed.head, sealed.lists_digest, sealed.ciphertext])?;
    Ok(())
}

pub(crate) fn sealed(db: &Connection, row: OutboxId) -> Stored<Option<SealedForGroup>> {
    let mut statement = db
        .prepare_cached("SELECT epoch, head, lists_digest, ciphertext FROM outbox_group WHERE outbox = ?1")?;
    let sealed = statement.query_row([row.0], |row| {
        Ok(SealedForGroup {
            epoch: row.number(0)?,
            head: row.get(1)?,
            lists_digest: row.get(2)?,
            ciphertext: row.get(3)?,
        })
    });
    Ok(sealed.optional()?)
}

/// Remembers which key sealed an envelope, and how many messages it had sealed before.
pub(crate) fn set_sent(db: &Connection, envelope: EnvelopeId, key: OwnKey) -> Stored<()> {
    db.prepare_cached("INSERT INTO sent_group (envelope_id, number, served) VALUES (?1, ?2, ?3)")?
        .execute(params![envelope.as_bytes(), number(key.number), number(key.served)])?;
    Ok(())
}

/// How often a message was sent again to a member, counted with this time.
pub(crate) fn count_resend(db: &Connection, message: MessageSeq, to: AccountId) -> Stored<u32> {
    let mut statement = db.prepare_cached(
        "INSERT INTO group_resend (message, account, resends) VALUES (?1, ?2, 1)
         ON CONFLICT (message, account) DO UPDATE SET resends = resends + 1 RETURNING resends",
    )?;
    Ok(statement.query_row(params![message.0, to.as_bytes()], |row| row.get(0))?)
}
