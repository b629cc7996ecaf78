//! The bench: every scenario, several times, against servers that it starts and ends itself.
//!
//! Each scenario has a fresh server and an empty data directory. The scenarios take turns, so that what
//! else the machine does is shared among them.

use crate::{
    client, durability, group,
    machine::Machine,
    process::{Protection, ServerProcess, pin_generator},
    report::Report,
    scenario, table,
};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// What the bench does.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this scenario; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Scenario>,
    /// Runs of each scenario.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Seconds of the throughput and of the latency run.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pairs of devices in the throughput run, each with 16 sends unanswered.
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    /// Messages a second in the latency run.
    #[arg(long, default_value_t = 400)]
    rate: u64,
    /// Idle TLS connections.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Messages that wait in the drained mailbox.
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// Members of the group, all online.
    #[arg(long, default_value_t = 1_024)]
    members: usize,
    /// Devices that the members have together, where a client rotates its key.
    #[arg(long, default_value_t = 2_500)]
    devices: usize,
    /// Messages that a linked device is given.
    #[arg(long, default_value_t = 50_000)]
    history: u32,
    /// Appends the table to this file.
    #[arg(long, num_args = 0..=1, default_missing_value = "docs/benchmarks.md")]
    write: Option<PathBuf>,
    /// Where servers keep their data while they run; a real disk, or commits cost nothing.
    #[arg(long)]
    data_under: Option<PathBuf>,
    /// The server; the one beside this program unless said.
    #[arg(long)]
    waxwing: Option<PathBuf>,
    /// The client; the one beside this program unless said.
    #[arg(long)]
    wax: Option<PathBuf>,
}

/// The programs that are measured.
struct Programs {
    waxwing: PathBuf,
    wax: PathBuf,
}

impl Programs {
    fn of(options: &Options) -> Result<Self> {
        let own = std::env::current_exe()?;
        let beside = |said: &Option<PathBuf>, name| said.clone().unwrap_or_else(|| own.with_file_name(name));
        Ok(Self { waxwing: beside(&options.waxwing, "waxwing"), wax: beside(&options.wax, "wax") })
    }
}

const WINDOW: usize = 16;
const LATENCY_PAIRS: usize = 20;
const GROUP_MESSAGES: usize = 20;

/// Runs everything, prints the table, and fails if an accepted message was lost.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Dropping the runs kills their servers and removes their data.
    tokio::select! {
        outcome = all(options) => outcome,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

async fn all(options: &Options) -> Result<()> {
    let programs = Programs::of(options)?;
    let scenarios = if options.only.is_empty() { Scenario::value_variants() } else { &options.only };
    let under = options.data_under.clone().unwrap_or_else(std::env::temp_dir);
    let machine = Machine::here(&under);
    pin_generator()?;
    let mut reports = Vec::new();
    for number in 1..=options.repeat {
        for &scenario in scenarios {
            let report = one(scenario, options, &programs, &under).await;
            let report = report.with_context(|| format!("{scenario:?}, run {number}"))?;
            for report in report {
                eprintln!("{}", report.to_json());
                reports.push(report);
            }
        }
    }
    let section =
        format!("{}\n{}", machine.to_markdown(&settings(scenarios, options)), table::markdown(&reports));
    println!("{section}");
    if let Some(path) = &options.write {
        append(path, &section)?;
    }
    let lost: f64 = reports.iter().filter_map(|report| report.number("lost")).sum();
    if lost > 0.0 {
        bail!("{lost} accepted messages were lost");
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// And the control of its durability after it.
    Throughput,
    Latency,
    Drain,
    Group,
    Idle,
    Rotation,
    History,
}

async fn one(
    scenario: Scenario,
    options: &Options,
    programs: &Programs,
    under: &Path,
) -> Result<Vec<Report>> {
    let folder = TempDir::with_prefix_in("waxwing-bench-", under).context("cannot make a data directory")?;
    let data = folder.path().join("data");
    let protection = match scenario {
        Scenario::Idle => Protection::SelfSigned,
        _ => Protection::Plaintext,
    };
    let server = ServerProcess::start(&programs.waxwing, &data, protection).await?;
    let service = server.service(data.clone())?;
    let (wax, folder) = (&programs.wax, folder.path());
    Ok(match scenario {
        Scenario::Throughput => {
            let first = scenario::throughput(&service, options.pairs, options.seconds, WINDOW).await?;
            vec![first, durability::control(server, &programs.waxwing, &data).await?]
        }
        Scenario::Latency => {
            vec![scenario::latency(&service, LATENCY_PAIRS, options.rate, options.seconds).await?]
        }
        Scenario::Drain => vec![scenario::drain(&service, options.messages).await?],
        Scenario::Group => vec![group::fan_out(&service, options.members, GROUP_MESSAGES).await?],
        Scenario::Idle => vec![scenario::idle(&service, options.connections).await?],
        Scenario::Rotation => {
            vec![client::rotation(&service, wax, folder, options.members, options.devices).await?]
        }
        Scenario::History => vec![client::history(&service, wax, folder, options.history).await?],
    })
}

fn settings(scenarios: &[Scenario], options: &Options) -> String {
    let sentence = |scenario: &Scenario| match scenario {
        Scenario::Throughput => format!(
            "Throughput: {} devices in pairs, {WINDOW} sends unanswered each, 256-byte ciphertexts, no TLS, {} s.",
            options.pairs * 2,
            options.seconds
        ),
        Scenario::Latency => format!(
            "Latency: {} messages a second in {LATENCY_PAIRS} pairs, no TLS, {} s, open loop.",
            options.rate, options.seconds
        ),
        Scenario::Drain => format!("Drain: {} rows, no TLS.", options.messages),
        Scenario::Group => format!(
            "Group: {GROUP_MESSAGES} messages to {} members, all online, one device each, no TLS.",
            options.members
        ),
        Scenario::Idle => format!("Idle: {} TLS 1.3 connections.", options.connections),
        Scenario::Rotation => {
            format!("Rotation: a group of {} with {} devices, no TLS.", options.members, options.devices)
        }
        Scenario::History => format!("History: {} messages, no TLS.", options.history),
    };
    let sentences: Vec<String> = scenarios.iter().map(sentence).collect();
    format!(
        "One server process on core 0, the generator and clients on core 1, every quota off. {}",
        sentences.join(" ")
    )
}

fn append(path: &Path, section: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    write!(file, "\n{section}").with_context(|| format!("cannot write {}", path.display()))
}
