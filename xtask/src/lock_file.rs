//! `Cargo.lock`: which packages are built, in which versions, of which bytes.

use anyhow::{Context, Result};
use serde::Deserialize;

/// The part of a lock file that checks look at.
#[derive(Debug, Deserialize)]
pub struct LockFile {
    /// Every package, ours included.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// One package at one version.
#[derive(Debug, Deserialize)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its `.crate` file; none for packages of this repository.
    pub checksum: Option<String>,
}

impl LockFile {
    /// Reads the text of a lock file.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("Cargo.lock is not a lock file")
    }
}
