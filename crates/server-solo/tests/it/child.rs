//! Parts of tests that run in a process of their own, because it is to be killed or to fail.
//!
//! Such a part is a test that does nothing unless [`work`] gives it a directory to work in.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const WORK: &str = "SERVER_SOLO_TEST_WORK";

/// This test binary, to run only the part named.
pub fn command(part: &str, work: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([part, "--exact", "--nocapture", "--test-threads=1"]).env(WORK, work);
    command.stdin(Stdio::null());
    command
}

/// Where to work; `None` in the parent's process.
pub fn work() -> Option<PathBuf> {
    std::env::var_os(WORK).map(PathBuf::from)
}

/// Runs the part to its end, which must be a good one.
pub fn run(mut command: Command) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "the part ran: {}", text(&output.stdout));
}
