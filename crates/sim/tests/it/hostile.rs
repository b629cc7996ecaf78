//! Schedules of a hostile server.

use client::testing::Bugs;
use sim::hostile::{Lie, Outcome, Property, play};
use std::{collections::BTreeMap, panic};

/// Seconds of one core.
const SCHEDULES: u64 = 1_000;

fn play_one(seed: u64, bugs: Bugs) -> Outcome {
    match panic::catch_unwind(|| play(seed, bugs)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(fault)) => panic!("hostile schedule {seed}: an engine failed: {fault}"),
        Err(_) => panic!("hostile schedule {seed} panics"),
    }
}

fn play_clean(first: u64, step: usize) {
    let mut judged: BTreeMap<Property, u64> = BTreeMap::new();
    let mut told: BTreeMap<Lie, u64> = BTreeMap::new();
    for seed in (first..SCHEDULES).step_by(step) {
        let outcome = play_one(seed, Bugs::default());
        let violations: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "hostile schedule {seed}: {violations:#?}");
        outcome
            .judged
            .into_iter()
            .for_each(|(property, count)| *judged.entry(property).or_default() += count);
        outcome.told.into_iter().for_each(|(lie, count)| *told.entry(lie).or_default() += count);
    }
    println!("{judged:?}\n{told:?}");
    for property in Property::ALL {
        assert!(judged.contains_key(&property), "no schedule could have violated {property:?}");
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
