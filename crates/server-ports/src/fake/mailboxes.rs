//! Mailboxes in memory: as one machine's store, or as a fleet's.

use super::{Bug, Bugs, FakeClock, Faults, Setup, lock};
use crate::{
    Mailboxes, StoreError,
    mailboxes::{
        Append, AppendError, Appended, NewRow, Page, PageLimit, Placed, RecordedSend, Row, WhenFull,
    },
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Mutex,
};
use types::{EnvelopeId, MailboxId, Millis, NodeId, Position, Timestamp, limits};

/// How far a fleet's cursor stays behind the present.
const FLEET_CURSOR_BEHIND: Millis = Millis::from_secs(60);
/// The most rows that one call of `expire` deletes.
const EXPIRED_ROWS_MAX: usize = 1_000;

/// Whose store is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One committer: positions follow the order of commits, rows are visible at once, acks ride with
    /// the next commit.
    Solo,
    /// Replicas: rows and records become visible late and out of order, the row before is not known,
    /// cursors stay a minute behind.
    Fleet,
}

/// The fake. One instance is shared by all nodes of a world.
#[derive(Debug)]
pub struct FakeMailboxes {
    mode: Mode,
    clock: FakeClock,
    faults: Faults,
    bugs: Bugs,
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    poisoned: bool,
    mailboxes: BTreeMap<MailboxId, Mailbox>,
    senders: BTreeMap<MailboxId, Sends>,
    reserved: BTreeMap<NodeId, u64>,
    /// The highest sequence number that a closed mailbox ever gave: no mailbox that is opened later
    /// starts below, so that a position is not used twice in one that is opened again.
    closed_at: u64,
    /// Acks that no commit carried yet.
    acks_queued: BTreeSet<(MailboxId, Position)>,
    /// Rows of the newest append, for [`Bug::AppendNotSynced`].
    newest: Vec<(MailboxId, Position)>,
    rows_written: u32,
}

#[derive(Debug)]
struct Mailbox {
    /// The sequence number before the first row's.
    start: u64,
    /// The sequence number given last.
    last: u64,
    bytes: u64,
    rows: BTreeMap<Position, StoredRow>,
}

/// A row as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    head: Bytes,
    body: Bytes,
    /// When it is gone.
    pub expires_at: Timestamp,
    /// From when on reads see it.
    pub visible_at: Timestamp,
}

impl StoredRow {
    /// What is delivered: head, then body.
    pub fn envelope(&self) -> Bytes {
        [&self.head[..], &self.body[..]].concat().into()
    }

    fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

#[derive(Debug, Default)]
struct Sends {
    /// Oldest first.
    order: VecDeque<EnvelopeId>,
    records: BTreeMap<EnvelopeId, Record>,
}

#[derive(Debug)]
struct Record {
    send: RecordedSend,
    placed: Vec<Placed>,
    visible_at: Timestamp,
}

impl FakeMailboxes {
    /// An empty store.
    pub fn new(mode: Mode, setup: &Setup) -> Self {
        Self {
            mode,
            clock: setup.clock.clone(),
            faults: Faults::new(setup.plan.clone(), 0),
            bugs: setup.bugs.clone(),
            store: Mutex::default(),
        }
    }

    /// The faults, to be changed or ended.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The machine loses power and comes back: what was acknowledged stays, queued acks are gone.
    pub fn power_cut(&self) {
        let store = &mut *lock(&self.store);
        store.acks_queued.clear();
        if self.bugs.has(Bug::AppendNotSynced) {
            for (mailbox, position) in std::mem::take(&mut store.newest) {
                store.delete(mailbox, position);
            }
        }
        store.poisoned = false;
    }

    /// The disk fails: every call answers so until [`FakeMailboxes::power_cut`].
    pub fn poison(&self) {
        lock(&self.store).poisoned = true;
    }

    /// Every row of every mailbox, visible or not, without those whose ack is queued.
    pub fn rows(&self) -> Vec<(MailboxId, Position, StoredRow)> {
        let store = lock(&self.store);
        let rows = store.mailboxes.iter().flat_map(|(id, mailbox)| {
            mailbox.rows.iter().map(|(position, row)| (*id, *position, row.clone()))
        });
        rows.filter(|(id, position, _)| !store.acks_queued.contains(&(*id, *position))).collect()
    }

    /// The mailboxes that are open.
    pub fn open_mailboxes(&self) -> Vec<MailboxId> {
        lock(&self.store).mailboxes.keys().copied().collect()
    }

    async fn write<T>(&self, act: impl FnOnce(&mut Store) -> T + Send) -> Result<T, StoreError> {
        self.faults.before(&self.clock).await?;
        let answer = {
            let mut store = self.healthy()?;
            store.flush_acks();
            act(&mut store)
        };
        self.faults.after(&self.clock).await?;
        Ok(answer)
    }

    fn healthy(&self) -> Result<std::sync::MutexGuard<'_, Store>, StoreError> {
        let store = lock(&self.store);
        match store.poisoned {
            true => Err(StoreError::Poisoned("an injected fault".to_owned())),
            false => Ok(store),
        }
    }

    fn visible_from(&self, late: impl Fn(&super::FaultPlan) -> super::PerMille) -> Timestamp {
        let now = self.clock.true_now();
        match self.mode {
            Mode::Fleet if self.faults.strikes(late) => now + self.faults.up_to(|plan| plan.late_max),
            _ => now,
        }
    }

    fn try_append(&self, store: &mut Store, append: &Append) -> Result<Appended, AppendError> {
        if let Some(record) = store.record(append.sender, append.envelope_id, self.clock.true_now()) {
            return record.answer_repeat(append);
        }
        let mut plan = store.plan(append)?;
        store.newest.clear();
        for (at, (row, placed)) in append.rows.iter().zip(&mut plan).enumerate() {
            if matches!(placed, Placed::At { .. }) {
                let lost = at > 0 && self.bugs.has(Bug::AllOrNoneBroken);
                *placed = self.place(store, row, lost);
            }
        }
        if !self.bugs.has(Bug::RecordForgotten) {
            let record = Record {
                send: RecordedSend { stamp: append.stamp, digest: append.digest },
                placed: plan.iter().map(|placed| placed.on_repeat()).collect(),
                visible_at: self.visible_from(|plan| plan.record_late),
            };
            store.remember(append.sender, append.envelope_id, record);
        }
        Ok(Appended { stamp: append.stamp, repeat: false, placed: plan })
    }

    fn place(&self, store: &mut Store, row: &NewRow, lost: bool) -> Placed {
        store.rows_written = store.rows_written.wrapping_add(1);
        let arrival = store.rows_written;
        let mailbox = store.mailboxes.get_mut(&row.to).expect("only rows of open mailboxes are placed");
        let reused = self.bugs.has(Bug::PositionReused) && mailbox.rows.is_empty();
        let previous = mailbox.highest();
        mailbox.last = if reused { mailbox.start + 1 } else { mailbox.last + 1 };
        let (position, previous) = match self.mode {
            Mode::Solo => (Position::from_u128(mailbox.last.into()), Some(previous)),
            Mode::Fleet if reused => (Position::from_u128(mailbox.last.into()), None),
            Mode::Fleet => (fleet_position(self.clock.true_now(), self.faults.number(), arrival), None),
        };
        if !lost {
            let stored = StoredRow {
                head: row.head.clone(),
                body: row.body.clone(),
                expires_at: row.expires_at,
                visible_at: self.visible_from(|plan| plan.row_late),
            };
            mailbox.bytes += stored.size() as u64;
            mailbox.rows.insert(position, stored);
            store.newest.push((row.to, position));
        }
        Placed::At { position, previous }
    }

    fn page(&self, store: &Store, id: MailboxId, after: Position, limit: PageLimit) -> Page {
        let mut page = Page { rows: Vec::new(), cursor: Position::ZERO, complete: true };
        let Some(mailbox) = store.mailboxes.get(&id) else { return page };
        let visible = mailbox.rows.range((Bound::Excluded(after), Bound::Unbounded)).filter(|(at, row)| {
            row.visible_at <= self.clock.true_now()
                && !self.expired(row, limit.now)
                && !store.acks_queued.contains(&(id, **at))
        });
        let mut bytes = 0;
        for (position, row) in visible {
            bytes += row.size();
            if !page.rows.is_empty() && (page.rows.len() >= limit.rows || bytes > limit.bytes) {
                page.complete = false;
                break;
            }
            page.rows.push(Row { position: *position, envelope: row.envelope() });
        }
        let last = page.rows.last().map_or(after, |row| row.position);
        let seen = match (self.mode, page.complete) {
            (_, false) => last,
            (Mode::Solo, true) => mailbox.highest(),
            (Mode::Fleet, true) if self.bugs.has(Bug::CursorSkipsLateRow) => last,
            (Mode::Fleet, true) => Position::from_u128(u128::MAX),
        };
        page.cursor = match self.mode {
            Mode::Fleet if !self.bugs.has(Bug::CursorSkipsLateRow) => {
                seen.min(fleet_floor(self.clock.true_now()))
            }
            _ => seen,
        };
        page
    }

    fn expired(&self, row: &StoredRow, now: Timestamp) -> bool {
        if self.bugs.has(Bug::ImmortalRow) {
            return false;
        }
        if self.bugs.has(Bug::EarlyExpiry) {
            return now >= row.expires_at - Millis(limits::ENVELOPE_LIFE.0 / 2);
        }
        now >= row.expires_at
    }
}

/// A row's arrival makes positions of one instant differ; the random part puts them in any order.
fn fleet_position(now: Timestamp, random: u32, arrival: u32) -> Position {
    let instant = u128::from(now.as_millis()) << 64;
    Position::from_u128(instant | u128::from(random) << 32 | u128::from(arrival))
}

fn fleet_floor(now: Timestamp) -> Position {
    Position::from_u128(u128::from((now - FLEET_CURSOR_BEHIND).as_millis()) << 64)
}

impl Mailbox {
    fn highest(&self) -> Position {
        match self.last > self.start {
            true => Position::from_u128(self.last.into()),
            false => Position::ZERO,
        }
    }
}

impl Record {
    fn answer_repeat(&self, append: &Append) -> Result<Appended, AppendError> {
        if self.send.digest != append.digest {
            return Err(AppendError::Conflict);
        }
        Ok(Appended { stamp: self.send.stamp, repeat: true, placed: self.placed.clone() })
    }
}

impl Store {
    /// The record of a send, should it be visible by now.
    fn record(&self, sender: MailboxId, envelope: EnvelopeId, now: Timestamp) -> Option<&Record> {
        self.senders.get(&sender)?.records.get(&envelope).filter(|record| record.visible_at <= now)
    }

    fn remember(&mut self, sender: MailboxId, envelope: EnvelopeId, mut record: Record) {
        let sends = self.senders.entry(sender).or_default();
        match sends.records.get(&envelope) {
            // Two nodes wrote the same send: the lowest stamp is the one that everybody ends up with.
            Some(earlier) => {
                record.send.stamp = record.send.stamp.min(earlier.send.stamp);
                // What the first has written is visible when it would have been without the second.
                record.visible_at = record.visible_at.min(earlier.visible_at);
            }
            None => sends.order.push_back(envelope),
        }
        sends.records.insert(envelope, record);
        if sends.order.len() > limits::SENDS_RECORDED_MAX
            && let Some(oldest) = sends.order.pop_front()
        {
            sends.records.remove(&oldest);
        }
    }

    /// Decides for each row; positions are still to be given.
    fn plan(&self, append: &Append) -> Result<Vec<Placed>, AppendError> {
        let mut added: BTreeMap<MailboxId, (u64, u64)> = BTreeMap::new();
        let mut full = Vec::new();
        let mut plan = Vec::with_capacity(append.rows.len());
        for row in &append.rows {
            let Some(mailbox) = self.mailboxes.get(&row.to) else {
                plan.push(Placed::Closed);
                continue;
            };
            let size = (row.head.len() + row.body.len()) as u64;
            let (rows, bytes) = added.entry(row.to).or_default();
            let fits = mailbox.rows.len() as u64 + *rows < limits::MAILBOX_ROWS_MAX
                && mailbox.bytes + *bytes + size <= limits::MAILBOX_BYTES_MAX;
            if fits {
                (*rows, *bytes) = (*rows + 1, *bytes + size);
                plan.push(Placed::At { position: Position::ZERO, previous: None });
            } else {
                if !full.contains(&row.to) {
                    full.push(row.to);
                }
                plan.push(Placed::Full);
            }
        }
        match append.when_full {
            WhenFull::Refuse if !full.is_empty() => Err(AppendError::Full(full)),
            _ => Ok(plan),
        }
    }

    fn delete(&mut self, id: MailboxId, position: Position) {
        if let Some(mailbox) = self.mailboxes.get_mut(&id)
            && let Some(row) = mailbox.rows.remove(&position)
        {
            mailbox.bytes -= row.size() as u64;
        }
    }

    fn flush_acks(&mut self) {
        for (mailbox, position) in std::mem::take(&mut self.acks_queued) {
            self.delete(mailbox, position);
        }
    }
}

#[async_trait::async_trait]
impl Mailboxes for FakeMailboxes {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.write(|store| self.try_append(store, &append)).await?
    }

    async fn recorded(
        &self,
        sender: MailboxId,
        envelope_id: EnvelopeId,
    ) -> Result<Option<RecordedSend>, StoreError> {
        self.faults.before(&self.clock).await?;
        Ok(self.healthy()?.record(sender, envelope_id, self.clock.true_now()).map(|record| record.send))
    }

    async fn read(&self, mailbox: MailboxId, after: Position, limit: PageLimit) -> Result<Page, StoreError> {
        self.faults.before(&self.clock).await?;
        Ok(self.page(&*self.healthy()?, mailbox, after, limit))
    }

    async fn ack(&self, mailbox: MailboxId, positions: &[Position]) -> Result<(), StoreError> {
        self.faults.before(&self.clock).await?;
        let mut store = self.healthy()?;
        if let Some(highest) = positions.iter().max()
            && self.bugs.has(Bug::AckDeletesBelow)
            && let Some(open) = store.mailboxes.get(&mailbox)
        {
            let below: Vec<_> = open.rows.range(..=*highest).map(|(at, _)| (mailbox, *at)).collect();
            store.acks_queued.extend(below);
        }
        store.acks_queued.extend(positions.iter().map(|position| (mailbox, *position)));
        if self.mode == Mode::Fleet {
            store.flush_acks();
        }
        Ok(())
    }

    async fn open(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.write(|store| {
            let start = store.closed_at;
            let fresh = Mailbox { start, last: start, bytes: 0, rows: BTreeMap::new() };
            store.mailboxes.entry(mailbox).or_insert(fresh);
        })
        .await
    }

    async fn close(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.write(|store| {
            if let Some(closed) = store.mailboxes.remove(&mailbox) {
                store.closed_at = store.closed_at.max(closed.last);
            }
            store.senders.remove(&mailbox);
        })
        .await
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(|store| {
            let gone: Vec<_> = store
                .mailboxes
                .iter()
                .flat_map(|(id, mailbox)| mailbox.rows.iter().map(move |(at, row)| (*id, *at, row)))
                .filter(|(_, _, row)| self.expired(row, now))
                .map(|(id, at, _)| (id, at))
                .take(EXPIRED_ROWS_MAX)
                .collect();
            for (id, at) in &gone {
                store.delete(*id, *at);
            }
            gone.len() as u64
        })
        .await
    }

    async fn reserve_stamps(&self, node: NodeId, clock: u64) -> Result<(), StoreError> {
        self.write(|store| {
            let promise = store.reserved.entry(node).or_default();
            *promise = clock.max(*promise);
        })
        .await
    }

    async fn reserved_stamps(&self, node: NodeId) -> Result<u64, StoreError> {
        self.faults.before(&self.clock).await?;
        Ok(self.healthy()?.reserved.get(&node).copied().unwrap_or(0))
    }

    fn health(&self) -> Result<(), StoreError> {
        self.healthy().map(drop)
    }
}

impl Placed {
    /// What a repeat of the send answers for this row.
    pub const fn on_repeat(self) -> Self {
        match self {
            Self::At { .. } => Self::Before,
            other => other,
        }
    }
}
