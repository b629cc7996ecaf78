//! The harness finds a fault that is there, and says how to see it again.

use fuzz::{
    Outcome,
    campaign::{self, Failure},
    targets,
};

fn found() -> Failure {
    let target = &targets::PLANTED;
    let corpus: Vec<Vec<u8>> = (target.samples)().into_iter().map(|sample| sample.bytes).collect();
    campaign::run_bounded(target, &corpus, 1, target.short_runs).expect_err("the planted fault is found")
}

#[test]
fn a_planted_fault_is_found() {
    assert_eq!(found().message, "the planted fault");
}

#[test]
fn the_same_seed_finds_the_same_input() {
    assert_eq!(found(), found());
}

#[test]
fn a_failing_input_is_made_as_short_as_it_can_be() {
    let smallest = campaign::minimize(&targets::PLANTED, found());
    assert_eq!((&smallest.input[..3], smallest.input.len()), (&b"wax"[..], 4), "three letters and a length");
}

#[test]
fn the_report_replays_the_input() {
    let failure = found();
    let report = failure.to_string();
    let hex = report.rsplit("--hex ").next().unwrap();
    assert!(report.contains("replay planted --hex"), "{report}");
    let again = campaign::run_one(&targets::PLANTED, &hex::decode(hex).unwrap());
    assert_eq!(again, Err(failure));
}

#[test]
fn a_valid_input_is_no_failure() {
    assert_eq!(campaign::run_one(&targets::PLANTED, b"wax\x02hi"), Ok(Outcome::Accepted));
}
