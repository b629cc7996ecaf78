//! Every package that the lock file brings in for a target we build for.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cargo_metadata::{MetadataCommand, semver::Version};

use crate::repository::Repository;

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
        let metadata = MetadataCommand::new()
            .manifest_path(repository.root().join("Cargo.toml"))
            .other_options(vec!["--locked".to_owned(), "--filter-platform".to_owned(), target.clone()])
            .exec()
            .with_context(|| format!("cargo metadata --locked --filter-platform {target}"))?;
        let resolved = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
        for node in &resolved.nodes {
            let package = &metadata[&node.id];
            found.insert((package.name.to_string(), package.version.clone()), package_of(package));
        }
    }
    Ok(found.into_values().collect())
}

fn package_of(package: &cargo_metadata::Package) -> Package {
    Package {
        name: package.name.to_string(),
        version: package.version.clone(),
        licence: package.license.clone(),
        source: package.source.as_ref().map(ToString::to_string),
    }
}
