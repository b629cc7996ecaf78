//! The client's crates build for wasm32, so that the web app finds no surprise.
//!
//! Two toolchains can do it: the one in use, where its standard library for wasm32 is installed, and on Debian the
//! packages that `scripts/setup wasm` installs, which build the standard library from its sources. Both use a target
//! folder of their own, because their artefacts share nothing with the native ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    command::{self, cargo, target_dir},
    repository::Repository,
};

const TARGET: &str = "wasm32-unknown-unknown";
/// What runs in a browser, lowest layer first.
const CRATES: &[&str] = &["types", "wire", "signed", "seal", "client"];
/// Files outside those crates that the build reads.
const OTHER_INPUTS: &[&str] = &["Cargo.lock", "Cargo.toml", "proto/", "xtask/src/wasm.rs"];
/// The browser's own source of randomness.
const RUSTFLAGS: &str = "--cfg getrandom_backend=\"wasm_js\"";

/// Builds the crates; whether they build. With `if_changed` an unchanged tree counts as built.
pub fn build(repository: &Repository, if_changed: bool) -> Result<bool> {
    let folder = target_dir(repository).join("wasm");
    let stamp = Stamp { path: folder.join("waxwing-inputs.sha256"), inputs: inputs(repository)? };
    if if_changed && stamp.is_current() {
        println!("unchanged since the last build");
        return Ok(true);
    }
    let mut command = toolchain(repository)?.command(repository);
    command.args(CRATES.iter().flat_map(|name| ["-p", name])).arg("--target-dir").arg(&folder);
    let built = command::succeeds(&mut command)?;
    if built {
        stamp.keep()?;
    }
    Ok(built)
}

/// What can build for wasm32 on this machine.
enum Toolchain {
    /// The one in use has the standard library.
    Installed,
    /// Debian's, which builds the standard library too.
    Debian,
}

impl Toolchain {
    fn command(&self, repository: &Repository) -> Command {
        let arguments = ["build", "--release", "--locked", "--target", TARGET];
        let mut command = match self {
            Self::Installed => cargo(repository, &arguments),
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .args(arguments)
                    .args(["-Z", "build-std=std,panic_abort"])
                    .current_dir(repository.root());
                command
                    .env("PATH", debian_first())
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1");
                // Cargo and rustup hand these to what they start; another toolchain must not inherit them.
                for inherited in ["CARGO", "RUSTDOC", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME"] {
                    command.env_remove(inherited);
                }
                command
            }
        };
        command.env("RUSTFLAGS", RUSTFLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }
}

fn toolchain(repository: &Repository) -> Result<Toolchain> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(repository.root())
        .output()
        .context("rustc cannot be started")?;
    if Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir() {
        return Ok(Toolchain::Installed);
    }
    if ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/bin/wasm-ld-22"]
        .iter()
        .all(|tool| Path::new(tool).is_file())
    {
        return Ok(Toolchain::Debian);
    }
    bail!("no toolchain here builds for {TARGET}; type: make setup")
}

fn debian_first() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("the parts of a path can be put together again")
}

/// The digest of what the last successful build read, in a file.
struct Stamp {
    path: PathBuf,
    inputs: String,
}

impl Stamp {
    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|kept| kept == self.inputs)
    }

    fn keep(&self) -> Result<()> {
        fs::write(&self.path, &self.inputs)
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// SHA-256 over the paths and texts of everything that the build reads.
fn inputs(repository: &Repository) -> Result<String> {
    let is_input = |path: &str| {
        OTHER_INPUTS.iter().any(|input| path == *input || (input.ends_with('/') && path.starts_with(input)))
            || CRATES.iter().any(|name| path.strip_prefix("crates/").is_some_and(|rest| in_crate(rest, name)))
    };
    let mut digest = Sha256::new();
    for file in repository.files()?.iter().filter(|file| is_input(&file.path)) {
        for part in [&file.path, &file.text] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a path below `crates/` belongs to the library of a crate; its tests are not built.
fn in_crate(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/') && !rest.starts_with("/tests/"))
}
