//! The program as scripts see it.
#![allow(clippy::unwrap_used)]

mod arguments;
mod backups;
mod blocks;
mod conversation;
mod devices;
mod documents;
mod forwarding;
mod groups;
mod key_changes;
mod lines;
mod lines_of_groups_and_devices;
mod post_office;
mod profiles;
mod real_server;
mod takeover;

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// What a finished command left behind.
#[derive(Debug)]
struct Ran {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The code in the error object on the last line of standard error.
    fn error_code(&self) -> String {
        let last = self.stderr.lines().last().unwrap_or_default();
        let object: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{self:?}"));
        let error = object["error"].as_object().unwrap_or_else(|| panic!("{self:?}"));
        assert!(["code", "message", "hint"].iter().all(|field| error[*field].is_string()), "{self:?}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// `wax`, away from the profile and terminal of whoever runs the tests.
fn wax<S: AsRef<OsStr>>(profile: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wax"));
    command
        .args(arguments)
        .env_clear()
        .env("WAX_PROFILE", profile)
        .env("XDG_RUNTIME_DIR", profile.parent().unwrap())
        .stdin(Stdio::null());
    command
}

fn run<S: AsRef<OsStr>>(profile: &Path, arguments: impl IntoIterator<Item = S>) -> Ran {
    Ran::of(wax(profile, arguments).output().unwrap())
}

fn run_with_input(profile: &Path, arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = wax(profile, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that has read enough does not read the rest.
    let _ = child.stdin.take().unwrap().write_all(input);
    Ran::of(child.wait_with_output().unwrap())
}
