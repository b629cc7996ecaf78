//! The drain against a model of a mailbox: rows that appear late, hints that are lost, doubled and out
//! of order, acknowledgements at any time, a socket that blocks.

use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use server_edge::drain::{Bugs, Drain, DrainLimits, Read};
use server_ports::mailboxes::{Page, Row};
use std::collections::BTreeSet;
use types::{Millis, Position, Timestamp};

const LIMITS: DrainLimits = DrainLimits {
    window_rows: 7,
    window_bytes: 60,
    reread: Millis(30_000),
    retry: Millis(1_000),
    bugs: Bugs { skip_late_rows: false, hint_overtakes: false },
};

fn at(position: u64) -> Position {
    Position::from_u128(position.into())
}

/// A mailbox as a store keeps it.
#[derive(Debug, Default)]
struct Mailbox {
    /// Every position that was ever given, in the order in which rows became visible.
    written: Vec<u64>,
    /// Rows that are visible and not acknowledged.
    rows: BTreeSet<u64>,
    /// Positions that were given and are not visible yet (only where a store gives them out of order).
    hidden: Vec<u64>,
    next: u64,
}

impl Mailbox {
    /// Writes a row; hidden rows keep their position and appear later.
    fn write(&mut self, hidden: bool) -> u64 {
        self.next += 1;
        if hidden {
            self.hidden.push(self.next);
        } else {
            self.show(self.next);
        }
        self.next
    }

    fn show(&mut self, position: u64) {
        self.written.push(position);
        self.rows.insert(position);
    }

    /// Below this, no row can still appear.
    fn safe(&self) -> u64 {
        self.hidden.iter().min().map_or(self.next, |hidden| hidden - 1)
    }

    fn read(&self, read: Read) -> Page {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut complete = true;
        for position in self.rows.range((after(read.after) + 1)..) {
            let envelope = envelope(*position);
            let fits = rows.len() < read.rows && bytes + envelope.len() <= read.bytes;
            if !fits && !rows.is_empty() {
                complete = false;
                break;
            }
            bytes += envelope.len();
            rows.push(Row { position: at(*position), envelope });
        }
        let last = rows.last().map_or(read.after, |row: &Row| row.position);
        let cursor = if complete { at(self.safe()) } else { last.min(at(self.safe())) };
        Page { rows, cursor, complete }
    }
}

fn after(position: Position) -> u64 {
    u64::try_from(position.as_u128()).unwrap()
}

fn envelope(position: u64) -> Bytes {
    vec![position as u8; (position % 23) as usize + 1].into()
}

#[derive(Clone, Debug)]
enum Step {
    /// A row is written; its hint is delivered, kept for later, or lost.
    Write {
        hint: Hint,
    },
    /// A row is written that appears later.
    WriteHidden,
    /// A hidden row appears.
    Show {
        which: usize,
    },
    /// A hint that was kept is delivered, maybe not for the last time.
    LateHint {
        which: usize,
        again: bool,
    },
    /// The client acknowledges some of what it received.
    Acknowledge {
        count: usize,
    },
    /// The read that is under way is answered, or fails.
    Answer {
        fails: bool,
    },
    Block(bool),
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Hint {
    Delivered,
    Kept,
    Lost,
}

fn steps(fleet: bool) -> impl Strategy<Value = Vec<Step>> {
    let hint = prop_oneof![4 => Just(Hint::Delivered), 1 => Just(Hint::Kept), 1 => Just(Hint::Lost)];
    let hidden = if fleet { 2 } else { 0 };
    let step = prop_oneof![
        6 => hint.prop_map(|hint| Step::Write { hint }),
        hidden => Just(Step::WriteHidden),
        hidden => any::<usize>().prop_map(|which| Step::Show { which }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, again)| Step::LateHint { which, again }),
        3 => (1_usize..6).prop_map(|count| Step::Acknowledge { count }),
        6 => prop::bool::weighted(0.1).prop_map(|fails| Step::Answer { fails }),
        1 => any::<bool>().prop_map(Step::Block),
        1 => (1_u64..40_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..120)
}

/// A drain, its mailbox and its client.
struct Run {
    fleet: bool,
    limits: DrainLimits,
    mailbox: Mailbox,
    present_at_start: BTreeSet<u64>,
    drain: Drain,
    now: Timestamp,
    /// The read under way and what the store answers to it; read at once or at the answer.
    reading: Option<Read>,
    kept: Vec<(u64, Option<u64>)>,
    sent: Vec<u64>,
    unacknowledged: Vec<u64>,
    drained: usize,
}

impl Run {
    fn new(fleet: bool, present: u64) -> Self {
        Self::with(fleet, present, LIMITS)
    }

    fn with(fleet: bool, present: u64, limits: DrainLimits) -> Self {
        let mut mailbox = Mailbox::default();
        for _ in 0..present {
            mailbox.write(false);
        }
        let now = Timestamp::from_millis(1_000_000);
        let mut run = Self {
            fleet,
            limits,
            present_at_start: mailbox.rows.clone(),
            mailbox,
            drain: Drain::new(now, &limits),
            now,
            reading: None,
            kept: Vec::new(),
            sent: Vec::new(),
            unacknowledged: Vec::new(),
            drained: 0,
        };
        run.proceed();
        run
    }

    fn proceed(&mut self) {
        if let Some(read) = self.drain.next_read(&self.limits) {
            assert!(self.reading.is_none(), "two reads at once");
            assert!(read.rows >= 1 && read.bytes >= 1);
            self.reading = Some(read);
        }
    }

    fn receive(&mut self, position: u64) {
        assert!(!self.sent.contains(&position), "{position} was sent twice");
        self.sent.push(position);
        self.unacknowledged.push(position);
        assert!(self.unacknowledged.len() <= LIMITS.window_rows, "the window is passed");
    }

    fn hint(&mut self, position: u64, previous: Option<u64>) {
        let hint = self.drain.hint(at(position), previous.map(at), envelope(position), &self.limits);
        if let Some(delivery) = hint {
            assert_eq!(self.drained, 1, "a hint overtook the drain");
            assert_eq!(delivery.position, at(position));
            self.receive(position);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { hint } => {
                let previous = if self.fleet { None } else { Some(self.mailbox.next) };
                let position = self.mailbox.write(false);
                match hint {
                    Hint::Delivered => self.hint(position, previous),
                    Hint::Kept => self.kept.push((position, previous)),
                    Hint::Lost => {}
                }
            }
            Step::WriteHidden => {
                let position = self.mailbox.write(true);
                self.kept.push((position, None));
            }
            Step::Show { which } => {
                if !self.mailbox.hidden.is_empty() {
                    let which = which % self.mailbox.hidden.len();
                    let position = self.mailbox.hidden.remove(which);
                    self.mailbox.show(position);
                }
            }
            Step::LateHint { which, again } => {
                if !self.kept.is_empty() {
                    let which = which % self.kept.len();
                    let (position, previous) = self.kept[which];
                    if !again {
                        self.kept.remove(which);
                    }
                    self.hint(position, previous);
                }
            }
            Step::Acknowledge { count } => {
                let count = count.min(self.unacknowledged.len());
                let positions: Vec<u64> = self.unacknowledged.drain(..count).collect();
                positions.iter().for_each(|position| {
                    self.mailbox.rows.remove(position);
                });
                self.drain.acknowledged(&positions.into_iter().map(at).collect::<Vec<_>>());
            }
            Step::Answer { fails } => {
                if let Some(read) = self.reading.take() {
                    if fails {
                        self.drain.read_failed(self.now, &self.limits);
                    } else {
                        self.answer(read);
                    }
                }
            }
            Step::Block(blocked) => self.drain.set_blocked(blocked),
            Step::Pass(millis) => {
                self.now = self.now + Millis(millis);
                self.drain.tick(self.now);
            }
        }
        self.proceed();
    }

    fn answer(&mut self, read: Read) {
        let (deliveries, drained) = self.drain.page(self.mailbox.read(read), self.now, &self.limits);
        for delivery in deliveries {
            assert_eq!(delivery.envelope, envelope(after(delivery.position)));
            self.receive(after(delivery.position));
        }
        if drained {
            self.drained += 1;
            assert!(self.present_at_start.iter().all(|row| self.sent.contains(row)), "drained too early");
        }
    }

    /// After faults end, time and acknowledgements are enough: no hint comes any more.
    fn settle(&mut self) {
        self.step(&Step::Block(false));
        while !self.mailbox.hidden.is_empty() {
            self.step(&Step::Show { which: 0 });
        }
        for _ in 0..2 {
            self.step(&Step::Pass(LIMITS.reread.0));
            for _ in 0..200 {
                self.step(&Step::Answer { fails: false });
                self.step(&Step::Acknowledge { count: LIMITS.window_rows });
            }
        }
        let sent: BTreeSet<u64> = self.sent.iter().copied().collect();
        let written: BTreeSet<u64> = self.mailbox.written.iter().copied().collect();
        assert_eq!(sent, written, "a row was never sent");
        assert_eq!(self.drained, 1, "drained exactly once");
        assert_eq!(self.mailbox.rows, BTreeSet::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_sent_once_where_positions_follow_commits(present in 0_u64..40, steps in steps(false)) {
        let mut run = Run::new(false, present);
        steps.iter().for_each(|step| run.step(step));
        run.settle();
    }

    #[test]
    fn every_row_is_sent_once_where_rows_appear_late(present in 0_u64..40, steps in steps(true)) {
        let mut run = Run::new(true, present);
        steps.iter().for_each(|step| run.step(step));
        run.settle();
    }
}

/// A model that finds nothing proves nothing: each planted fault must be found.
#[test]
fn planted_faults_are_found() {
    let found = |bugs: Bugs, fleet: bool| {
        let config = ProptestConfig {
            cases: 2_000,
            failure_persistence: None,
            max_shrink_iters: 0,
            ..ProptestConfig::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let run = |(present, steps): (u64, Vec<Step>)| {
            let mut run = Run::with(fleet, present, DrainLimits { bugs, ..LIMITS });
            steps.iter().for_each(|step| run.step(step));
            run.settle();
            Ok(())
        };
        runner.run(&(0_u64..40, steps(fleet)), run).is_err()
    };
    assert!(!found(Bugs::default(), true) && !found(Bugs::default(), false));
    assert!(found(Bugs { skip_late_rows: true, ..Bugs::default() }, true));
    assert!(found(Bugs { hint_overtakes: true, ..Bugs::default() }, false));
}

#[test]
fn the_next_row_is_sent_from_its_hint_and_any_other_is_read() {
    let mut run = Run::new(false, 0);
    run.step(&Step::Answer { fails: false });
    run.step(&Step::Write { hint: Hint::Delivered });
    assert_eq!((run.sent.clone(), run.reading), (vec![1], None));
    run.step(&Step::Write { hint: Hint::Lost });
    run.step(&Step::Write { hint: Hint::Delivered });
    assert_eq!(run.sent, [1], "the hint did not overtake the lost one");
    run.step(&Step::Answer { fails: false });
    assert_eq!(run.sent, [1, 2, 3]);
}

#[test]
fn a_row_larger_than_the_window_is_sent_alone() {
    let limits = DrainLimits { window_bytes: 10, ..LIMITS };
    let now = Timestamp::from_millis(0);
    let mut drain = Drain::new(now, &limits);
    let row = |position| Row { position: at(position), envelope: vec![0; 100].into() };
    let read = drain.next_read(&limits).unwrap();
    assert_eq!(read.bytes, 10);
    let page = Page { rows: vec![row(1)], cursor: at(1), complete: false };
    assert_eq!(drain.page(page, now, &limits).0.len(), 1);
    assert_eq!(drain.next_read(&limits), None);
    assert!(drain.is_stalled(&limits));
    drain.acknowledged(&[at(1)]);
    assert_eq!(drain.next_read(&limits).map(|read| read.after), Some(at(1)));
}

#[test]
fn a_failed_read_is_made_again_after_a_pause_and_not_before() {
    let mut run = Run::new(false, 1);
    let first = run.reading;
    run.step(&Step::Answer { fails: true });
    run.step(&Step::Pass(LIMITS.retry.0 - 1));
    assert_eq!(run.reading, None);
    run.step(&Step::Pass(1));
    assert_eq!(run.reading, first);
}

#[test]
fn a_store_that_leads_nowhere_is_not_asked_in_a_circle() {
    let now = Timestamp::from_millis(0);
    let mut drain = Drain::new(now, &LIMITS);
    drain.next_read(&LIMITS).unwrap();
    drain.page(Page { rows: Vec::new(), cursor: Position::ZERO, complete: false }, now, &LIMITS);
    assert_eq!(drain.next_read(&LIMITS), None);
    assert_eq!(drain.wake_at(), now + LIMITS.reread);
}
