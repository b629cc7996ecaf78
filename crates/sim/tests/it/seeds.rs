//! Fixed seeds. Random ones: `make sim`.

use sim::{bugs::Planted, play};
use std::panic;
use testkit::check::Invariant;

/// Less than a minute of one core.
const SEEDS: u64 = 240;

/// One thread plays every second seed, the other the rest.
fn play_clean(first: u64, step: usize) -> Vec<(Invariant, u64)> {
    let mut judged: Vec<_> = Invariant::ALL.iter().map(|invariant| (*invariant, 0)).collect();
    for seed in (first..SEEDS).step_by(step) {
        let outcome = play_one(seed, &Planted::default());
        assert!(
            outcome.report.violations.is_empty(),
            "seed {seed} fails; to play it again: make sim SEED={seed}\n{}",
            outcome.report
        );
        judged.iter_mut().for_each(|(invariant, count)| *count += outcome.report.judged(*invariant));
    }
    judged
}

fn play_one(seed: u64, planted: &Planted) -> play::Outcome {
    let played = panic::catch_unwind(|| play::play(seed, planted));
    match played {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(fault)) => panic!("an engine failed: {fault}; to play it again: make sim SEED={seed}"),
        Err(_) => panic!("seed {seed} panics; to play it again: make sim SEED={seed}"),
    }
}

#[test]
fn even_seeds_are_clean() {
    let judged = play_clean(0, 2);
    for (invariant, count) in judged {
        assert!(count > 0, "no seed could have violated {invariant}");
    }
}

#[test]
fn odd_seeds_are_clean() {
    play_clean(1, 2);
}

#[test]
fn a_seed_is_one_run_byte_for_byte() {
    for seed in [3, 4, 5, 6] {
        let (one, two) = (play_one(seed, &Planted::default()), play_one(seed, &Planted::default()));
        assert_eq!(one.history, two.history);
        assert_eq!(one.trace, two.trace);
    }
    assert_ne!(play_one(3, &Planted::default()).trace, play_one(4, &Planted::default()).trace);
}
