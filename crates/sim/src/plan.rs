//! What a seed decides before anything runs: who takes part, how much breaks, what happens.

use crate::{chance::Chance, network::Delays};
use server_ports::fake::{FaultPlan, Mode};
use testkit::event::{self, Cast, Event, Node, Person, Weights};
use types::Millis;

/// Streams of the seed. Devices have theirs from 1,000 on, nodes from 2,000 on.
pub const PLAN: u64 = 1;
/// Of the network.
pub const NETWORK: u64 = 2;
/// Of the guild.
pub const GUILD: u64 = 4;
/// Of people's groups.
pub const GATHERINGS: u64 = 5;
/// Of whether there are any.
const GATHERS: u64 = 6;
/// Of what the world itself decides while it runs.
pub const WORLD: u64 = 3;

/// A run, as its seed has it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Whose store the mailboxes imitate.
    pub mode: Mode,
    /// How many nodes.
    pub nodes: usize,
    /// The node that each person's devices prefer.
    pub homes: Vec<Node>,
    /// How far each node's clock is off at the start.
    pub node_skews_ms: Vec<i64>,
    /// How far the clock of each person's first device is off.
    pub device_skews_ms: Vec<i64>,
    /// What breaks in the stores and between nodes.
    pub faults: FaultPlan,
    /// How slow the network is.
    pub delays: Delays,
    /// What happens.
    pub script: Vec<Event>,
    /// Everybody puts the device away for so long in the middle of it.
    pub pause: Option<Millis>,
}

/// In so many runs of a thousand people have several devices. (A device that is linked makes a hundred
/// post-quantum keys, which is most of what a run costs.)
const SEVERAL_DEVICES_PER_MILLE: u32 = 400;
/// The most that a node's clock is off.
pub const NODE_SKEW_MS_MAX: u32 = 3_000;
/// The most that a device's clock is off: people's clocks are wrong by minutes.
const DEVICE_SKEW_MS_MAX: u64 = 10 * 60 * 1_000;
/// Rows of a fleet become visible at most this late (the promise that cursors build on).
pub const LATE_MAX: Millis = Millis::from_secs(10);
/// The longest that a store takes to act, and again to answer.
const STORE_DELAY_MAX: Millis = Millis(400);

/// So many runs in a thousand of those in which everybody has one device have groups of people.
const GATHERS_PER_MILLE: u32 = 700;
/// The same where people have several devices; these runs cost most.
const GATHERS_WITH_SEVERAL_PER_MILLE: u32 = 500;

impl Plan {
    /// What this seed decides.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed, PLAN);
        let stormy = chance.per_mille(850);
        let nodes = 2 + chance.below(2) as usize;
        let people = 2 + chance.below(3) as usize;
        let mode = if chance.per_mille(500) { Mode::Fleet } else { Mode::Solo };
        let events = 20 + chance.below(50) as usize;
        let weights = if stormy { Weights::STORMY } else { Weights::CALM };
        let several = chance.per_mille(SEVERAL_DEVICES_PER_MILLE);
        let weights = if several { weights } else { weights.with_one_device_each() };
        // Drawn apart: whether people gather changes nothing in the runs in which they do not.
        let gathers = if several { GATHERS_WITH_SEVERAL_PER_MILLE } else { GATHERS_PER_MILLE };
        let gathers = Chance::new(seed, GATHERS).per_mille(gathers);
        let weights = if gathers { weights } else { Weights { gather: 0, ..weights } };
        // The checker does not know yet what a primary knows of groups that are younger than its backup: where people
        // with several devices gather, nobody makes backups.
        let weights =
            if several && gathers { Weights { back_up: 0, recover: 0, ..weights } } else { weights };
        let cast = Cast { people, nodes, events, skew_ms_max: NODE_SKEW_MS_MAX };
        let apart = chance.per_mille(500);
        let script = event::script(cast, weights, chance.rng());
        Self {
            seed,
            mode,
            nodes,
            homes: homes(people, nodes, apart, &mut chance),
            node_skews_ms: (0..nodes).map(|_| skew(&mut chance, NODE_SKEW_MS_MAX.into())).collect(),
            device_skews_ms: (0..people).map(|_| device_skew(&mut chance)).collect(),
            faults: if stormy {
                storm(seed, &mut chance)
            } else {
                FaultPlan { seed, ..FaultPlan::default() }
            },
            delays: delays(stormy, &mut chance),
            pause: pause(&mut chance),
            script,
        }
    }

    /// The people.
    pub fn people(&self) -> impl Iterator<Item = Person> + use<> {
        (0..self.homes.len()).map(Person)
    }
}

/// In half of the runs the first two people are on different nodes, and so on around; else all on one.
fn homes(people: usize, nodes: usize, apart: bool, chance: &mut Chance) -> Vec<Node> {
    let first = chance.below(nodes as u64) as usize;
    (0..people).map(|person| Node(if apart { (first + person) % nodes } else { first })).collect()
}

/// How far the clock of some device is off.
pub fn device_skew(chance: &mut Chance) -> i64 {
    skew(chance, DEVICE_SKEW_MS_MAX)
}

fn skew(chance: &mut Chance, most: u64) -> i64 {
    let most = most.cast_signed();
    chance.below(2 * most.unsigned_abs() + 1).cast_signed() - most
}

/// Half of the hints are lost, and of everything else something.
fn storm(seed: u64, chance: &mut Chance) -> FaultPlan {
    let some = |chance: &mut Chance, most: u64| chance.below(most + 1) as u32;
    FaultPlan {
        seed,
        store_fails: some(chance, 30),
        store_fails_after: some(chance, 60),
        store_delay_max: Millis(chance.below(STORE_DELAY_MAX.0 + 1)),
        row_late: some(chance, 500),
        record_late: some(chance, 500),
        late_max: LATE_MAX,
        signal_lost: 500,
        ended_lost: 200,
        signal_doubled: some(chance, 100),
        signal_late: some(chance, 300),
        signal_late_max: Millis(3_000),
        text_fails: 0,
    }
}

fn delays(stormy: bool, chance: &mut Chance) -> Delays {
    let slow = if stormy { chance.below(100) as u32 } else { 0 };
    let usual_max = Millis(5 + chance.below(150));
    let lost = if stormy { chance.below(100) as u32 } else { 0 };
    Delays { usual_max, slow_max: Millis(4_000), slow, lost }
}

/// Mostly none; sometimes minutes, sometimes longer than an envelope lives.
fn pause(chance: &mut Chance) -> Option<Millis> {
    match chance.below(20) {
        0 | 1 => Some(Millis::from_mins(10)),
        2 => Some(Millis::from_days(29)),
        3 => Some(Millis::from_days(33)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_runs_have_sender_and_recipient_apart_and_half_a_fleet() {
        let plans: Vec<_> = (0..1_000).map(Plan::of).collect();
        let count = |matches: fn(&Plan) -> bool| plans.iter().filter(|plan| matches(plan)).count();
        assert!((450..550).contains(&count(|plan| plan.homes[0] != plan.homes[1])));
        assert!((450..550).contains(&count(|plan| plan.mode == Mode::Fleet)));
        assert!(plans.iter().all(|plan| plan.nodes >= 2));
    }
}
