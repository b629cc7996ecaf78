//! Starting other programs: what is run is shown, its output streams through, a failure names the command.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::repository::Repository;

/// `cargo` with these arguments, in the repository, with the toolchain that runs this program.
pub fn cargo(repository: &Repository, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(repository.root()).stdin(Stdio::null());
    command
}

/// The folder that builds go to: `CARGO_TARGET_DIR`, else `target` in the repository.
pub fn target_dir(repository: &Repository) -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty());
    repository.root().join(chosen.map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// A program of the release build, which has to exist.
pub fn release_program(repository: &Repository, name: &str) -> Result<PathBuf> {
    let program = target_dir(repository).join("release").join(name);
    anyhow::ensure!(program.is_file(), "{} is not built; type: make build", program.display());
    Ok(program)
}

/// Runs a command whose output goes where ours goes; whether it succeeded.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    show(command);
    Ok(command.status().with_context(|| format!("{} cannot be started", describe(command)))?.success())
}

/// Runs a command whose standard output goes where ours goes, line by line, and is handed to `each_line` too;
/// whether it succeeded.
pub fn succeeds_watched(command: &mut Command, mut each_line: impl FnMut(&str)) -> Result<bool> {
    show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", describe(command)))?;
    let output = child.stdout.take().expect("standard output was asked for as a pipe");
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        each_line(&line);
    }
    Ok(child.wait()?.success())
}

/// Whether a program of this name is on the path.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The command as one would type it.
pub fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn show(command: &Command) {
    println!("$ {}", describe(command));
}
