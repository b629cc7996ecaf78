//! Where and when a bench ran, as far as its figures depend on it.

use std::{fs, path::Path, process::Command, time::SystemTime};
use types::Timestamp;

/// Where and when.
pub(crate) struct Machine {
    date: String,
    pub(crate) commit: String,
    processor: String,
    cores: usize,
    kernel: String,
    file_system: String,
    load_before: String,
}

impl Machine {
    /// Reads it; before the process is bound to one core. `data` is where servers keep their files.
    pub(crate) fn here(data: &Path) -> Self {
        Self {
            date: Timestamp::from_system_time(SystemTime::now()).to_string().chars().take(10).collect(),
            commit: commit(),
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            file_system: file_system(data),
            load_before: load(),
        }
    }

    /// A heading and a paragraph.
    pub(crate) fn to_markdown(&self, settings: &str) -> String {
        format!(
            "## {}, commit {}\n\n{}, {} cores, Linux {}, data on {}. Load average before the run {}, after it {}. {settings}\n",
            self.date,
            self.commit,
            self.processor,
            self.cores,
            self.kernel,
            self.file_system,
            self.load_before,
            load(),
        )
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "unknown".to_owned() };
    // Only what the server is built from.
    let built_from =
        ["Cargo.lock", "crates/server*", "crates/wire", "crates/types", "crates/signed", "proto"];
    match git(&[&["status", "--porcelain", "--untracked-files=no", "--"][..], &built_from].concat()) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with changes"),
    }
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}

/// A file system in memory makes every fsync free: the table has to say so.
fn file_system(path: &Path) -> String {
    const TMPFS: i64 = 0x0102_1994;
    const EXT: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    match rustix::fs::statfs(path).map(|found| found.f_type) {
        Ok(TMPFS) => "tmpfs (in memory: commits cost nothing, and prove nothing)".to_owned(),
        Ok(EXT) => "ext4".to_owned(),
        Ok(XFS) => "xfs".to_owned(),
        Ok(BTRFS) => "btrfs".to_owned(),
        Ok(other) => format!("a file system of type {other:#x}"),
        Err(_) => "an unknown file system".to_owned(),
    }
}

fn load() -> String {
    first_line("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}
