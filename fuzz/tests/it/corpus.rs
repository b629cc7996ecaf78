//! The corpus is worth starting from.

use fuzz::{Outcome, campaign, corpus, targets};
use std::collections::BTreeSet;

/// A folder that no target reads proves nothing.
#[test]
fn every_folder_belongs_to_a_target() {
    let folders = std::fs::read_dir(corpus::folder()).unwrap();
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let names: BTreeSet<String> = targets::ALL.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, names, "type: cargo run --release -p fuzz -- seed-corpus");
}

/// Code and parser agree on what is valid; else the rest of the run explores the refusals only.
#[test]
fn every_sample_is_accepted() {
    for target in targets::ALL {
        let samples = (target.samples)();
        assert!(!samples.is_empty(), "{} has no sample", target.name);
        for sample in samples {
            let outcome =
                campaign::run_one(target, &sample.bytes).unwrap_or_else(|failure| panic!("{failure}"));
            assert_eq!(outcome, Outcome::Accepted, "{}: {}", target.name, sample.name);
        }
    }
}

/// A format that changed leaves a corpus of garbage behind; this notices.
#[test]
fn the_committed_samples_are_still_valid() {
    for target in targets::ALL {
        let samples: BTreeSet<String> = (target.samples)().into_iter().map(|sample| sample.name).collect();
        for (name, input) in corpus::read(target).unwrap() {
            let outcome = campaign::run_one(target, &input).unwrap_or_else(|failure| panic!("{failure}"));
            let is_sample = samples.contains(&name);
            assert!(
                !is_sample || outcome == Outcome::Accepted,
                "{}/{name} is {outcome:?}; type: cargo run --release -p fuzz -- seed-corpus",
                target.name
            );
        }
    }
}
