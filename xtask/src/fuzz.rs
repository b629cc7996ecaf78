//! Long fuzzing of every parser of untrusted bytes.
//!
//! libFuzzer follows the coverage where it can be built: the compiler's coverage pass is part of the stable toolchain,
//! and libFuzzer itself needs a C++ compiler. Where that fails, the mutator of the `fuzz` package runs instead, and
//! this says so. What libFuzzer learned stays below the target folder, so the next run goes on from there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{self, cargo, target_dir},
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

/// The compiler's coverage pass, as libFuzzer wants to be told: a counter for each edge and where it is, and what is
/// compared with what.
const INSTRUMENTED: &str = "--cfg fuzzing -C passes=sancov-module -C codegen-units=1 \
     -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
     -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares";

/// An input that takes longer than this is a finding.
const INPUT_SECONDS_MAX: u32 = 10;
/// An input that takes more memory than this is one too.
const MEMORY_MIB_MAX: u32 = 1_024;
/// Longer inputs are still in the file, but not on the screen.
const HEX_BYTES_MAX: usize = 8 * 1024;

/// Runs the targets one after another; every one of them runs, whatever happened to the ones before.
pub fn run(repository: &Repository, options: &Options) -> Result<ExitCode> {
    let targets = targets(repository, options)?;
    let Some(program) = build_guided(repository)? else {
        println!("\nRunning the built-in mutator instead, which does not follow the coverage.");
        return run_built_in(repository, options);
    };
    let mut failed = Vec::new();
    for target in targets {
        if !run_guided(repository, &program, &target, options.seconds)? {
            failed.push(target.name);
        }
    }
    if failed.is_empty() {
        println!("no target failed");
        return Ok(ExitCode::SUCCESS);
    }
    println!("failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Builds the targets with coverage; where the program is, or nothing where it cannot be built.
fn build_guided(repository: &Repository) -> Result<Option<PathBuf>> {
    let host = host()?;
    let folder = folder(repository);
    // With `--target` the flags are for the targets alone, and not for build scripts, which have no libFuzzer.
    let arguments =
        ["build", "--release", "--locked", "-p", "fuzz", "--bin", "fuzz-guided", "--features", "guided"];
    let mut build = cargo(repository, &arguments);
    build.args(["--target", &host, "--target-dir"]).arg(&folder);
    build.env("RUSTFLAGS", INSTRUMENTED).env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !command::exists("c++") {
        println!("libFuzzer cannot be built here: there is no C++ compiler.");
        return Ok(None);
    }
    let built = command::succeeds(&mut build)?;
    if !built {
        println!("The targets cannot be built with libFuzzer and the coverage pass; the reason is above.");
    }
    Ok(built.then(|| folder.join(host).join("release/fuzz-guided")))
}

fn run_guided(repository: &Repository, program: &Path, target: &Target, seconds: u64) -> Result<bool> {
    let name = &target.name;
    println!("\n==> {name}");
    let learned = folder(repository).join("learned").join(name);
    let failures = folder(repository).join("failures").join(name);
    for folder in [&learned, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    let mut command = Command::new(program);
    command.env("WAXWING_FUZZ_TARGET", name).current_dir(repository.root());
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={INPUT_SECONDS_MAX}"));
    command.arg(format!("-max_len={}", target.input_bytes_max));
    command.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}")).args([
        "-use_value_profile=1",
        "-print_final_stats=1",
        "-verbosity=0",
    ]);
    command.arg(format!("-artifact_prefix={}/", failures.display()));
    // What is new goes to the first folder; the committed corpus is only read.
    command.arg(&learned);
    let committed = repository.root().join("fuzz/corpus").join(name);
    if committed.is_dir() {
        command.arg(committed);
    }
    let before = files(&failures)?;
    let passed = command::succeeds(&mut command)?;
    for failure in files(&failures)?.iter().filter(|file| !before.contains(file)) {
        report(name, failure)?;
    }
    Ok(passed)
}

/// Shows an input that failed, and the command that runs it again.
fn report(target: &str, file: &Path) -> Result<()> {
    let input = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    println!("{target} failed on {} bytes, kept in {}", input.len(), file.display());
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    if input.len() <= HEX_BYTES_MAX {
        println!("input: {hex}");
        println!("replay: cargo run --release -p fuzz -- replay {target} --hex {hex}");
    } else {
        println!("replay: cargo run --release -p fuzz -- replay {target} {}", file.display());
    }
    println!("when it is mended: cp {} fuzz/corpus/{target}/", file.display());
    Ok(())
}

fn run_built_in(repository: &Repository, options: &Options) -> Result<ExitCode> {
    let mut command =
        cargo(repository, &["run", "--release", "--locked", "-p", "fuzz", "--", "run", "--seconds"]);
    command.arg(options.seconds.to_string()).args(&options.target);
    Ok(if command::succeeds(&mut command)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One target to run.
struct Target {
    name: String,
    input_bytes_max: String,
}

/// The targets to run, as the `fuzz` package lists them: a name and the longest input on each line.
fn targets(repository: &Repository, options: &Options) -> Result<Vec<Target>> {
    let mut list =
        cargo(repository, &["run", "--release", "--locked", "--quiet", "-p", "fuzz", "--", "list"]);
    let output = list.args(&options.target).output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8_lossy(&output.stdout);
    let targets = text.lines().filter_map(|line| line.split_once(' '));
    Ok(targets
        .map(|(name, bytes)| Target { name: name.to_owned(), input_bytes_max: bytes.to_owned() })
        .collect())
}

/// The platform that this toolchain builds for by itself.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// Everything of long runs: builds, what was learned, what failed.
fn folder(repository: &Repository) -> PathBuf {
    target_dir(repository).join("fuzz")
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}
