//! An append within a write transaction: look at everything, decide, write.

use super::{
    keys,
    schema::{Exception, State, StoredRow, StoredSend, day_of, position},
    writing::{Result, Tables, damaged},
};
use redb::ReadableTable;
use server_ports::mailboxes::{Append, AppendError, Appended, NewRow, Placed, WhenFull};
use std::collections::BTreeMap;
use types::{EnvelopeId, MailboxId, limits};

/// Shorter bodies are written into each row: an entry of their own would cost more.
const SHARED_BODY_BYTES_MIN: usize = 128;

/// Forgotten sends of one sender that wait to be deleted: enough to share pages, few enough to be
/// deleted between two commits.
const FORGOTTEN_SENDS_MAX: u64 = 128;

/// What becomes of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Write,
    Except(Exception),
}

impl Tables<'_> {
    /// The outer error is the store's, the inner one the sender's.
    pub(super) fn append(&mut self, append: &Append) -> Result<std::result::Result<Appended, AppendError>> {
        let sender = keys::mailbox(append.sender);
        if let Some(recorded) = self.recorded(&sender, append.envelope_id)? {
            return Ok(answer_repeat(&recorded, append));
        }
        let decisions = match self.decide(append)? {
            Ok(decisions) => decisions,
            Err(full) => return Ok(Err(AppendError::Full(full))),
        };
        let placed = self.write_rows(&append.rows, &decisions)?;
        self.record(&sender, append, &decisions)?;
        Ok(Ok(Appended { stamp: append.stamp, repeat: false, placed }))
    }

    fn recorded(&mut self, sender: &[u8; keys::MAILBOX], envelope: EnvelopeId) -> Result<Option<StoredSend>> {
        let Some(bytes) = self.sends.get(&keys::send(sender, envelope))? else { return Ok(None) };
        let send = StoredSend::decode(bytes.value()).ok_or_else(|| damaged("a send"))?;
        drop(bytes);
        Ok((send.number > self.sender(sender)?.forgotten()).then_some(send))
    }

    /// Decides for each row; the inner error names the full mailboxes of a send that takes all or none.
    fn decide(&mut self, append: &Append) -> Result<std::result::Result<Vec<Decision>, Vec<MailboxId>>> {
        // Rows and bytes that earlier rows of this send add to each mailbox.
        let mut added: BTreeMap<MailboxId, (u64, u64)> = BTreeMap::new();
        let mut full = Vec::new();
        let mut decisions = Vec::with_capacity(append.rows.len());
        for row in &append.rows {
            let Some(state) = self.state(&keys::mailbox(row.to))? else {
                decisions.push(Decision::Except(Exception::Closed));
                continue;
            };
            let (rows, bytes) = added.entry(row.to).or_default();
            let size = (row.head.len() + row.body.len()) as u64;
            let fits = state.rows + *rows < limits::MAILBOX_ROWS_MAX
                && state.bytes + *bytes + size <= limits::MAILBOX_BYTES_MAX;
            if fits {
                (*rows, *bytes) = (*rows + 1, *bytes + size);
                decisions.push(Decision::Write);
            } else {
                if !full.contains(&row.to) {
                    full.push(row.to);
                }
                decisions.push(Decision::Except(Exception::Full));
            }
        }
        match append.when_full {
            WhenFull::Refuse if !full.is_empty() => Ok(Err(full)),
            _ => Ok(Ok(decisions)),
        }
    }

    fn write_rows(&mut self, rows: &[NewRow], decisions: &[Decision]) -> Result<Vec<Placed>> {
        let bodies = self.write_shared_bodies(rows, decisions)?;
        let mut placed = Vec::with_capacity(rows.len());
        for (row, decision) in rows.iter().zip(decisions) {
            placed.push(match decision {
                Decision::Write => self.write_row(row, bodies.get(&place_of(row)).copied())?,
                Decision::Except(Exception::Closed) => Placed::Closed,
                Decision::Except(Exception::Full) => Placed::Full,
            });
        }
        Ok(placed)
    }

    /// Writes each body that several rows have in common once; answers their numbers by their place
    /// in memory.
    fn write_shared_bodies(
        &mut self,
        rows: &[NewRow],
        decisions: &[Decision],
    ) -> Result<BTreeMap<Place, u64>> {
        let mut users: BTreeMap<Place, (u32, &NewRow)> = BTreeMap::new();
        for (row, decision) in rows.iter().zip(decisions) {
            if *decision == Decision::Write && row.body.len() >= SHARED_BODY_BYTES_MIN {
                users.entry(place_of(row)).or_insert((0, row)).0 += 1;
            }
        }
        let mut bodies = BTreeMap::new();
        for (place, (users, row)) in users.into_iter().filter(|(_, (users, _))| *users > 1) {
            let body = self.next_body()?;
            self.bodies.insert(body, &row.body[..])?;
            self.body_users.insert(body, users)?;
            bodies.insert(place, body);
        }
        Ok(bodies)
    }

    fn write_row(&mut self, row: &NewRow, body: Option<u64>) -> Result<Placed> {
        let mailbox = keys::mailbox(row.to);
        let mut state = self.state(&mailbox)?.ok_or_else(|| damaged("a mailbox"))?;
        let previous = state.highest();
        let size = row.head.len() + row.body.len();
        state =
            State { last: state.last + 1, rows: state.rows + 1, bytes: state.bytes + size as u64, ..state };
        let stored = StoredRow {
            expires_at: row.expires_at,
            body: body.unwrap_or(0),
            // A row is far below 4 GiB: the socket takes a mebibyte at a time.
            size: u32::try_from(size).map_err(|_| damaged("a row of 4 GiB"))?,
            head: &row.head,
        };
        let inline: &[u8] = if body.is_some() { &[] } else { &row.body };
        self.rows.insert(&keys::numbered(&mailbox, state.last), &stored.encode(inline)[..])?;
        self.mark_day(&mailbox, &mut state, day_of(row.expires_at))?;
        self.set_state(mailbox, state);
        Ok(Placed::At { position: position(state.last), previous: Some(previous) })
    }

    /// Records the send, and now and then deletes what is forgotten.
    fn record(&mut self, key: &[u8; keys::MAILBOX], append: &Append, decisions: &[Decision]) -> Result<()> {
        let mut sender = self.sender(key)?;
        sender.last += 1;
        let exceptions = (0_u32..).zip(decisions).filter_map(|(place, decision)| match decision {
            Decision::Write => None,
            Decision::Except(exception) => Some((place, *exception)),
        });
        let stored = StoredSend {
            number: sender.last,
            stamp: append.stamp,
            digest: append.digest,
            exceptions: exceptions.collect(),
        };
        self.sends.insert(&keys::send(key, append.envelope_id), &stored.encode()[..])?;
        if sender.forgotten() >= sender.deleted + FORGOTTEN_SENDS_MAX {
            self.delete_sends(key, sender.forgotten())?;
            sender.deleted = sender.forgotten();
        }
        self.set_sender(*key, Some(sender));
        Ok(())
    }
}

/// Where a body is in memory: clones of one `Bytes` are at one place.
type Place = (usize, usize);

fn place_of(row: &NewRow) -> Place {
    (row.body.as_ptr().addr(), row.body.len())
}

fn answer_repeat(recorded: &StoredSend, append: &Append) -> std::result::Result<Appended, AppendError> {
    if recorded.digest != append.digest {
        return Err(AppendError::Conflict);
    }
    let mut placed = vec![Placed::Before; append.rows.len()];
    for (place, exception) in &recorded.exceptions {
        if let Some(row) = placed.get_mut(*place as usize) {
            *row = match exception {
                Exception::Closed => Placed::Closed,
                Exception::Full => Placed::Full,
            };
        }
    }
    Ok(Appended { stamp: recorded.stamp, repeat: true, placed })
}
