//! What a process used: CPU time and resident memory, from /proc (proc(5)).

use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Kernel clock ticks a second: `USER_HZ`, 100 on every architecture that Linux has for servers.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of a process from a moment on.
pub(crate) struct Meter {
    pid: u32,
    cpu: Duration,
    own_cpu: Duration,
    since: Instant,
}

/// What happened since.
pub(crate) struct Used {
    /// CPU time of the measured process.
    pub(crate) cpu: Duration,
    /// Share of one core that the generator itself used.
    pub(crate) generator: f64,
    /// Wall time.
    pub(crate) wall: Duration,
}

impl Meter {
    pub(crate) fn start(pid: u32) -> Result<Self> {
        Ok(Self { pid, cpu: cpu(pid)?, own_cpu: cpu(std::process::id())?, since: Instant::now() })
    }

    pub(crate) fn stop(&self) -> Result<Used> {
        let wall = self.since.elapsed();
        let own = cpu(std::process::id())?.saturating_sub(self.own_cpu);
        Ok(Used {
            cpu: cpu(self.pid)?.saturating_sub(self.cpu),
            generator: own.as_secs_f64() / wall.as_secs_f64().max(0.001),
            wall,
        })
    }
}

/// User and system time of all threads.
fn cpu(pid: u32) -> Result<Duration> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the measured process is gone")?;
    // The command name may hold spaces; the fields after its closing parenthesis are numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 1_000 / TICKS_PER_SECOND))
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("the measured process is gone")?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok())
        .context("the kernel does not say how much memory the process has")?;
    Ok(kilobytes * 1_024)
}
