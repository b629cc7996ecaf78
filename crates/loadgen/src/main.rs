//! `loadgen`: load for a running server, and what it cost.
//!
//! Owns: devices without ratchets (their ciphertexts are random bytes: a server cannot tell), the four
//! scenarios of docs/benchmarks.md, and reading a process's CPU and memory from /proc.
//! Must not know: the server's insides. A run whose generator was busier than 80% of a core measures
//! the generator, and says so.

mod cost;
mod device;
mod report;
mod scenario;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use client_net::{CertificatePin, ServerUrl};
use device::Service;
use report::Report;
use std::path::PathBuf;

/// Load for a running Waxwing server whose quotas are switched off.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
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
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Durable one-to-one messages as fast as windows allow, accepted and delivered.
    Throughput {
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
        /// Connections.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
    /// A device comes back to a full mailbox.
    Drain {
        /// Waiting messages.
        #[arg(long, default_value_t = 10_000)]
        messages: usize,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(arguments))?;
    println!("{}", report.to_json());
    Ok(())
}

async fn run(arguments: Arguments) -> Result<Report> {
    let service = Service::new(arguments.server, arguments.server_pin, arguments.data)
        .context("cannot reach the service")?;
    let pid = arguments.pid;
    match arguments.scenario {
        Scenario::Throughput { pairs, seconds, window } => {
            scenario::throughput(&service, pid, pairs, seconds, window).await
        }
        Scenario::Latency { pairs, rate, seconds } => {
            scenario::latency(&service, pid, pairs, rate, seconds).await
        }
        Scenario::Idle { connections } => scenario::idle(&service, pid, connections).await,
        Scenario::Drain { messages } => scenario::drain(&service, pid, messages).await,
    }
}
