//! Everything that must hold before a change lands, as `make test` runs it.
//!
//! Every step runs whatever happened to the ones before, so that one run shows all that is wrong. The last line is
//! `N passed, N failed`, with `, N skipped` where a test could not run on this machine: tests count one each, and so
//! does every other step.

mod tally;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;

use crate::{
    command::{self, cargo},
    finding,
    repository::Repository,
    supply, tidy, wasm,
};
pub use tally::Tally;

/// The environment variable that names a file to which a test that cannot run here appends one line: what, and why.
pub const SKIPPED: &str = "WAXWING_SKIPPED";

/// Says that the running test cannot run on this machine, and why. Whoever calls this returns.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
    if let Some(path) = std::env::var_os(SKIPPED) {
        let list = std::fs::OpenOptions::new().append(true).open(path);
        let mut list = list.expect("the list of skipped tests was made for this run");
        std::io::Write::write_all(&mut list, format!("{reason}\n").as_bytes())
            .expect("the list of skipped tests can be written");
    }
}

/// The quick part: format, repository checks, clippy, rustdoc.
pub fn lint(repository: &Repository) -> Result<ExitCode> {
    let mut run = Run::new(repository)?;
    run.lint()?;
    Ok(run.finish())
}

/// All of it.
pub fn test(repository: &Repository) -> Result<ExitCode> {
    let mut run = Run::new(repository)?;
    run.lint()?;
    run.tests()?;
    run.step("wasm32", |repository| wasm::build(repository, true))?;
    Ok(run.finish())
}

/// One run and what it counted so far.
struct Run<'a> {
    repository: &'a Repository,
    tally: Tally,
    failed: Vec<String>,
    skipped: tempfile::NamedTempFile,
}

impl<'a> Run<'a> {
    fn new(repository: &'a Repository) -> Result<Self> {
        let skipped = tempfile::NamedTempFile::new()?;
        Ok(Self { repository, tally: Tally::default(), failed: Vec::new(), skipped })
    }

    fn lint(&mut self) -> Result<()> {
        self.step("format", |repository| {
            command::succeeds(&mut cargo(repository, &["fmt", "--all", "--check"]))
        })?;
        self.step("tidy", |repository| Ok(finding::print("tidy", &tidy::check(repository)?)))?;
        self.step("licences", |repository| Ok(finding::print("licences", &supply::check(repository)?)))?;
        self.step("clippy", |repository| {
            let scope = ["clippy", "--release", "--locked", "--workspace", "--all-targets"];
            command::succeeds(cargo(repository, &scope).args(["--", "-D", "warnings"]))
        })?;
        self.step("rustdoc", |repository| {
            let scope =
                ["doc", "--release", "--locked", "--workspace", "--no-deps", "--document-private-items"];
            command::succeeds(cargo(repository, &scope).env("RUSTDOCFLAGS", "-D warnings"))
        })
    }

    fn tests(&mut self) -> Result<()> {
        let started = self.begin("tests");
        let mut command =
            cargo(self.repository, &["test", "--release", "--locked", "--workspace", "--no-fail-fast"]);
        command.env(SKIPPED, self.skipped.path());
        let mut tests = Tally::default();
        let succeeded = command::succeeds_watched(&mut command, |line| tests.read(line))?;
        tests.skip(&std::fs::read_to_string(self.skipped.path())?);
        // A program that does not compile or dies has no line of its own that says so.
        if !succeeded && tests.failed == 0 {
            tests.failed = 1;
        }
        if tests.is_empty() {
            println!("no test ran");
            tests.failed = 1;
        }
        self.tally.add(&tests);
        self.end("tests", started, tests.failed == 0);
        Ok(())
    }

    /// Runs one step that passes or fails as a whole. An error inside it is a failure, not the end of the run.
    fn step(&mut self, name: &str, check: impl FnOnce(&Repository) -> Result<bool>) -> Result<()> {
        let started = self.begin(name);
        let passed = check(self.repository).unwrap_or_else(|error| {
            println!("error: {error:#}");
            false
        });
        self.tally.count(passed);
        self.end(name, started, passed);
        Ok(())
    }

    fn begin(&self, name: &str) -> Instant {
        println!("\n==> {name}");
        Instant::now()
    }

    fn end(&mut self, name: &str, started: Instant, passed: bool) {
        println!("<== {name}: {} ({:.0?})", if passed { "ok" } else { "FAILED" }, started.elapsed());
        if !passed {
            self.failed.push(name.to_owned());
        }
    }

    fn finish(self) -> ExitCode {
        println!();
        for reason in &self.tally.skips {
            println!("skipped: {reason}");
        }
        if !self.failed.is_empty() {
            println!("failed: {}", self.failed.join(", "));
        }
        println!("{}", self.tally);
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
