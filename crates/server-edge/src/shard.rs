//! One shard: a thread with its connections, its timers and the calls it has under way.
//!
//! Owns: the loop (sockets, letters, timers, calls, then one coalesced write for each connection that
//! has something to say) and the slab of connections.
//!
//! Invariants:
//! - A connection has no task, channel or timer of its own: a slot in the slab, an appointment in the
//!   wheel, and what it needs while something is partial.
//! - Every connection has a time limit at every moment, from accept on.
//! - A connection whose output the socket does not take is not read from: what a peer can make us hold
//!   is bounded by what it reads. Nor is one whose requests that wait for their answers have too many bytes.
//!
//! Must not know: how requests are answered, how HTTP other than the upgrade is served.

mod calls;
mod entry;
mod hints;
mod sessions;
mod sockets;

use crate::{
    budget::{Budget, Share},
    commands::Commands,
    config::EdgeLimits,
    connection::{Event as Received, Scratch},
    handoff::HttpServer,
    inbox::{Alarm, Inbox, Key, Letter},
    meters::Meters,
    registry::Registry,
    session::{Effect, Event},
    tls::Security,
    wheel::Wheel,
};
use calls::{Calls, Outcome};
use entry::{Entry, Stage};
use mio::{Events, Poll, Token, Waker};
use server_ports::{Clock, Entropy};
use slab::Slab;
use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;
use types::{IncarnationId, Millis, Timestamp};
use wire::Delivery;

/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads from one connection before the others have their turn.
const READS_A_TURN: usize = 4;
/// Calls finished in one turn before sockets are looked at again.
const OUTCOMES_A_TURN: usize = 1_024;
/// Queued output that is written without waiting for the end of the turn.
const FLUSH_AT_BYTES: usize = 256 * 1024;
const EVENTS_A_POLL: usize = 1_024;
const WAKER: Token = Token(usize::MAX);

/// What all shards of a listener share.
pub(crate) struct Shared {
    pub(crate) security: Security,
    pub(crate) limits: EdgeLimits,
    /// Of the unauthenticated connections, this shard's share.
    pub(crate) unauthenticated_max: usize,
    pub(crate) budget: Arc<Budget>,
    pub(crate) commands: Arc<dyn Commands>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) http: HttpServer,
    pub(crate) runtime: Handle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) incarnation: IncarnationId,
    /// Connections on all shards.
    pub(crate) connections: AtomicUsize,
}

/// One shard, run by [`Shard::run`] on a thread of its own.
pub(crate) struct Shard {
    shared: Arc<Shared>,
    poll: Poll,
    alarm: Arc<Alarm>,
    inbox: Arc<Inbox>,
    entries: Slab<Entry>,
    generation: u32,
    wheel: Wheel<Key>,
    /// Unauthenticated connections, oldest first; those that are not any more are skipped.
    waiting: VecDeque<Key>,
    unauthenticated: usize,
    calls: Calls,
    /// What the frame that is being handled takes of the budget; the call that it makes takes it along.
    arriving: Option<Share>,
    /// Connections with input left to read.
    readable: Vec<Key>,
    /// Connections with output to flush.
    writable: Vec<Key>,
    /// Bytes that sockets did not take, of all connections.
    output_waiting: usize,
    time: Monotonic,
    now: Timestamp,
    stopping: Option<Millis>,
    aborted: bool,
    meters: Meters,
    buffers: Buffers,
}

/// Memory that all connections of a shard share.
struct Buffers {
    input: Vec<u8>,
    scratch: Scratch,
    received: Vec<Received>,
    effects: Vec<Effect>,
    letters: Vec<Letter>,
    /// Rows that hints of this turn brought, for whom.
    hinted: Vec<(Key, Delivery)>,
    due: Vec<Key>,
}

/// Time that never steps backwards, told as if it began at the wall clock's time.
struct Monotonic {
    began: Instant,
    began_at: Timestamp,
}

impl Monotonic {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shard is the shell that reads the clock for the logic"
    )]
    fn new(wall: Timestamp) -> Self {
        Self { began: Instant::now(), began_at: wall }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the shard is the shell that reads the clock for the logic"
    )]
    fn now(&self) -> Timestamp {
        self.began_at + Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Shard {
    pub(crate) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Arc::new(Alarm::new(Waker::new(poll.registry(), WAKER)?));
        let inbox = Arc::new(Inbox::new(alarm.clone()));
        let time = Monotonic::new(shared.clock.now());
        let now = time.now();
        Ok(Self {
            wheel: Wheel::new(shared.limits.timer_resolution, now),
            calls: Calls::new(shared.commands.clone(), alarm.clone()),
            arriving: None,
            shared,
            poll,
            alarm,
            inbox,
            entries: Slab::new(),
            generation: 0,
            waiting: VecDeque::new(),
            unauthenticated: 0,
            readable: Vec::new(),
            writable: Vec::new(),
            output_waiting: 0,
            time,
            now,
            stopping: None,
            aborted: false,
            meters: Meters::new(),
            buffers: Buffers {
                input: vec![0; READ_BYTES],
                scratch: Scratch::default(),
                received: Vec::new(),
                effects: Vec::new(),
                letters: Vec::new(),
                hinted: Vec::new(),
                due: Vec::new(),
            },
        })
    }

    /// How other threads reach this shard.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Serves until told to stop and nothing is left.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let runtime = self.shared.runtime.clone();
        let _context = runtime.enter();
        let mut events = Events::with_capacity(EVENTS_A_POLL);
        while !self.is_done() {
            self.sleep(&mut events)?;
            self.now = self.time.now();
            self.sockets(&events);
            self.timers();
            // A send that is accepted hints to its recipient, often on this shard: letters come after
            // outcomes, so that both leave with the same turn.
            self.outcomes();
            self.letters();
            self.flush_all();
        }
        Ok(())
    }

    /// Whether the shard was told to stop and nothing is left; calls that never end do not hold up an abort.
    fn is_done(&self) -> bool {
        self.stopping.is_some() && self.entries.is_empty() && (self.aborted || self.calls.is_empty())
    }

    /// Waits for sockets, the alarm, or the next appointment.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let at_once = !self.readable.is_empty() || !self.alarm.fall_asleep();
        let timeout = match self.wheel.next() {
            _ if at_once => Some(Duration::ZERO),
            // One more millisecond: the time that a sleep ends at is rounded down.
            Some(next) => Some(next.since(self.time.now()).as_duration() + Duration::from_millis(1)),
            None => None,
        };
        let result = self.poll.poll(events, timeout);
        self.alarm.awake();
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    fn sockets(&mut self, events: &Events) {
        for key in mem::take(&mut self.readable) {
            self.read(key);
        }
        for event in events.iter().filter(|event| event.token() != WAKER) {
            let Some(entry) = self.entries.get_mut(event.token().0) else { continue };
            let key = entry.key;
            entry.read_closed |= event.is_read_closed() || event.is_error();
            if event.is_writable() && entry.connection.wants_flush() {
                self.flush(key);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(key);
            }
        }
    }

    fn letters(&mut self) {
        let mut letters = mem::take(&mut self.buffers.letters);
        self.inbox.take(&mut letters);
        for letter in letters.drain(..) {
            match letter {
                Letter::Accepted(accepted) => self.accept(accepted),
                Letter::Signal(key, signal) => self.signal(key, signal),
                Letter::Stop { reconnect_within } => self.stop(reconnect_within),
                Letter::Abort => self.abort(),
            }
        }
        self.buffers.letters = letters;
        self.deliver_hinted();
    }

    fn timers(&mut self) {
        let mut due = mem::take(&mut self.buffers.due);
        self.wheel.advance(self.now, &mut due);
        for key in due.drain(..) {
            self.appointment(key);
        }
        self.buffers.due = due;
    }

    fn outcomes(&mut self) {
        for _ in 0..OUTCOMES_A_TURN {
            let Some((key, outcome)) = self.calls.next() else { return };
            match outcome {
                Outcome::Authenticated(result) => {
                    // The session may have ended while its proof was checked.
                    if let (Ok(admitted), false) = (&result, self.has_session(key)) {
                        self.calls.closed(key, admitted.caller);
                    }
                    self.tell(key, Event::Authenticated(result));
                }
                Outcome::Opened { caller, result } => {
                    if !self.has_session(key) {
                        self.calls.closed(key, caller);
                    }
                    self.tell(key, Event::Opened(result));
                }
                Outcome::Answered { id, bytes, result } => {
                    self.answered(key, bytes);
                    self.tell(key, Event::Answered { id, result });
                }
                Outcome::PageRead(result) => self.tell(key, Event::PageRead(result)),
                Outcome::Closed => {}
            }
        }
        // More may be ready: look again without sleeping.
        self.alarm.ring();
    }

    fn flush_all(&mut self) {
        // In the order in which they got something to say: the answer to a send leaves before the rows that its hints
        // brought to a thousand others. A flush can end a session, whose end is to be flushed too.
        let mut flushed = 0;
        while let Some(key) = self.writable.get(flushed).copied() {
            self.flush(key);
            flushed += 1;
        }
        self.writable.clear();
    }

    fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        find(&mut self.entries, key)
    }

    fn stop(&mut self, reconnect_within: Millis) {
        self.stopping = Some(reconnect_within);
        for key in self.keys() {
            let Some(entry) = self.entry(key) else { continue };
            match entry.stage {
                Stage::Head => self.remove(key, Some("going_away")),
                Stage::Socket => self.stop_session(key, reconnect_within),
                Stage::Lingering => {}
            }
        }
    }

    fn abort(&mut self) {
        self.stopping = Some(Millis(0));
        self.aborted = true;
        for key in self.keys() {
            self.remove(key, Some("aborted"));
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.entries.iter().map(|(_, entry)| entry.key).collect()
    }

    /// The time has come to look at a connection.
    fn appointment(&mut self, key: Key) {
        let now = self.now;
        let Some(entry) = self.entry(key).filter(|entry| entry.appointment <= now) else { return };
        entry.appointment = Timestamp::MAX;
        match entry.stage {
            Stage::Head | Stage::Lingering if entry.until <= now => {
                let reason = if entry.stage == Stage::Head { "header_timeout" } else { "lingered" };
                return self.remove(key, Some(reason));
            }
            Stage::Head | Stage::Lingering => {}
            Stage::Socket => self.tell(key, Event::Tick),
        }
        self.appoint(key);
    }

    /// Sees to it that a connection is looked at when its next time limit is reached.
    fn appoint(&mut self, key: Key) {
        let limits = &self.shared.limits.session;
        let Some(entry) = find(&mut self.entries, key) else { return };
        let deadline = entry.deadline(limits);
        if deadline < entry.appointment {
            entry.appointment = self.wheel.insert(deadline, key);
        }
    }
}

/// The connection of a key, unless its slot has another by now.
fn find(entries: &mut Slab<Entry>, key: Key) -> Option<&mut Entry> {
    entries.get_mut(key.slot as usize).filter(|entry| entry.key == key)
}
