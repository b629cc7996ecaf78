//! `loadgen`: load for a server, and what it cost.
//!
//! Owns: devices without ratchets (their ciphertexts are random bytes: a server cannot tell), the
//! scenarios of docs/benchmarks.md (the client's run `wax` itself), the bench that runs them all and writes its table, and reading a
//! process's CPU and memory from /proc.
//! Must not know: the server's insides. A run whose generator was busier than 80% of a core measures
//! the generator, and says so.

mod bench;
mod client;
mod cost;
mod device;
mod durability;
mod group;
mod machine;
mod process;
mod report;
mod scenario;
mod table;
mod tally;
mod wax;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use client_net::{CertificatePin, ServerUrl};
use device::Service;
use report::Report;
use std::path::PathBuf;

/// Load for a Waxwing server.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every scenario, against servers that this starts itself, as a table.
    Bench(bench::Options),
    /// Durable one-to-one messages as fast as windows allow, accepted, delivered and acknowledged.
    Throughput {
        #[command(flatten)]
        target: Target,
        /// Pairs of devices; each device sends and receives.
        #[arg(long, default_value_t = 50)]
        pairs: usize,
        /// How long, in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Sends that each device keeps unanswered.
        #[arg(long, default_value_t = 16)]
        window: usize,
    },
    /// Sent-to-received latency at a fixed rate, open loop.
    Latency {
        #[command(flatten)]
        target: Target,
        /// Pairs of devices.
        #[arg(long, default_value_t = 20)]
        pairs: usize,
        /// Messages a second in all.
        #[arg(long, default_value_t = 400)]
        rate: u64,
        /// How long, in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Memory of idle connections.
    Idle {
        #[command(flatten)]
        target: Target,
        /// Connections.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
    /// A device comes back to a full mailbox.
    Drain {
        #[command(flatten)]
        target: Target,
        /// Waiting messages.
        #[arg(long, default_value_t = 10_000)]
        messages: usize,
    },
    /// Messages to a group whose members are all online, one after another.
    Group {
        #[command(flatten)]
        target: Target,
        /// Accounts, each with one device.
        #[arg(long, default_value_t = 1_024)]
        members: usize,
        /// Messages.
        #[arg(long, default_value_t = 20)]
        messages: usize,
    },
}

/// A running server whose quotas are switched off.
#[derive(Debug, Args)]
struct Target {
    /// The server's public address.
    #[arg(long)]
    server: ServerUrl,
    /// SHA-256 of its certificate, for a self-signed one.
    #[arg(long)]
    server_pin: Option<CertificatePin>,
    /// The server's data directory: its admin socket gives the one-time codes.
    #[arg(long)]
    data: PathBuf,
    /// The server's process, whose CPU and memory are measured.
    #[arg(long)]
    pid: u32,
}

impl Target {
    fn service(self) -> Result<Service> {
        Service::new(self.server, self.server_pin, self.data, self.pid).context("cannot reach the service")
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.command {
        Command::Bench(options) => runtime.block_on(bench::run(&options)),
        scenario => {
            println!("{}", runtime.block_on(one(scenario))?.to_json());
            Ok(())
        }
    }
}

async fn one(command: Command) -> Result<Report> {
    match command {
        Command::Throughput { target, pairs, seconds, window } => {
            scenario::throughput(&target.service()?, pairs, seconds, window).await
        }
        Command::Latency { target, pairs, rate, seconds } => {
            scenario::latency(&target.service()?, pairs, rate, seconds).await
        }
        Command::Idle { target, connections } => scenario::idle(&target.service()?, connections).await,
        Command::Drain { target, messages } => scenario::drain(&target.service()?, messages).await,
        Command::Group { target, members, messages } => {
            group::fan_out(&target.service()?, members, messages).await
        }
        Command::Bench(_) => unreachable!("the bench is no single scenario"),
    }
}
