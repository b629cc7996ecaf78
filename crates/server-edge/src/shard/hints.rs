//! Signals for sessions of a shard, and the rows that hints bring: those of one turn share frames.
//!
//! One commit of the store answers many senders at once, so that several hints for one device arrive
//! together. In one frame they cost one write here, one acknowledgement from the device, and one job of
//! the store instead of many.

use super::{Shard, find};
use crate::{
    inbox::Key,
    session::{Effect, Event},
};
use server_ports::Signal;
use std::mem;
use types::limits;
use wire::{Delivery, Push, ServerFrame};

impl Shard {
    /// Gives a signal to a connection's session; rows to deliver wait for [`Shard::deliver_hinted`].
    pub(super) fn signal(&mut self, key: Key, signal: Signal) {
        let mut effects = mem::take(&mut self.buffers.effects);
        let entry = find(&mut self.entries, key);
        if let Some(session) = entry.and_then(|entry| entry.session.as_mut()) {
            session.handle(Event::Signal(signal), self.now, &self.shared.limits.session, &mut effects);
        }
        let hinted = &mut self.buffers.hinted;
        effects.retain_mut(|effect| match effect {
            Effect::Write(ServerFrame::Push(Push::Deliver(rows))) => {
                hinted.extend(rows.drain(..).map(|row| (key, row)));
                false
            }
            _ => true,
        });
        self.buffers.effects = effects;
        self.effects(key);
    }

    /// Writes the rows that the hints of this turn brought.
    pub(super) fn deliver_hinted(&mut self) {
        let mut hinted = mem::take(&mut self.buffers.hinted);
        // A stable order: the rows of one device stay in theirs.
        hinted.sort_by_key(|(key, _)| key.slot);
        let (mut rows, mut bytes): (Vec<Delivery>, usize) = (Vec::new(), 0);
        let mut hinted_rows = hinted.drain(..).peekable();
        while let Some((key, row)) = hinted_rows.next() {
            bytes += row.envelope.len();
            rows.push(row);
            let fits = |(next, row): &(Key, Delivery)| {
                *next == key
                    && rows.len() < limits::DELIVER_ENVELOPES_MAX
                    && bytes + row.envelope.len() <= limits::DELIVER_BYTES_MAX
            };
            if !hinted_rows.peek().is_some_and(fits) {
                self.write(key, &ServerFrame::Push(Push::Deliver(mem::take(&mut rows))));
                self.wants_flush(key);
                bytes = 0;
            }
        }
        drop(hinted_rows);
        self.buffers.hinted = hinted;
    }
}
