//! Long fuzzing of every parser of untrusted bytes.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    command::{self, cargo},
    repository::Repository,
};

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only the target of this name.
    #[arg(long)]
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the targets one after another.
pub fn run(repository: &Repository, options: &Options) -> Result<ExitCode> {
    let mut command = cargo(repository, &["run", "--release", "--locked", "-p", "fuzz", "--", "--seconds"]);
    command.arg(options.seconds.to_string()).args(&options.target);
    Ok(if command::succeeds(&mut command)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
