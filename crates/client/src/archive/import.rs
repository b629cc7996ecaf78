//! Writing an archive into the database of this device, one part at a time.
//!
//! Messages may have come before the archive did. So nothing here is taken back: a message that is known stays, the
//! lower stamp and the further state win.

use super::{
    ArchiveError, groups,
    records::{ChatRecord, ContactRecord, DeliveryRecord, HeldRecord, MessageRecord, Record},
};
use crate::{
    Fault,
    send::{content_of, encoded},
    store::{
        Columns, Stored, chats, contacts, device_lists, early_receipts, key_changes,
        key_changes::KeyChange,
        messages,
        messages::{MessageSeq, NewMessage},
        millis, number,
        outbox::{self, Lane, LaneClass},
    },
};
use rusqlite::{Connection, OptionalExtension, params};
use seal::{Body, Content, Text};
use signed::Succession;
use std::collections::BTreeMap;
use types::{ChatId, DeviceAddress, PhoneNumber, Stamp, Timestamp};

/// Where an archive is written.
pub(crate) struct Import<'a> {
    pub(crate) db: &'a Connection,
    /// This device. Messages of an earlier life of its number keep no counter: counters begin anew with a life.
    pub(crate) me: DeviceAddress,
    pub(crate) now: Timestamp,
}

/// What came of one part.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) messages: u64,
    /// Where the counters of others stood when the archive was cut. For a device that was linked then they hold; for
    /// one that was restored later they say nothing, because what followed went to another device.
    pub(crate) heard: Vec<(ChatId, DeviceAddress, u64)>,
}

/// A part was not imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<rusqlite::Error> for ImportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(error.into())
    }
}

type Imported<T> = Result<T, ImportError>;

impl Import<'_> {
    /// Imports one part.
    pub(crate) fn part(&self, mut part: &[u8]) -> Imported<Read> {
        let mut read = Read::default();
        let mut chats = self.chats()?;
        while !part.is_empty() {
            match Record::take(&mut part)? {
                Record::Beginning(beginning) if beginning.account != self.me.account => {
                    return Err(ArchiveError::Damaged.into());
                }
                Record::Beginning(_) | Record::Account(_) | Record::Unknown => {}
                Record::Contact(contact) => self.contact(&contact)?,
                Record::Chat(chat) => {
                    self.chat(&chat)?;
                    chats.insert(*chat.chat.as_bytes(), chat.chat);
                }
                Record::KeyChange(change) => self.key_change(&change)?,
                Record::Held(held) => self.held(&held)?,
                Record::Heard(heard) => {
                    let known = chats.get(&heard.chat).filter(|_| heard.sender != self.me);
                    read.heard.extend(known.map(|chat| (*chat, heard.sender, heard.counter)));
                }
                record @ (Record::Group { .. }
                | Record::GroupOperation { .. }
                | Record::RemovedDevice { .. }) => groups::import(self.db, self.me.account, &record)?,
                // Messages of chats that this version does not know have no place.
                Record::Message(message) if !chats.contains_key(&message.chat) => {}
                Record::Message(message) => {
                    self.message(&message)?;
                    read.messages += 1;
                }
            }
        }
        Ok(read)
    }

    fn chats(&self) -> Stored<BTreeMap<[u8; 16], ChatId>> {
        let mut statement = self.db.prepare("SELECT id, kind FROM chat")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.chat(0)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn contact(&self, contact: &ContactRecord) -> Stored<()> {
        let account = contact.account;
        self.db
            .prepare_cached(
                "INSERT INTO contact (account, name, verified, closed, heard) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (account) DO UPDATE SET
                   name = coalesce(name, excluded.name), verified = max(verified, excluded.verified),
                   closed = max(closed, excluded.closed), heard = max(heard, excluded.heard)",
            )?
            .execute(params![
                account.as_bytes(),
                contact.name,
                contact.verified,
                contact.closed,
                contact.heard
            ])?;
        let (blocked, decided_at) = contact.block;
        contacts::decide_block(self.db, account, blocked, decided_at)?;
        if let Some((phone, checked_at)) = &contact.phone
            && !self.is_checked_since(contact, phone, *checked_at)?
        {
            contacts::set_number(self.db, phone, account, *checked_at)?;
        }
        let Some(list) = &contact.list else { return Ok(()) };
        let newer = match device_lists::get(self.db, account)? {
            None => true,
            Some(known) => list.successor_of(&known) == Ok(Succession::Newer),
        };
        if newer { device_lists::put(self.db, list, self.now) } else { Ok(()) }
    }

    /// A number that had moved, which the person has not accepted: here, too, unless more is known of it.
    fn key_change(&self, change: &KeyChange) -> Stored<()> {
        let is_news = contacts::last_account_of(self.db, &change.phone)? == Some(change.old_account)
            && key_changes::of_phone(self.db, &change.phone)?.is_none();
        if is_news {
            contacts::ensure(self.db, change.account)?;
            key_changes::put(self.db, change, self.now)?;
        }
        Ok(())
    }

    /// What waited for that waits here, too. Whoever got it from the device that wrote it knows its id.
    fn held(&self, held: &HeldRecord) -> Stored<()> {
        if key_changes::of_old_account(self.db, held.old_account)?.is_none() {
            return Ok(());
        }
        let chat = ChatId::Direct(held.old_account);
        chats::ensure(self.db, self.me.account, chat)?;
        let counter = chats::next_counter(self.db, chat)?;
        let message = NewMessage {
            id: held.id,
            chat,
            sender: self.me,
            counter,
            sent_at: held.sent_at,
            stamp: None,
            text: &held.text,
            envelope: None,
        };
        let Some(seq) = messages::insert_new(self.db, &message)? else { return Ok(()) };
        let body = Body::Text(Text::from(held.text.as_str()));
        let content = Content { counter, ..content_of(self.me, chat, held.id, held.sent_at, body) };
        outbox::push(self.db, Lane { chat, class: LaneClass::Messages }, Some(seq), &encoded(&content)?)?;
        Ok(())
    }

    /// Whether this device has looked up the number, or another one of the account, later than the archive's writer.
    fn is_checked_since(&self, contact: &ContactRecord, phone: &PhoneNumber, at: Timestamp) -> Stored<bool> {
        let mut statement = self
            .db
            .prepare_cached("SELECT 1 FROM number WHERE (phone = ?1 OR account = ?2) AND checked_at >= ?3")?;
        Ok(statement.exists(params![phone.e164(), contact.account.as_bytes(), millis(at)])?)
    }

    fn chat(&self, chat: &ChatRecord) -> Stored<()> {
        let (kind, conversation) = match chat.chat {
            ChatId::Direct(account) => {
                contacts::ensure(self.db, account)?;
                (0, *signed::direct_conversation(self.me.account, account).as_bytes())
            }
            ChatId::Group(group) => (1, *group.as_bytes()),
        };
        let id = chat.chat.as_bytes();
        self.db
            .prepare_cached("INSERT OR IGNORE INTO chat (id, conversation, kind) VALUES (?1, ?2, ?3)")?
            .execute(params![id, conversation, kind])?;
        self.db
            .prepare_cached(
                "UPDATE chat SET read_up_to = ?2 WHERE id = ?1 AND (read_up_to IS NULL OR read_up_to < ?2)",
            )?
            .execute(params![id, chat.read_up_to.map(Stamp::to_bytes)])?;
        let mut statement = self.db.prepare_cached(
            "INSERT INTO peer_read (chat, account, device, up_to, at, marked) VALUES (?1, ?2, ?3, ?4, ?5, ?4)
             ON CONFLICT (chat, account, device) DO UPDATE SET up_to = excluded.up_to, at = excluded.at
             WHERE up_to < excluded.up_to",
        )?;
        for (by, up_to, at) in &chat.peer_reads {
            let device = by.device.get();
            statement.execute(params![id, by.account.as_bytes(), device, up_to.to_bytes(), millis(*at)])?;
        }
        Ok(())
    }

    fn message(&self, message: &MessageRecord) -> Stored<()> {
        let seq = match self.insert(message)? {
            Some(seq) => seq,
            None => {
                let Some(seq) = self.lower_stamp(message)? else { return Ok(()) };
                seq
            }
        };
        if let Some(epoch) = message.group_epoch {
            messages::learn_group_epoch(self.db, MessageSeq(seq), epoch)?;
        }
        message.deliveries.iter().try_for_each(|delivery| self.delivery(seq, delivery))?;
        if message.sender.account == self.me.account { self.settle_receipts(message, seq) } else { Ok(()) }
    }

    /// What devices have said since the archive was written may have come before the message.
    fn settle_receipts(&self, message: &MessageRecord, seq: i64) -> Stored<()> {
        let seq = MessageSeq(seq);
        for early in early_receipts::take(self.db, message.id)? {
            if early.chat == message.chat {
                messages::set_delivered(self.db, seq, early.by, early.at)?;
            }
        }
        let own = messages::own_by_seq(self.db, seq)?;
        for (by, up_to, at) in chats::peer_reads(self.db, own.chat)? {
            if own.stamp.is_some_and(|stamp| stamp <= up_to) {
                messages::set_read(self.db, seq, by, at)?;
            }
        }
        Ok(())
    }

    /// None: it is known.
    fn insert(&self, message: &MessageRecord) -> Stored<Option<i64>> {
        let db = self.db;
        let counter = if message.sender == self.me { 0 } else { message.counter };
        let new = db
            .prepare_cached(
                "INSERT OR IGNORE INTO message (id, chat, sender, device, counter, sent_at, stamp, text, failure)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                message.id.as_bytes(),
                message.chat,
                message.sender.account.as_bytes(),
                message.sender.device.get(),
                number(counter),
                millis(message.sent_at),
                message.stamp.map(Stamp::to_bytes),
                message.text,
                message.failure
            ])?;
        Ok((new > 0).then(|| db.last_insert_rowid()))
    }

    fn lower_stamp(&self, message: &MessageRecord) -> Stored<Option<i64>> {
        let db = self.db;
        let mut statement = db.prepare_cached("SELECT seq FROM message WHERE sender = ?1 AND id = ?2")?;
        let key = params![message.sender.account.as_bytes(), message.id.as_bytes()];
        let Some(seq) = statement.query_row(key, |row| row.get(0)).optional()? else { return Ok(None) };
        if let Some(stamp) = message.stamp {
            messages::lower_stamp(db, MessageSeq(seq), stamp)?;
        }
        Ok(Some(seq))
    }

    fn delivery(&self, seq: i64, delivery: &DeliveryRecord) -> Stored<()> {
        self.db
            .prepare_cached(
                "INSERT INTO delivery (message, account, device, delivered_at, read_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (message, account, device) DO UPDATE SET
                   delivered_at = coalesce(delivered_at, excluded.delivered_at),
                   read_at = coalesce(read_at, excluded.read_at)",
            )?
            .execute(params![
                seq,
                delivery.by.account.as_bytes(),
                delivery.by.device.get(),
                delivery.delivered_at.map(millis),
                delivery.read_at.map(millis)
            ])?;
        Ok(())
    }
}
