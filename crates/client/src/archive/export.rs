//! Reading an archive out of the database.
//!
//! What the account knows of others, where chats stand and which counters were heard is written whole at the cut,
//! because it has to agree with itself. Messages follow one part at a time, newest first, so that an archive of any
//! size takes little memory and the newest are there first. A message that changes after the cut is written as it is
//! then, which is never less true.

use super::{
    PART_BYTES_MAX, groups,
    records::{
        AccountRecord, Beginning, ChatRecord, ContactRecord, DeliveryRecord, HeardRecord, HeldRecord,
        MessageRecord, Record,
    },
};
use crate::store::{
    Columns, Stored, device_lists, key_changes,
    key_changes::KeyChange,
    messages as stored_messages,
    outbox::{self, Lane, LaneClass},
};
use rusqlite::{Connection, params};
use types::{AccountId, ChatId, DeviceAddress, Stamp, Timestamp};
use zeroize::Zeroizing;

/// Records of one part, each after its length.
pub(crate) type Part = Zeroizing<Vec<u8>>;

/// Names a place among the messages: those that arrived here before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Before(pub(crate) i64);

/// Some messages, and where the rest of them begins.
pub(crate) struct Messages {
    pub(crate) part: Part,
    pub(crate) count: u64,
    /// None: there are no more.
    pub(crate) rest: Option<Before>,
}

/// Everything but the messages, in as many parts as it takes; at least one.
pub(crate) fn state(
    db: &Connection,
    me: DeviceAddress,
    beginning: Beginning,
    account: Option<AccountRecord>,
) -> Stored<Vec<Part>> {
    let mut parts = Parts::default();
    let is_backup = account.is_some();
    parts.push(&Record::Beginning(beginning));
    if let Some(account) = account {
        parts.push(&Record::Account(Box::new(account)));
    }
    contacts(db, me.account, &mut parts)?;
    chats(db, &mut parts)?;
    for change in key_changes::all(db)? {
        // A linked device gets what is held from this one, once the person has accepted; after a restore nobody has it.
        let held = if is_backup { held_for(db, &change)? } else { Vec::new() };
        parts.push(&Record::KeyChange(change));
        held.into_iter().for_each(|held| parts.push(&Record::Held(held)));
    }
    heard(db, &mut parts)?;
    own_counters(db, me, &mut parts)?;
    groups::export(db, |record| parts.push(&record))?;
    Ok(parts.done())
}

/// The place after the newest message.
pub(crate) fn newest(db: &Connection) -> Stored<Before> {
    Ok(Before(db.query_row("SELECT coalesce(max(seq), 0) + 1 FROM message", [], |row| row.get(0))?))
}

/// How many messages an archive up to this place has.
pub(crate) fn count(db: &Connection, before: Before) -> Stored<u64> {
    let sql = format!("SELECT count(*) FROM message WHERE seq < ?1 AND {WRITTEN}");
    Ok(db.query_row(&sql, [before.0], |row| row.number(0))?)
}

/// What waits to be accepted is not written: it is sent to every device once it leaves.
const WRITTEN: &str = "(stamp IS NOT NULL OR failure IS NOT NULL)";

/// One part of messages: the newest before a place.
pub(crate) fn messages(db: &Connection, me: AccountId, before: Before) -> Stored<Messages> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT seq, id, chat, sender, device, counter, sent_at, stamp, text, failure, group_epoch
         FROM message WHERE seq < ?1 AND {WRITTEN} ORDER BY seq DESC"
    ))?;
    let mut rows = statement.query([before.0])?;
    let (mut part, mut count, mut reached) = (Part::default(), 0, before);
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let sender = DeviceAddress::new(row.account(3)?, row.device(4)?);
        let message = MessageRecord {
            id: row.message_id(1)?,
            chat: row.get(2)?,
            sender,
            counter: row.number(5)?,
            sent_at: row.time(6)?,
            stamp: row.stamp(7)?,
            text: row.get(8)?,
            failure: row.get(9)?,
            // Only our own messages are delivered to others.
            deliveries: if sender.account == me { deliveries(db, seq)? } else { Vec::new() },
            group_epoch: row.get::<_, Option<i64>>(10)?.map(|_| row.number(10)).transpose()?,
        };
        let record = Record::Message(Box::new(message)).encode();
        if part.len() + record.len() > PART_BYTES_MAX {
            return Ok(Messages { part, count, rest: Some(reached) });
        }
        part.extend_from_slice(&record);
        count += 1;
        reached = Before(seq);
    }
    Ok(Messages { part, count, rest: None })
}

fn deliveries(db: &Connection, message: i64) -> Stored<Vec<DeliveryRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT account, device, delivered_at, read_at FROM delivery WHERE message = ?1 ORDER BY account, device",
    )?;
    let rows = statement.query_map([message], |row| {
        let time = |column| -> rusqlite::Result<Option<Timestamp>> {
            row.get::<_, Option<i64>>(column)?.map(|_| row.time(column)).transpose()
        };
        Ok(DeliveryRecord {
            by: DeviceAddress::new(row.account(0)?, row.device(1)?),
            delivered_at: time(2)?,
            read_at: time(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn contacts(db: &Connection, me: AccountId, parts: &mut Parts) -> Stored<()> {
    let mut statement = db.prepare(
        "SELECT account, name, phone, coalesce(checked_at, 0), verified, closed, heard, blocked, block_decided_at
         FROM contact LEFT JOIN number USING (account) WHERE account <> ?1 ORDER BY account",
    )?;
    let mut rows = statement.query([me.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let account = row.account(0)?;
        let checked_at = row.time(3)?;
        let phone = row.read(2, |text: Option<String>| text.map(|text| text.parse()).transpose())?;
        let contact = ContactRecord {
            account,
            name: row.get(1)?,
            phone: phone.map(|phone| (phone, checked_at)),
            verified: row.get(4)?,
            closed: row.get(5)?,
            heard: row.get(6)?,
            block: (row.get(7)?, row.time(8)?),
            list: device_lists::get(db, account)?,
        };
        parts.push(&Record::Contact(Box::new(contact)));
    }
    Ok(())
}

/// What was written to a number, and not to an account, in the order of writing.
fn held_for(db: &Connection, change: &KeyChange) -> Stored<Vec<HeldRecord>> {
    let lane = Lane { chat: change.old_account.into(), class: LaneClass::Messages };
    let mut held = Vec::new();
    for row in outbox::unsealed(db, lane)?.into_iter().filter(|row| !row.to_account) {
        let Some(message) = row.message else { continue };
        let message = stored_messages::own_by_seq(db, message)?;
        let (id, sent_at, text) = (message.id, message.sent_at, message.text);
        held.push(HeldRecord { id, old_account: change.old_account, sent_at, text });
    }
    Ok(held)
}

fn chats(db: &Connection, parts: &mut Parts) -> Stored<()> {
    let mut statement = db.prepare("SELECT id, kind, read_up_to FROM chat ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let chat = row.chat(0)?;
        let chat = ChatRecord { chat, read_up_to: row.stamp(2)?, peer_reads: peer_reads(db, chat)? };
        parts.push(&Record::Chat(chat));
    }
    Ok(())
}

fn peer_reads(db: &Connection, chat: ChatId) -> Stored<Vec<(DeviceAddress, Stamp, Timestamp)>> {
    let mut statement = db.prepare_cached(
        "SELECT account, device, up_to, at FROM peer_read WHERE chat = ?1 ORDER BY account, device",
    )?;
    let rows = statement.query_map([chat.as_bytes()], |row| {
        let by = DeviceAddress::new(row.account(0)?, row.device(1)?);
        Ok((by, row.stamp(2)?.unwrap_or(Stamp::ZERO), row.time(3)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn heard(db: &Connection, parts: &mut Parts) -> Stored<()> {
    let mut statement =
        db.prepare("SELECT chat, account, device, counter FROM heard ORDER BY chat, account, device")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let sender = DeviceAddress::new(row.account(1)?, row.device(2)?);
        parts.push(&Record::Heard(HeardRecord { chat: row.get(0)?, sender, counter: row.number(3)? }));
    }
    Ok(())
}

/// Where our own counters stand: other devices of ours have heard all that was accepted.
fn own_counters(db: &Connection, me: DeviceAddress, parts: &mut Parts) -> Stored<()> {
    let mut statement = db.prepare(
        "SELECT id, coalesce((SELECT min(message.counter) - 1 FROM message
                              WHERE message.chat = chat.id AND sender = ?1 AND device = ?2 AND message.counter > 0
                                AND stamp IS NULL AND failure IS NULL), chat.counter) AS accepted
         FROM chat WHERE accepted > 0 ORDER BY id",
    )?;
    let mut rows = statement.query(params![me.account.as_bytes(), me.device.get()])?;
    while let Some(row) = rows.next()? {
        let heard = HeardRecord { chat: row.get(0)?, sender: me, counter: row.number(1)? };
        parts.push(&Record::Heard(heard));
    }
    Ok(())
}

/// Records, cut where the next one would not fit.
#[derive(Default)]
struct Parts {
    full: Vec<Part>,
    current: Part,
}

impl Parts {
    fn push(&mut self, record: &Record) {
        let record = record.encode();
        if self.current.len() + record.len() > PART_BYTES_MAX {
            self.full.push(std::mem::take(&mut self.current));
        }
        self.current.extend_from_slice(&record);
    }

    fn done(mut self) -> Vec<Part> {
        self.full.push(self.current);
        self.full
    }
}
