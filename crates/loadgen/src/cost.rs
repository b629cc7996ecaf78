//! What a process used: CPU time and memory, from /proc (proc(5)).

use anyhow::{Context, Result};
use std::time::{Duration, Instant};

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

/// Time on a CPU of all threads that live, to the nanosecond; a drain is too short for the ticks of
/// `/proc/PID/stat`.
fn cpu(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).context("the measured process is gone")? {
        // A thread may end between the listing and here.
        let Ok(statistics) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let on_cpu = statistics.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
        nanoseconds += on_cpu.context("the kernel does not count the time of threads")?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// CPU time of all child processes that have ended and were waited for. The kernel counts it in ticks of 10 ms.
pub(crate) fn finished_children() -> Result<Duration> {
    let statistics = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // The name in the second field may hold anything; `cutime` and `cstime` are the 16th and 17th (proc(5)).
    let (_, fields) = statistics.rsplit_once(')').context("/proc/self/stat has no name")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("the measured process is gone")?;
    field(&status, "VmRSS:").context("the kernel does not say how much memory the process has")
}

/// Memory of the kernel's own objects on the whole machine, in bytes.
pub(crate) fn kernel_objects() -> Result<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    field(&memory, "Slab:").context("the kernel does not say how much memory its objects have")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = rest.trim().trim_end_matches(" kB").trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
