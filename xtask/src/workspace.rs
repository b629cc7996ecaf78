//! The crates of the workspace and what their manifests ask for, without resolving anything.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::repository::Repository;

/// One crate of the workspace.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Its package name.
    pub name: String,
    /// Its SPDX licence expression.
    pub licence: Option<String>,
    /// What its manifest asks for, on any target and with any feature.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// The table it stands in.
    pub kind: Kind,
    /// The version requirement, as Cargo prints it (`=0.85.3-beta.5`, `^1`).
    pub requirement: String,
}

/// Which table of a manifest a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Linked into the program.
    Normal,
    /// Used by the build script.
    Build,
    /// Used by tests, examples and benchmarks.
    Dev,
}

/// The crates of the workspace by name.
pub fn members(repository: &Repository) -> Result<BTreeMap<String, Member>> {
    let metadata = MetadataCommand::new()
        .manifest_path(repository.root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata --no-deps")?;
    Ok(metadata.packages.iter().map(|package| (package.name.to_string(), member(package))).collect())
}

fn member(package: &cargo_metadata::Package) -> Member {
    let dependencies = package
        .dependencies
        .iter()
        .map(|dependency| Dependency {
            name: dependency.name.clone(),
            kind: match dependency.kind {
                DependencyKind::Build => Kind::Build,
                DependencyKind::Development => Kind::Dev,
                _ => Kind::Normal,
            },
            requirement: dependency.req.to_string(),
        })
        .collect();
    Member { name: package.name.to_string(), licence: package.license.clone(), dependencies }
}
