//! One write transaction: everything that a batch of jobs does to the tables.

use super::{
    keys,
    schema::{
        BODIES, BODY_USERS, CLOSED_AT, COUNTERS, DAYS, LAST_BODY, MAILBOXES, ROWS, SENDERS, SENDS, STAMPS,
        Sender, State, StateTuple, StoredRow, StoredSend, day_of,
    },
};
use redb::{ReadableTable, StorageError, Table, WriteTransaction};
use std::collections::BTreeMap;
use types::{EnvelopeId, MailboxId, NodeId, Timestamp};

/// The most rows that one call of `expire` deletes: some tens of milliseconds of the committer.
const EXPIRED_ROWS_MAX: u64 = 5_000;

pub(super) type Result<T> = std::result::Result<T, redb::Error>;

/// The tables of one write transaction.
pub(super) struct Tables<'txn> {
    counters: Table<'txn, &'static str, u64>,
    stamps: Table<'txn, u16, u64>,
    mailboxes: Table<'txn, &'static [u8; keys::MAILBOX], StateTuple>,
    pub(super) rows: Table<'txn, &'static [u8; keys::NUMBERED], &'static [u8]>,
    pub(super) bodies: Table<'txn, u64, &'static [u8]>,
    pub(super) body_users: Table<'txn, u64, u32>,
    days: Table<'txn, &'static [u8; keys::DAY], ()>,
    pub(super) sends: Table<'txn, &'static [u8; keys::SEND], &'static [u8]>,
    senders: Table<'txn, &'static [u8; keys::MAILBOX], (u64, u64)>,
    /// States of mailboxes as this batch has changed them: written once, at its end.
    states: BTreeMap<[u8; keys::MAILBOX], Option<State>>,
    /// The same for senders.
    sender_states: BTreeMap<[u8; keys::MAILBOX], Option<Sender>>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self {
            counters: transaction.open_table(COUNTERS)?,
            stamps: transaction.open_table(STAMPS)?,
            mailboxes: transaction.open_table(MAILBOXES)?,
            rows: transaction.open_table(ROWS)?,
            bodies: transaction.open_table(BODIES)?,
            body_users: transaction.open_table(BODY_USERS)?,
            days: transaction.open_table(DAYS)?,
            sends: transaction.open_table(SENDS)?,
            senders: transaction.open_table(SENDERS)?,
            states: BTreeMap::new(),
            sender_states: BTreeMap::new(),
        })
    }

    /// Writes what the batch kept in memory. The transaction is ready to commit.
    pub(super) fn finish(mut self) -> Result<()> {
        for (mailbox, state) in &self.states {
            match state {
                Some(state) => drop(self.mailboxes.insert(mailbox, state.to_tuple())?),
                None => drop(self.mailboxes.remove(mailbox)?),
            }
        }
        for (key, sender) in &self.sender_states {
            match sender {
                Some(sender) => drop(self.senders.insert(key, sender.to_tuple())?),
                None => drop(self.senders.remove(key)?),
            }
        }
        Ok(())
    }

    pub(super) fn open_mailbox(&mut self, id: MailboxId) -> Result<()> {
        let key = keys::mailbox(id);
        if self.state(&key)?.is_none() {
            let start = self.counter(CLOSED_AT)?;
            self.states.insert(key, Some(State::starting_at(start)));
        }
        Ok(())
    }

    pub(super) fn close_mailbox(&mut self, id: MailboxId) -> Result<()> {
        let key = keys::mailbox(id);
        self.delete_sends(&key, u64::MAX)?;
        self.set_sender(key, None);
        let Some(state) = self.state(&key)? else { return Ok(()) };
        let closed_at = self.counter(CLOSED_AT)?.max(state.last);
        self.counters.insert(CLOSED_AT, closed_at)?;
        self.delete_rows(&key, u64::MAX, |_| true)?;
        self.unmark_days(&key)?;
        self.states.insert(key, None);
        Ok(())
    }

    pub(super) fn ack(&mut self, id: MailboxId, numbers: &[u64]) -> Result<()> {
        let key = keys::mailbox(id);
        let Some(mut state) = self.state(&key)? else { return Ok(()) };
        let mut gone = Gone::default();
        for number in numbers {
            if let Some(row) = self.rows.remove(&keys::numbered(&key, *number))? {
                gone.row(decode(row.value())?);
            }
        }
        self.release(&gone)?;
        gone.leave(&mut state);
        self.states.insert(key, Some(state));
        Ok(())
    }

    /// Deletes rows whose day has wholly passed.
    pub(super) fn expire(&mut self, now: Timestamp) -> Result<u64> {
        let today = keys::day(day_of(now), &[0; keys::MAILBOX]);
        let mut expired = 0;
        while expired < EXPIRED_ROWS_MAX {
            let first = self.days.range::<&[u8; keys::DAY]>(..&today)?.next().transpose()?;
            let Some(marker) = first.map(|(key, _)| *key.value()) else { break };
            let (day, mailbox) = keys::split_day(&marker);
            let budget = EXPIRED_ROWS_MAX - expired;
            let deleted = self.delete_rows(&mailbox, budget, |row| day_of(row.expires_at) <= day)?;
            expired += deleted;
            if deleted < budget {
                self.days.remove(&marker)?;
                self.forget_mark(&mailbox, day)?;
            }
        }
        Ok(expired)
    }

    pub(super) fn reserve_stamps(&mut self, node: NodeId, clock: u64) -> Result<()> {
        let promised = self.stamps.get(node.0)?.map_or(0, |promised| promised.value());
        if clock > promised {
            self.stamps.insert(node.0, clock)?;
        }
        Ok(())
    }

    /// The state of an open mailbox, as this batch has left it.
    pub(super) fn state(&mut self, mailbox: &[u8; keys::MAILBOX]) -> Result<Option<State>> {
        if let Some(state) = self.states.get(mailbox) {
            return Ok(*state);
        }
        Ok(self.mailboxes.get(mailbox)?.map(|state| State::from_tuple(state.value())))
    }

    pub(super) fn set_state(&mut self, mailbox: [u8; keys::MAILBOX], state: State) {
        self.states.insert(mailbox, Some(state));
    }

    /// What is known of a sender, as this batch has left it.
    pub(super) fn sender(&mut self, key: &[u8; keys::MAILBOX]) -> Result<Sender> {
        if let Some(sender) = self.sender_states.get(key) {
            return Ok(sender.unwrap_or_default());
        }
        let stored = self.senders.get(key)?.map(|sender| Sender::from_tuple(sender.value()));
        Ok(stored.unwrap_or_default())
    }

    /// `None` for a sender of whom nothing is recorded.
    pub(super) fn set_sender(&mut self, key: [u8; keys::MAILBOX], sender: Option<Sender>) {
        self.sender_states.insert(key, sender);
    }

    /// Deletes a sender's recorded sends up to a number.
    pub(super) fn delete_sends(&mut self, sender: &[u8; keys::MAILBOX], up_to: u64) -> Result<()> {
        let first = keys::send(sender, EnvelopeId::from_bytes([0; 16]));
        let last = keys::send(sender, EnvelopeId::from_bytes([0xff; 16]));
        let mut damage = false;
        self.sends.retain_in::<&[u8; keys::SEND], _>(&first..=&last, |_, send| {
            let number = StoredSend::number_of(send);
            damage |= number.is_none();
            number.is_none_or(|number| number > up_to)
        })?;
        if damage { Err(damaged("a send")) } else { Ok(()) }
    }

    /// Sees to it that rows of this mailbox that expire on this day will be found.
    pub(super) fn mark_day(
        &mut self,
        mailbox: &[u8; keys::MAILBOX],
        state: &mut State,
        day: u32,
    ) -> Result<()> {
        if state.marked_day != day {
            self.days.insert(&keys::day(day, mailbox), ())?;
            state.marked_day = state.marked_day.max(day);
        }
        Ok(())
    }

    pub(super) fn next_body(&mut self) -> Result<u64> {
        let next = self.counter(LAST_BODY)? + 1;
        self.counters.insert(LAST_BODY, next)?;
        Ok(next)
    }

    fn counter(&self, name: &str) -> Result<u64> {
        Ok(self.counters.get(name)?.map_or(0, |value| value.value()))
    }

    /// Deletes up to `budget` rows of a mailbox that `dies` names; answers how many.
    fn delete_rows(
        &mut self,
        mailbox: &[u8; keys::MAILBOX],
        budget: u64,
        dies: impl Fn(&StoredRow<'_>) -> bool,
    ) -> Result<u64> {
        let Some(mut state) = self.state(mailbox)? else { return Ok(0) };
        let mut dying = Vec::new();
        let mut gone = Gone::default();
        let all = keys::numbered(mailbox, 0)..=keys::numbered(mailbox, u64::MAX);
        for entry in self.rows.range::<&[u8; keys::NUMBERED]>(all.start()..=all.end())? {
            if gone.rows == budget {
                break;
            }
            let (key, row) = entry?;
            let row = decode(row.value())?;
            if dies(&row) {
                gone.row(row);
                dying.push(*key.value());
            }
        }
        for key in &dying {
            self.rows.remove(key)?;
        }
        self.release(&gone)?;
        gone.leave(&mut state);
        self.states.insert(*mailbox, Some(state));
        Ok(gone.rows)
    }

    /// Deletes bodies that no row has any more.
    fn release(&mut self, gone: &Gone) -> Result<()> {
        for (body, rows) in &gone.bodies {
            let users = self.body_users.get(body)?.map_or(0, |users| users.value());
            if users > *rows {
                self.body_users.insert(body, users - rows)?;
            } else {
                self.body_users.remove(body)?;
                self.bodies.remove(body)?;
            }
        }
        Ok(())
    }

    /// Removes a mailbox's entries in `days`, hopping from day to day: there are few days.
    fn unmark_days(&mut self, mailbox: &[u8; keys::MAILBOX]) -> Result<()> {
        let mut from = 0;
        loop {
            let start = keys::day(from, &[0; keys::MAILBOX]);
            let next = self.days.range::<&[u8; keys::DAY]>(&start..)?.next().transpose()?;
            let Some((day, _)) = next.map(|(key, _)| keys::split_day(key.value())) else { return Ok(()) };
            self.days.remove(&keys::day(day, mailbox))?;
            match day.checked_add(1) {
                Some(after) => from = after,
                None => return Ok(()),
            }
        }
    }

    /// The entry of this day is gone; a row that expires on it would need a new one.
    fn forget_mark(&mut self, mailbox: &[u8; keys::MAILBOX], day: u32) -> Result<()> {
        if let Some(mut state) = self.state(mailbox)?
            && state.marked_day == day
        {
            state.marked_day = 0;
            self.states.insert(*mailbox, Some(state));
        }
        Ok(())
    }
}

/// What a few deleted rows leave behind.
#[derive(Default)]
struct Gone {
    rows: u64,
    bytes: u64,
    /// How many of the rows had which body.
    bodies: BTreeMap<u64, u32>,
}

impl Gone {
    fn row(&mut self, row: StoredRow<'_>) {
        self.rows += 1;
        self.bytes += u64::from(row.size);
        if row.body != 0 {
            *self.bodies.entry(row.body).or_default() += 1;
        }
    }

    fn leave(&self, state: &mut State) {
        state.rows = state.rows.saturating_sub(self.rows);
        state.bytes = state.bytes.saturating_sub(self.bytes);
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<StoredRow<'_>> {
    StoredRow::decode(bytes).ok_or_else(|| damaged("a row"))
}

/// Bytes that no version of this program wrote.
pub(super) fn damaged(what: &str) -> redb::Error {
    StorageError::Corrupted(format!("{what} cannot be read")).into()
}
