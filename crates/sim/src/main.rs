//! Plays seeds until stopped, or one, or so many; prints how to play a failing one again.

#![expect(
    clippy::disallowed_methods,
    reason = "the program around the simulation says how fast it is, and draws a first seed"
)]

use clap::Parser;
use sim::{bugs, hostile, play};
use std::{
    io::{self, Write as _},
    panic,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use testkit::check::Invariant;

/// Violations of a failing seed that are printed; the rest mostly follow from them.
const VIOLATIONS_SHOWN: usize = 20;
/// How often progress is printed.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Simulates the service and its clients under a virtual clock, network and disk.
#[derive(Parser)]
#[command(name = "sim")]
struct Arguments {
    /// Play this seed (and those after it, with --seeds).
    #[arg(long, conflicts_with = "random")]
    seed: Option<u64>,
    /// Play so many seeds, beginning with --seed or 0.
    #[arg(long)]
    seeds: Option<u64>,
    /// Play random seeds until stopped, or --seeds of them.
    #[arg(long)]
    random: bool,
    /// Plant a mistake; `--bug list` names them, `--bug all` says for each which seed finds it.
    #[arg(long)]
    bug: Option<String>,
    /// Play schedules of a hostile server instead.
    #[arg(long, conflicts_with_all = ["bug", "history"])]
    hostile: bool,
    /// Print the whole history of each seed, one JSON object a line.
    #[arg(long)]
    history: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bug = match arguments.bug.as_deref() {
        None => None,
        Some("list") => {
            bugs::ALL.iter().for_each(|bug| println!("{:32} {}", bug.name, bug.what));
            return ExitCode::SUCCESS;
        }
        Some("all") => return find_all(&arguments),
        Some(name) => match bugs::named(name) {
            Some(bug) => Some(bug),
            None => {
                eprintln!("there is no bug {name:?}; `--bug list` names them");
                return ExitCode::from(64);
            }
        },
    };
    let (first, count) = range(&arguments);
    let planted = bug.map(bugs::Bug::planted).unwrap_or_default();
    match play_all(first, count, &planted, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(()) => ExitCode::FAILURE,
    }
}

/// The first seed and how many.
fn range(arguments: &Arguments) -> (u64, u64) {
    let first = match arguments.seed {
        Some(seed) => seed,
        None if arguments.random => random_seed(),
        None => 0,
    };
    let endless = arguments.random || arguments.seed.is_none();
    (first, arguments.seeds.unwrap_or(if endless { u64::MAX } else { 1 }))
}

/// Differs in every run; everything after it follows from the seed.
fn random_seed() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Spread over all of the numbers that a person can type again.
    (since_epoch.as_nanos() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
}

/// Plants one mistake after the other, and looks for the first seed that violates its invariant.
fn find_all(arguments: &Arguments) -> ExitCode {
    let (first, count) = range(arguments);
    // A mistake may break an engine before it breaks its invariant.
    panic::set_hook(Box::new(|_| {}));
    let mut missed = false;
    for bug in bugs::ALL {
        let started = Instant::now();
        let found = (first..first.saturating_add(count)).find(|seed| bug.is_found_by(*seed));
        let seconds = started.elapsed().as_secs_f64();
        match found {
            Some(seed) => println!("{:32} seed {seed:<6} {seconds:>6.1} s", bug.name),
            None => println!("{:32} not found   {seconds:>6.1} s", bug.name),
        }
        missed |= found.is_none();
    }
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn play_all(first: u64, count: u64, planted: &bugs::Planted, arguments: &Arguments) -> Result<(), ()> {
    let started = Instant::now();
    let mut shown_at = started;
    for number in 0..count {
        let seed = first.wrapping_add(number);
        match arguments.hostile {
            true => play_hostile(seed)?,
            false => play_one(seed, planted, arguments)?,
        }
        let is_last = number + 1 == count;
        if is_last || shown_at.elapsed() >= PROGRESS_EVERY {
            shown_at = Instant::now();
            let a_minute = (number + 1) as f64 * 60.0 / started.elapsed().as_secs_f64();
            eprintln!("{} seeds from {first} on, {a_minute:.0} a minute, every invariant holds", number + 1);
        }
    }
    Ok(())
}

fn play_hostile(seed: u64) -> Result<(), ()> {
    let replay = || eprintln!("schedule {seed} fails; to play it again: sim --hostile --seed {seed}");
    let Ok(Ok(outcome)) = panic::catch_unwind(|| hostile::play(seed, Default::default())) else {
        eprintln!("an engine failed, or something panicked");
        replay();
        return Err(());
    };
    if outcome.violations.is_empty() {
        return Ok(());
    }
    outcome.violations.iter().take(VIOLATIONS_SHOWN).for_each(|violation| eprintln!("{violation}"));
    replay();
    Err(())
}

fn play_one(seed: u64, planted: &bugs::Planted, arguments: &Arguments) -> Result<(), ()> {
    let replay = || {
        let bug = arguments.bug.as_ref().map(|bug| format!(" (with --bug {bug})")).unwrap_or_default();
        eprintln!("seed {seed} fails; to play it again{bug}: make sim SEED={seed}");
    };
    let Ok(played) = panic::catch_unwind(|| play::play(seed, planted)) else {
        replay();
        return Err(());
    };
    let outcome = played.map_err(|fault| {
        eprintln!("an engine failed: {fault:?}");
        replay();
    })?;
    if arguments.history {
        let _ = outcome.history.write_lines(io::stdout().lock());
        let _ = io::stdout().flush();
    }
    if arguments.seed.is_some() && arguments.seeds.is_none() {
        eprintln!("seed {seed}: {} facts, trace {:032x}", outcome.history.entries().len(), outcome.trace);
        for invariant in Invariant::ALL {
            eprintln!("{:>8} judged by {invariant}", outcome.report.judged(*invariant));
        }
    }
    if outcome.report.violations.is_empty() {
        return Ok(());
    }
    for violation in outcome.report.violations.iter().take(VIOLATIONS_SHOWN) {
        eprintln!("{violation}");
    }
    eprintln!("{} violations", outcome.report.violations.len());
    replay();
    Err(())
}
