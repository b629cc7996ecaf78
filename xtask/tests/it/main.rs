//! Every check is shown the fault that it must find, and then the real tree.

#![allow(clippy::unwrap_used)]

mod advisories;
mod bans;
mod demo;
mod dependency_table;
mod direction;
mod documents;
mod files;
mod limits;
mod links;
mod paths;
mod real_tree;
mod server_tree;
mod signal_library;
mod supply;
mod tally;

use xtask::Finding;

/// The findings as text, so that a test reads like the terminal.
fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// Asserts that exactly one thing was found, and that it says `part`.
#[track_caller]
fn assert_one(findings: &[Finding], part: &str) {
    let lines = lines(findings);
    assert_eq!(lines.len(), 1, "one finding is expected: {lines:#?}");
    assert!(lines[0].contains(part), "{:?} does not say {part:?}", lines[0]);
}

/// Asserts that nothing was found.
#[track_caller]
fn assert_none(findings: &[Finding]) {
    assert_eq!(lines(findings), Vec::<String>::new());
}
