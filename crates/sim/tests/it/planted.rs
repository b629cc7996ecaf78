//! Each planted bug is found, by the invariant that speaks of it, within a bounded number of seeds.

use sim::bugs;

/// A bug that no seed below this one shows is not found.
const SEEDS_MAX: u64 = 200;

/// Each test takes one share of the bugs, so that cores are used.
const SHARES: usize = 4;

fn check_share(share: usize) {
    let mut missed = Vec::new();
    for bug in bugs::ALL.iter().skip(share).step_by(SHARES) {
        match (0..SEEDS_MAX).find(|seed| bug.is_found_by(*seed)) {
            Some(seed) => println!("{:32} found with seed {seed} by {}", bug.name, bug.found_by),
            None => missed.push(bug.name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn bugs_are_found_first_share() {
    check_share(0);
}

#[test]
fn bugs_are_found_second_share() {
    check_share(1);
}

#[test]
fn bugs_are_found_third_share() {
    check_share(2);
}

#[test]
fn bugs_are_found_fourth_share() {
    check_share(3);
}

#[test]
fn there_are_bugs_in_every_layer_and_their_names_differ() {
    assert!(bugs::ALL.len() >= 14);
    let mut names: Vec<_> = bugs::ALL.iter().map(|bug| bug.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), bugs::ALL.len());
    assert!(bugs::ALL.iter().all(|bug| bugs::named(bug.name).is_some()));
}
