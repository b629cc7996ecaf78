//! How other threads reach a shard: one queue, and an alarm that rings only when the shard sleeps.
//!
//! Owns: the queue of a shard and its bounds.
//! Invariants: putting a letter never blocks and never fails in a way that the sender must handle;
//! a signal that finds the queue full is lost, which by the contract of the exchange costs only
//! latency; an [`Signal::Ended`] is never lost.

use crate::admission::Permit;
use mio::Waker;
use server_ports::Signal;
use std::{
    mem,
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::Wake,
};
use types::Millis;

/// Signals that may wait for one shard; at a million hints a second, 65 ms of them.
const SIGNALS_MAX: usize = 65_536;
/// Bytes of envelopes that may wait with them; beyond, a hint says only "read the store", and what is never stored is
/// lost.
const SIGNAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Accepted sockets that may wait; the listener's backlog holds as many again.
const ACCEPTED_MAX: usize = 1_024;

/// Which connection of a shard. A slot is used again; the generation tells one use from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What arrives at a shard.
pub(crate) enum Letter {
    /// A connection was accepted.
    Accepted(Accepted),
    /// The exchange has something for a session.
    Signal(Key, Signal),
    /// The node is about to stop; clients come back after at most this long.
    Stop { reconnect_within: Millis },
    /// What is still there is dropped.
    Abort,
}

/// A connection that was accepted and admitted.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) permit: Permit,
}

/// The queue of one shard.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    alarm: Arc<Alarm>,
}

#[derive(Default)]
struct Queue {
    letters: Vec<Letter>,
    accepted: usize,
    signals: usize,
    signal_bytes: usize,
}

impl Inbox {
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self { queue: Mutex::default(), alarm }
    }

    /// Takes everything that has arrived, in order, into an empty vector.
    pub(crate) fn take(&self, letters: &mut Vec<Letter>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let emptied = Queue { letters: mem::take(letters), ..Queue::default() };
        *letters = mem::replace(&mut *queue, emptied).letters;
    }

    /// Gives the shard a new connection, unless too many wait for it already.
    pub(crate) fn accepted(&self, accepted: Accepted) -> Result<(), Accepted> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.accepted >= ACCEPTED_MAX {
            return Err(accepted);
        }
        queue.accepted += 1;
        queue.letters.push(Letter::Accepted(accepted));
        drop(queue);
        self.alarm.ring();
        Ok(())
    }

    pub(crate) fn signal(&self, key: Key, mut signal: Signal) {
        let bytes = match &signal {
            Signal::Hint { envelope, .. } | Signal::Ephemeral(envelope) => envelope.len(),
            _ => 0,
        };
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let too_large = queue.signal_bytes + bytes > SIGNAL_BYTES_MAX;
        let too_many = queue.signals >= SIGNALS_MAX && !matches!(signal, Signal::Ended(_));
        if too_many || too_large && matches!(signal, Signal::Ephemeral(_)) {
            drop(queue);
            metrics::counter!("waxwing_edge_signals_lost_total").increment(1);
            return;
        }
        if too_large {
            signal = Signal::Read;
        } else {
            queue.signal_bytes += bytes;
        }
        queue.signals += 1;
        queue.letters.push(Letter::Signal(key, signal));
        drop(queue);
        self.alarm.ring();
    }

    pub(crate) fn stop(&self, reconnect_within: Millis) {
        self.put(Letter::Stop { reconnect_within });
    }

    pub(crate) fn abort(&self) {
        self.put(Letter::Abort);
    }

    fn put(&self, letter: Letter) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).letters.push(letter);
        self.alarm.ring();
    }
}

/// Wakes a shard that sleeps in its poll. While it is awake a ring is a single atomic write.
pub(crate) struct Alarm {
    state: AtomicU8,
    waker: Waker,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

impl Alarm {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { state: AtomicU8::new(AWAKE), waker }
    }

    /// There is something to do.
    pub(crate) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a shard cannot be woken");
        }
    }

    /// Whether the shard may sleep: nothing has rung since it last woke.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The shard is awake; what rings from now on will be seen before it sleeps again.
    pub(crate) fn awake(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use mio::{Events, Poll, Token};
    use std::time::Duration;
    use types::Position;
    use wire::Code;

    const KEY: Key = Key { slot: 0, generation: 0 };

    fn inbox() -> (Inbox, Poll) {
        let poll = Poll::new().unwrap();
        let alarm = Alarm::new(Waker::new(poll.registry(), Token(0)).unwrap());
        (Inbox::new(Arc::new(alarm)), poll)
    }

    fn hint(length: usize) -> Signal {
        let envelope = Bytes::from(vec![0; length]);
        Signal::Hint { position: Position::from_u128(1), previous: None, envelope }
    }

    fn taken(inbox: &Inbox) -> Vec<Signal> {
        let mut letters = Vec::new();
        inbox.take(&mut letters);
        let signal = |letter| if let Letter::Signal(_, signal) = letter { Some(signal) } else { None };
        letters.into_iter().filter_map(signal).collect()
    }

    #[test]
    fn a_full_queue_loses_hints_and_never_an_end() {
        let (inbox, _poll) = inbox();
        for _ in 0..SIGNALS_MAX + 10 {
            inbox.signal(KEY, Signal::Read);
        }
        inbox.signal(KEY, Signal::Ended(Code::Revoked));
        let signals = taken(&inbox);
        assert_eq!(signals.len(), SIGNALS_MAX + 1);
        assert_eq!(signals.last(), Some(&Signal::Ended(Code::Revoked)));
        inbox.signal(KEY, Signal::Read);
        assert_eq!(taken(&inbox), [Signal::Read], "room again after the shard has read");
    }

    #[test]
    fn hints_beyond_the_byte_bound_keep_only_their_meaning() {
        let (inbox, _poll) = inbox();
        for _ in 0..4 {
            inbox.signal(KEY, hint(SIGNAL_BYTES_MAX / 3));
        }
        let kept = taken(&inbox).iter().map(|signal| *signal == Signal::Read).collect::<Vec<_>>();
        assert_eq!(kept, [false, false, false, true]);
    }

    #[test]
    fn what_is_never_stored_is_lost_beyond_the_byte_bound() {
        let (inbox, _poll) = inbox();
        let signal = || Signal::Ephemeral(Bytes::from(vec![0; SIGNAL_BYTES_MAX / 3]));
        for _ in 0..4 {
            inbox.signal(KEY, signal());
        }
        inbox.signal(KEY, Signal::Read);
        let kept = taken(&inbox);
        assert_eq!((kept.len(), kept.last()), (4, Some(&Signal::Read)), "what has no bytes has room");
    }

    #[test]
    fn a_ring_before_sleep_prevents_it_and_one_during_sleep_ends_it() {
        let (inbox, mut poll) = inbox();
        inbox.alarm.ring();
        assert!(!inbox.alarm.fall_asleep());
        inbox.alarm.awake();
        assert!(inbox.alarm.fall_asleep());
        inbox.alarm.ring();
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
        assert!(!events.is_empty());
    }
}
