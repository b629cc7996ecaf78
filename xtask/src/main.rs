//! The command line of the repository tasks; `make help` lists the targets that call it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{Finding, ci, demo, fuzz, repository::Repository, supply, tidy, wasm};

/// Repository tasks of Waxwing.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check that the tree is as its documents describe it.
    Tidy,
    /// Check licences, sources, bans, duplicate versions and known advisories of every dependency.
    Licences,
    /// Format, clippy, rustdoc and both sets of checks.
    Lint,
    /// Everything that CI runs.
    Test,
    /// Build the client's crates for wasm32.
    Wasm {
        /// Do nothing when no input changed since the last success.
        #[arg(long)]
        if_changed: bool,
    },
    /// Fuzz the parsers of untrusted bytes, guided by coverage.
    Fuzz(fuzz::Options),
    /// Play a conversation of two people through a server that is killed in the middle.
    Demo,
}

fn main() -> Result<ExitCode> {
    let repository = Repository::open()?;
    match Arguments::parse().task {
        Task::Tidy => Ok(report("tidy", &tidy::check(&repository)?)),
        Task::Licences => Ok(report("licences", &supply::check(&repository)?)),
        Task::Lint => ci::lint(&repository),
        Task::Test => ci::test(&repository),
        Task::Wasm { if_changed } => wasm::build(&repository, if_changed).map(|_| ExitCode::SUCCESS),
        Task::Fuzz(options) => fuzz::run(&repository, &options),
        Task::Demo => {
            demo::play(&repository, &mut demo::Stage::standard_output()).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Prints the findings, and fails when one of them is an error.
fn report(check: &str, findings: &[Finding]) -> ExitCode {
    if xtask::finding::print(check, findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
