//! Schedules of a hostile server.

use sim::hostile::{
    Lie, Outcome, Property,
    bugs::{self, Planted},
    play,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic,
};

/// Seconds of one core.
const SCHEDULES: u64 = 1_000;

fn play_one(seed: u64, planted: Planted) -> Outcome {
    match panic::catch_unwind(|| play(seed, planted)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(fault)) => panic!("schedule {seed} (sim --hostile --seed {seed}): an engine failed: {fault}"),
        Err(_) => panic!("schedule {seed} (sim --hostile --seed {seed}) panics"),
    }
}

fn play_clean(first: u64, step: usize) {
    let mut judged: BTreeMap<Property, u64> = BTreeMap::new();
    let mut told: BTreeMap<Lie, u64> = BTreeMap::new();
    for seed in (first..SCHEDULES).step_by(step) {
        let outcome = play_one(seed, Planted::default());
        let violations: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "schedule {seed} (sim --hostile --seed {seed}): {violations:#?}");
        outcome
            .judged
            .into_iter()
            .for_each(|(property, count)| *judged.entry(property).or_default() += count);
        outcome.told.into_iter().for_each(|(lie, count)| *told.entry(lie).or_default() += count);
    }
    for property in Property::ALL {
        assert!(judged.contains_key(&property), "no schedule could have violated {property:?}");
    }
    for lie in Lie::ALL {
        assert!(told.contains_key(&lie), "no schedule told {lie:?}");
    }
}

#[test]
fn even_schedules_are_clean() {
    play_clean(0, 2);
}

#[test]
fn odd_schedules_are_clean() {
    play_clean(1, 2);
}

/// A mistake that no schedule below this one shows is not found.
const PLANTED_MAX: u64 = 400;

#[test]
fn planted_mistakes_are_found_by_their_properties() {
    for property in Property::ALL {
        assert!(bugs::ALL.iter().any(|bug| bug.found_by == property), "nothing breaks {property:?}");
    }
    let finds = |bug: &bugs::Bug, seed| {
        let violations = play_one(seed, bug.planted()).violations;
        let broken: BTreeSet<Property> = violations.iter().map(|violation| violation.property).collect();
        broken.contains(&bug.found_by).then_some((seed, broken))
    };
    let mut missed = Vec::new();
    for bug in bugs::ALL {
        let mut seeds = (0..PLANTED_MAX).filter(|seed| (bug.is_possible)(*seed));
        match seeds.find_map(|seed| finds(bug, seed)) {
            Some((seed, broken)) => println!("{:24} found with schedule {seed} by {broken:?}", bug.name),
            None => missed.push(bug.name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
