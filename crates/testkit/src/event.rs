//! What may happen to people, devices, nodes and networks: one model for the simulator, for property
//! tests and for tests of real processes.
//!
//! A script is drawn from randomness alone; whoever plays it decides what an event means for the parts
//! that it has, and leaves out the others.

use rand_core::RngCore;
use std::ops::RangeInclusive;
use types::Millis;

/// A person of a script, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person(pub usize);

/// A server node of a script, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node(pub usize);

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody writes to somebody.
    Send {
        /// Who writes.
        from: Person,
        /// To whom.
        to: Person,
        /// How many messages, one after the other without waiting.
        messages: u32,
    },
    /// Somebody repeats the last command to send, with the same message id.
    SendAgain(Person),
    /// Somebody reads everything.
    Read(Person),
    /// Somebody puts the device away.
    GoOffline(Person),
    /// Somebody takes the device out again.
    GoOnline(Person),
    /// A device's connection is cut: what is under way in it is lost.
    Cut(Person),
    /// A device's connection carries nothing any more, and neither end is told.
    Freeze(Person),
    /// A frozen connection carries everything again, in order.
    Thaw(Person),
    /// A device's process dies at its next commit and comes back with what it had committed.
    CrashDevice(Person),
    /// A copy of a device's disk is made; the next time, the copy takes the disk's place.
    Restore(Person),
    /// A node dies; it comes back after a while.
    CrashNode(Node),
    /// The machine of the stores loses power.
    CrashStores,
    /// The soft state of all nodes is lost.
    LoseSoftState,
    /// A node's wall clock steps to so many milliseconds off the true time.
    SetClock {
        /// Whose.
        node: Node,
        /// How far.
        skew_ms: i64,
    },
    /// The account of somebody who has no engine has another device now, or loses it.
    Relink(Person),
    /// Somebody takes a new device out of its box and links it.
    Link {
        /// Who.
        person: Person,
        /// Whether it is given the messages from before.
        with_history: bool,
    },
    /// Somebody takes a linked device off the list, whatever it is doing.
    Unlink(Person),
    /// Somebody makes a backup.
    BackUp(Person),
    /// Somebody has lost the primary device, and restores the backup on a new one.
    Recover(Person),
    /// A member of a group reads, writes or changes something.
    Assemble,
    /// Somebody does something in a group of people: makes one, changes it, joins or writes to it.
    Gather(Person),
    /// Somebody registers the same number again, with a new device.
    Reregister(Person),
    /// Somebody asks for prekeys of somebody without sending anything.
    TakeKeys {
        /// Who asks.
        from: Person,
        /// Whose.
        of: Person,
    },
    /// Nothing happens for so long.
    Wait(Millis),
}

/// How often each kind of event comes, in relation to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// [`Event::Send`].
    pub send: u32,
    /// [`Event::SendAgain`].
    pub send_again: u32,
    /// [`Event::Read`].
    pub read: u32,
    /// [`Event::GoOffline`] and [`Event::GoOnline`], in turn.
    pub presence: u32,
    /// [`Event::Cut`].
    pub cut: u32,
    /// [`Event::Freeze`] and [`Event::Thaw`], in turn.
    pub freeze: u32,
    /// [`Event::CrashDevice`].
    pub crash_device: u32,
    /// [`Event::Restore`].
    pub restore: u32,
    /// [`Event::CrashNode`].
    pub crash_node: u32,
    /// [`Event::CrashStores`].
    pub crash_stores: u32,
    /// [`Event::LoseSoftState`].
    pub lose_soft_state: u32,
    /// [`Event::SetClock`].
    pub set_clock: u32,
    /// [`Event::Relink`].
    pub relink: u32,
    /// [`Event::Link`].
    pub link: u32,
    /// [`Event::Unlink`].
    pub unlink: u32,
    /// [`Event::BackUp`].
    pub back_up: u32,
    /// [`Event::Recover`].
    pub recover: u32,
    /// [`Event::Assemble`].
    pub assemble: u32,
    /// [`Event::Gather`].
    pub gather: u32,
    /// [`Event::Reregister`].
    pub reregister: u32,
    /// [`Event::TakeKeys`].
    pub take_keys: u32,
    /// [`Event::Wait`] of some seconds.
    pub wait: u32,
    /// [`Event::Wait`] of some minutes.
    pub wait_long: u32,
}

impl Weights {
    /// People talk, come and go; nothing breaks.
    pub const CALM: Self = Self {
        send: 50,
        send_again: 3,
        read: 10,
        presence: 10,
        cut: 0,
        freeze: 0,
        crash_device: 0,
        restore: 0,
        crash_node: 0,
        crash_stores: 0,
        lose_soft_state: 0,
        set_clock: 0,
        relink: 0,
        link: 5,
        unlink: 1,
        back_up: 5,
        recover: 3,
        assemble: 30,
        gather: 70,
        reregister: 0,
        take_keys: 3,
        wait: 50,
        wait_long: 1,
    };
    /// Everything that a service must survive.
    pub const STORMY: Self = Self {
        cut: 12,
        freeze: 6,
        crash_device: 12,
        restore: 6,
        crash_node: 4,
        crash_stores: 1,
        lose_soft_state: 1,
        set_clock: 3,
        relink: 3,
        link: 11,
        unlink: 4,
        back_up: 9,
        recover: 5,
        reregister: 1,
        ..Self::CALM
    };

    /// The same where everybody has one device, which nobody loses.
    #[must_use]
    pub const fn with_one_device_each(self) -> Self {
        Self { link: 0, unlink: 0, back_up: 0, recover: 0, ..self }
    }
}

/// Who takes part in a script, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// People; at least two.
    pub people: usize,
    /// Nodes; at least one.
    pub nodes: usize,
    /// Events.
    pub events: usize,
    /// How far a node's clock may be off.
    pub skew_ms_max: u32,
}

/// Draws a script.
///
/// # Panics
/// If the cast is too small, or every weight is 0.
pub fn script(cast: Cast, weights: Weights, rng: &mut impl RngCore) -> Vec<Event> {
    assert!(cast.people >= 2 && cast.nodes >= 1, "it takes two people and a node");
    let mut draw = Draw { cast, rng, away: vec![false; cast.people], frozen: vec![false; cast.people] };
    (0..cast.events).map(|_| draw.event(weights)).collect()
}

struct Draw<'a, R> {
    cast: Cast,
    rng: &'a mut R,
    away: Vec<bool>,
    frozen: Vec<bool>,
}

impl<R: RngCore> Draw<'_, R> {
    fn event(&mut self, weights: Weights) -> Event {
        type Make<R> = fn(&mut Draw<'_, R>) -> Event;
        let table: [(u32, Make<R>); 23] = [
            (weights.send, |draw| draw.send()),
            (weights.send_again, |draw| Event::SendAgain(draw.person())),
            (weights.read, |draw| Event::Read(draw.person())),
            (weights.presence, |draw| draw.presence()),
            (weights.cut, |draw| Event::Cut(draw.person())),
            (weights.freeze, |draw| draw.freeze()),
            (weights.crash_device, |draw| Event::CrashDevice(draw.person())),
            (weights.restore, |draw| Event::Restore(draw.person())),
            (weights.crash_node, |draw| Event::CrashNode(draw.node())),
            (weights.crash_stores, |_| Event::CrashStores),
            (weights.lose_soft_state, |_| Event::LoseSoftState),
            (weights.set_clock, |draw| draw.set_clock()),
            (weights.relink, |draw| Event::Relink(draw.person())),
            (weights.link, |draw| draw.link()),
            (weights.unlink, |draw| Event::Unlink(draw.person())),
            (weights.back_up, |draw| Event::BackUp(draw.person())),
            (weights.recover, |draw| Event::Recover(draw.person())),
            (weights.assemble, |_| Event::Assemble),
            (weights.gather, |draw| Event::Gather(draw.person())),
            (weights.reregister, |draw| Event::Reregister(draw.person())),
            (weights.take_keys, |draw| draw.take_keys()),
            (weights.wait, |draw| Event::Wait(Millis(draw.number(10..=8_000)))),
            (weights.wait_long, |draw| Event::Wait(Millis(draw.number(30_000..=15 * 60_000)))),
        ];
        let sum: u32 = table.iter().map(|(weight, _)| weight).sum();
        assert!(sum > 0, "some event must be possible");
        let mut at = (self.rng.next_u64() % u64::from(sum)) as u32;
        for (weight, make) in table {
            if at < weight {
                return make(self);
            }
            at -= weight;
        }
        unreachable!("the draw is below the sum of the weights")
    }

    fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.rng.next_u64() % (range.end() - range.start() + 1)
    }

    fn person(&mut self) -> Person {
        Person(self.number(0..=self.cast.people as u64 - 1) as usize)
    }

    fn two_people(&mut self) -> (Person, Person) {
        let first = self.person();
        let step = self.number(1..=self.cast.people as u64 - 1) as usize;
        (first, Person((first.0 + step) % self.cast.people))
    }

    fn node(&mut self) -> Node {
        Node(self.number(0..=self.cast.nodes as u64 - 1) as usize)
    }

    fn send(&mut self) -> Event {
        let (from, to) = self.two_people();
        let burst = self.number(0..=3) == 0;
        let messages = if burst { self.number(2..=8) as u32 } else { 1 };
        Event::Send { from, to, messages }
    }

    fn take_keys(&mut self) -> Event {
        let (from, of) = self.two_people();
        Event::TakeKeys { from, of }
    }

    fn link(&mut self) -> Event {
        let with_history = self.number(0..=1) == 1;
        Event::Link { person: self.person(), with_history }
    }

    fn presence(&mut self) -> Event {
        let person = self.person();
        let away = &mut self.away[person.0];
        *away = !*away;
        if *away { Event::GoOffline(person) } else { Event::GoOnline(person) }
    }

    fn freeze(&mut self) -> Event {
        let person = self.person();
        let frozen = &mut self.frozen[person.0];
        *frozen = !*frozen;
        if *frozen { Event::Freeze(person) } else { Event::Thaw(person) }
    }

    fn set_clock(&mut self) -> Event {
        let most = i64::from(self.cast.skew_ms_max);
        let skew_ms = self.number(0..=2 * u64::from(self.cast.skew_ms_max)) as i64 - most;
        Event::SetClock { node: self.node(), skew_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
    use std::collections::BTreeSet;

    const CAST: Cast = Cast { people: 3, nodes: 2, events: 3_000, skew_ms_max: 2_000 };

    fn drawn(seed: u64, weights: Weights) -> Vec<Event> {
        script(CAST, weights, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn a_seed_is_a_script() {
        assert_eq!(drawn(1, Weights::STORMY), drawn(1, Weights::STORMY));
        assert_ne!(drawn(1, Weights::STORMY), drawn(2, Weights::STORMY));
    }

    #[test]
    fn a_storm_has_every_kind_of_event_and_nobody_writes_to_themselves() {
        let events = drawn(1, Weights::STORMY);
        let kinds: BTreeSet<String> = events
            .iter()
            .map(|event| format!("{event:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(kinds.len(), 24, "{kinds:?}");
        let to_oneself = |event: &Event| match event {
            Event::Send { from, to, .. } => from == to,
            Event::TakeKeys { from, of } => from == of,
            _ => false,
        };
        assert!(!events.iter().any(to_oneself));
    }

    #[test]
    fn nothing_breaks_in_a_calm() {
        let broken = |event: &Event| {
            matches!(event, Event::Cut(_) | Event::Freeze(_) | Event::CrashDevice(_) | Event::CrashNode(_))
        };
        assert!(!drawn(1, Weights::CALM).iter().any(broken));
    }
}
