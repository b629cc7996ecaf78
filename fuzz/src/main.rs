//! The command line of the fuzz targets on the stable toolchain.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    ops::ControlFlow,
    panic,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use fuzz::{
    Outcome, Target,
    campaign::{self, Failure},
    corpus, targets,
};

/// Fuzzes the parsers of untrusted bytes.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// List the targets, each with the longest input in bytes.
    List {
        /// Only this target.
        target: Option<String>,
    },
    /// Change the corpus at random and run what comes of it.
    Run {
        /// One target; all of them, one after another, without it.
        target: Option<String>,
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// The same seed makes the same inputs; random and printed without it.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Run one target on one input, and say what came of it.
    Replay {
        /// The target.
        target: String,
        /// The input in hexadecimal.
        #[arg(long, required_unless_present = "file")]
        hex: Option<String>,
        /// A file that holds the input.
        file: Option<PathBuf>,
    },
    /// Write the samples that code makes to the corpus, where they are missing or not valid any more.
    SeedCorpus,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().task {
        Task::List { target } => {
            for target in chosen(target.as_deref())? {
                println!("{} {}", target.name, target.input_bytes_max);
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Run { target, seconds, seed } => {
            let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
            let targets = chosen(target.as_deref())?;
            run(&targets, Duration::from_secs(seconds), seed)
        }
        Task::Replay { target, hex, file } => replay(find(&target)?, &input(hex, file)?),
        Task::SeedCorpus => {
            for target in targets::ALL {
                println!("{}: {} written", target.name, corpus::write_samples(target)?);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn chosen(name: Option<&str>) -> Result<Vec<&'static Target>> {
    name.map_or_else(|| Ok(targets::ALL.iter().collect()), |name| Ok(vec![find(name)?]))
}

fn find(name: &str) -> Result<&'static Target> {
    targets::by_name(name).with_context(|| format!("no target is called {name}; `fuzz list` names them"))
}

fn input(hex: Option<String>, file: Option<PathBuf>) -> Result<Vec<u8>> {
    match (hex, file) {
        (_, Some(file)) => fs::read(&file).with_context(|| format!("{} cannot be read", file.display())),
        (hex, None) => hex::decode(hex.unwrap_or_default()).context("the input is not hexadecimal"),
    }
}

/// Runs the targets one after another; every one of them runs, whatever happened to the ones before.
fn run(targets: &[&'static Target], time: Duration, seed: u64) -> Result<ExitCode> {
    println!("seed {seed}");
    let mut passed = true;
    for target in targets {
        let corpus: Vec<Vec<u8>> = corpus::read(target)?.into_iter().map(|(_, input)| input).collect();
        let end = Instant::now() + time;
        let ended = campaign::run(target, &corpus, seed, |_| {
            if Instant::now() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match ended {
            Ok(summary) => println!(
                "{}: ok, {} runs, {} accepted, {} ways to be refused",
                target.name,
                summary.runs,
                summary.accepted,
                summary.reasons.len()
            ),
            Err(failure) => {
                passed = false;
                println!("{}", quietly(|| campaign::minimize(target, failure)));
            }
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one input; its panic is shown as it comes.
fn replay(target: &Target, input: &[u8]) -> Result<ExitCode> {
    match campaign::run_one(target, input) {
        Ok(Outcome::Accepted) => println!("accepted"),
        Ok(Outcome::Refused(reason)) => println!("refused: {reason}"),
        Err(failure) => {
            println!("{failure}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Without the messages of the panics that happen on the way.
fn quietly(work: impl FnOnce() -> Failure) -> Failure {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = work();
    panic::set_hook(hook);
    result
}
