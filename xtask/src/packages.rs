//! Every package that is built for a target we build for.
//!
//! `cargo metadata` knows licences and sources, but lists whatever any feature could bring in; `cargo tree` lists what
//! is built. So the second chooses from the first.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{MetadataCommand, semver::Version};

use crate::{command::cargo, repository::Repository};

/// One resolved package, ours or from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its resolved version.
    pub version: Version,
    /// Its SPDX licence expression, if its manifest has one.
    pub licence: Option<String>,
    /// Where it comes from, as in `Cargo.lock`; `None` is a path in this repository.
    pub source: Option<String>,
}

impl Package {
    /// `name 1.2.3`, as findings name it.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// The packages of all the given targets, each once, sorted by name and version.
pub fn packages(repository: &Repository, targets: &[String]) -> Result<Vec<Package>> {
    let mut found = BTreeMap::new();
    for target in targets {
        let built = built(repository, target)?;
        let metadata = MetadataCommand::new()
            .manifest_path(repository.root().join("Cargo.toml"))
            .other_options(vec!["--locked".to_owned(), "--filter-platform".to_owned(), target.clone()])
            .exec()
            .with_context(|| format!("cargo metadata --locked --filter-platform {target}"))?;
        for package in metadata.packages.iter().map(package_of) {
            let key = (package.name.clone(), package.version.clone());
            if built.contains(&key) {
                found.insert(key, package);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Name and version of what is built for one target, tests and build scripts included.
fn built(repository: &Repository, target: &str) -> Result<BTreeSet<(String, Version)>> {
    let arguments =
        ["tree", "--locked", "--workspace", "-e", "normal,build,dev", "--prefix", "none", "--target", target];
    let output = cargo(repository, &arguments).output().context("cargo tree cannot be started")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| !line.is_empty()).map(name_and_version).collect()
}

/// `syn v3.0.10 (proc-macro) (*)` as (`syn`, `3.0.10`).
fn name_and_version(line: &str) -> Result<(String, Version)> {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let version = words.next().and_then(|word| word.strip_prefix('v'));
    let version = version.with_context(|| format!("cargo tree printed {line:?}"))?;
    Ok((name.to_owned(), Version::parse(version)?))
}

fn package_of(package: &cargo_metadata::Package) -> Package {
    Package {
        name: package.name.to_string(),
        version: package.version.clone(),
        licence: package.license.clone(),
        source: package.source.as_ref().map(ToString::to_string),
    }
}
