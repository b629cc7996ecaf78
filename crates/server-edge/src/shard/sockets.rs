//! Connections of a shard and their sockets: accepted, read, flushed, let go.

use super::{
    READ_BYTES, READS_A_TURN, Shard,
    entry::{Entry, Stage},
    find,
};
use crate::{
    connection::{Connection, Event as Received, Flushed},
    inbox::{Accepted, Key},
    session::Event,
};
use mio::{Interest, Token};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    mem,
    net::Shutdown,
    sync::atomic::Ordering,
};

impl Shard {
    pub(super) fn accept(&mut self, accepted: Accepted) {
        if self.stopping.is_some() {
            return;
        }
        let Ok(security) = self.shared.security.accept() else { return };
        let slot = self.entries.vacant_key();
        self.generation = self.generation.wrapping_add(1);
        let Ok(key) = u32::try_from(slot).map(|slot| Key { slot, generation: self.generation }) else {
            return;
        };
        let until = self.now + self.shared.limits.header_timeout;
        let mut entry = Entry::new(key, accepted, Connection::new(security), until);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut entry.stream, Token(slot), interest).is_err() {
            return;
        }
        self.entries.insert(entry);
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.meters.connections.increment(1);
        self.unauthenticated += 1;
        self.waiting.push_back(key);
        self.appoint(key);
        self.drop_oldest_waiting();
    }

    /// Keeps the number of unauthenticated connections at its bound.
    fn drop_oldest_waiting(&mut self) {
        while self.unauthenticated > self.shared.unauthenticated_max {
            let Some(oldest) = self.waiting.pop_front() else { return };
            if self.entry(oldest).is_some_and(|entry| entry.unauthenticated) {
                self.meters.half_open_dropped.increment(1);
                self.remove(oldest, Some("half_open"));
            }
        }
        // Connections that authenticated or left are still in the queue; it must not outgrow the others.
        if self.waiting.len() > 2 * self.unauthenticated + 64 {
            let entries = &self.entries;
            self.waiting.retain(|key| {
                entries.get(key.slot as usize).is_some_and(|entry| entry.key == *key && entry.unauthenticated)
            });
        }
    }

    /// Reads what has come, for one turn.
    pub(super) fn read(&mut self, key: Key) {
        for _ in 0..READS_A_TURN {
            let now = self.now;
            let Some(entry) = find(&mut self.entries, key) else {
                return;
            };
            if !entry.may_read(self.shared.limits.answering_bytes_max) {
                entry.read_later = true;
                return;
            }
            let count = match entry.stream.read(&mut self.buffers.input) {
                Ok(0) => return self.peer_left(key),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.remove(key, Some("reset")),
            };
            self.meters.bytes_in.increment(count as u64);
            let more = count == READ_BYTES || entry.read_closed;
            if entry.stage == Stage::Lingering {
                if !entry.discard(count) {
                    return self.remove(key, Some("lingered"));
                }
            } else {
                let input = &mut self.buffers.input[..count];
                entry.connection.receive(input, now, &mut self.buffers.scratch, &mut self.buffers.received);
                self.tell(key, Event::Alive);
                self.received(key);
            }
            if !more {
                return;
            }
        }
        self.readable.push(key);
    }

    /// Deals with what a connection has to tell.
    fn received(&mut self, key: Key) {
        let mut received = mem::take(&mut self.buffers.received);
        for event in received.drain(..) {
            match event {
                Received::Opened => self.open_session(key),
                Received::Message(message) => self.message(key, message),
                Received::OtherHttp => self.hand_off(key),
                Received::Ended(reason) => {
                    self.meters.ended(reason.name());
                    self.end_session(key);
                }
            }
        }
        self.buffers.received = received;
        self.wants_flush(key);
    }

    pub(super) fn wants_flush(&mut self, key: Key) {
        if let Some(entry) = self.entry(key)
            && !entry.flush_queued
            && !entry.blocked
            && entry.connection.wants_flush()
        {
            entry.flush_queued = true;
            self.writable.push(key);
        }
    }

    /// Writes what is queued, once for everything that this turn has added.
    pub(super) fn flush(&mut self, key: Key) {
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        entry.flush_queued = false;
        let (stream, meters) = (&mut entry.stream, &self.meters);
        let flushed = entry.connection.flush(&mut self.buffers.scratch, |bytes| {
            let count = stream.write(bytes)?;
            meters.bytes_out.increment(count as u64);
            Ok(count)
        });
        let waiting = entry.connection.pending_output();
        self.output_waiting =
            self.output_waiting + waiting - mem::replace(&mut entry.output_waiting, waiting);
        match flushed {
            Ok(Flushed::All) if entry.connection.is_finished() => self.linger(key),
            Ok(Flushed::All) if mem::take(&mut entry.blocked) => {
                if mem::take(&mut entry.read_later) {
                    self.readable.push(key);
                }
                self.tell(key, Event::WriteDrained);
            }
            Ok(Flushed::All) => {}
            Ok(Flushed::Blocked) if !mem::replace(&mut entry.blocked, true) => {
                self.tell(key, Event::WriteBlocked)
            }
            Ok(Flushed::Blocked) => {}
            Err(_) => self.remove(key, Some("reset")),
        }
    }

    /// All is said: the peer gets the time to read it, because closing a socket with unread input
    /// would make the kernel throw away what we wrote last.
    fn linger(&mut self, key: Key) {
        let until = self.now + self.shared.limits.linger_timeout;
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        if entry.peer_left || entry.stream.shutdown(Shutdown::Write).is_err() {
            return self.remove(key, None);
        }
        entry.stage = Stage::Lingering;
        entry.blocked = false;
        entry.until = until;
        self.appoint(key);
        self.readable.push(key);
    }

    fn peer_left(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else { return };
        entry.peer_left = true;
        if entry.stage == Stage::Lingering {
            return self.remove(key, None);
        }
        if !entry.connection.wants_flush() {
            return self.remove(key, Some("peer"));
        }
        let mut received = mem::take(&mut self.buffers.received);
        if let Some(entry) = self.entry(key) {
            entry.connection.receive_end(&mut received);
        }
        self.buffers.received = received;
        self.received(key);
    }

    /// Gives a connection and what was read from it to the HTTP server.
    fn hand_off(&mut self, key: Key) {
        let Some(entry) = self.take(key) else { return };
        self.meters.handoffs.increment(1);
        let Entry { mut stream, connection, permit, .. } = entry;
        if self.poll.registry().deregister(&mut stream).is_ok() {
            self.shared.http.serve(stream.into(), connection.into_handoff(), permit);
        }
    }

    /// Closes a connection at once, for a reason that was not told before.
    pub(super) fn remove(&mut self, key: Key, reason: Option<&'static str>) {
        let Some(mut entry) = self.take(key) else { return };
        if let Some(reason) = reason {
            self.meters.ended(reason);
        }
        // Closing the descriptor would deregister it as well.
        let _ = self.poll.registry().deregister(&mut entry.stream);
        let was_open = !entry.unauthenticated && entry.session.is_some();
        self.session_ended(key, entry.session, was_open);
    }

    /// Takes a connection out of the slab and its counts.
    fn take(&mut self, key: Key) -> Option<Entry> {
        self.entry(key)?;
        let entry = self.entries.try_remove(key.slot as usize)?;
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.meters.connections.decrement(1);
        self.output_waiting -= entry.output_waiting;
        if entry.unauthenticated {
            self.unauthenticated -= 1;
        }
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
        Some(entry)
    }
}
