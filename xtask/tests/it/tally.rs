//! The closing line counts what the test programs reported.

use xtask::ci::Tally;

const OUTPUT: &str = "
running 3 tests
test a ... ok
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s
     Running tests/it/main.rs
test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s
the test result: ok. 100 passed; is only quoted here
";

fn tally() -> Tally {
    let mut tally = Tally::default();
    OUTPUT.lines().for_each(|line| tally.read(line));
    tally
}

#[test]
fn summaries_are_added_up() {
    assert_eq!(tally().to_string(), "17 passed, 2 failed, 1 skipped");
}

#[test]
fn a_test_that_could_not_run_here_did_not_pass() {
    let mut tally = tally();
    tally.skip("full disk: this user may not mount\n\nfsync: no strace\n");
    assert_eq!(tally.to_string(), "15 passed, 2 failed, 3 skipped");
}

#[test]
fn steps_count_one_each() {
    let mut tally = Tally::default();
    assert!(tally.is_empty(), "nothing ran yet");
    tally.count(true);
    tally.count(false);
    assert_eq!(tally.to_string(), "1 passed, 1 failed");
}
