//! Schedules of a hostile server.

use sim::hostile::{
    Lie, Outcome, Property,
    bugs::{self, Planted},
    play,
};
use std::{collections::BTreeMap, panic};

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
const PLANTED_MAX: u64 = 200;

#[test]
fn planted_mistakes_are_found_by_their_properties() {
    let finds = |bug: &bugs::Bug, seed| {
        let outcome = play_one(seed, bug.planted());
        outcome.violations.iter().any(|violation| violation.property == bug.found_by)
    };
    let mut missed = Vec::new();
    for bug in bugs::ALL {
        match (0..PLANTED_MAX).find(|seed| finds(bug, *seed)) {
            Some(seed) => println!("{:24} found with schedule {seed} by {:?}", bug.name, bug.found_by),
            None => missed.push(bug.name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
