//! The part of `deny.toml` that these checks understand, in cargo-deny's own words.

use anyhow::{Context, Result};
use cargo_metadata::semver::{Version, VersionReq};
use serde::{Deserialize, Deserializer, de::Error};

use crate::repository::Repository;

const FILE: &str = "deny.toml";

/// The whole policy.
#[derive(Debug, Deserialize)]
pub struct Policy {
    /// Which packages are looked at.
    pub graph: Graph,
    /// Which licences are accepted.
    pub licenses: Licenses,
    /// Which packages are refused, and which may be there in several versions.
    pub bans: Bans,
    /// Where packages may come from.
    pub sources: Sources,
}

/// Which packages are looked at.
#[derive(Debug, Deserialize)]
pub struct Graph {
    /// The targets that we build for.
    pub targets: Vec<String>,
}

/// Which licences are accepted.
#[derive(Debug, Default, Deserialize)]
pub struct Licenses {
    /// SPDX identifiers, with an exception where it is needed (`Apache-2.0 WITH LLVM-exception`).
    pub allow: Vec<String>,
}

/// Which packages are refused, and which may be there in several versions.
#[derive(Debug, Default, Deserialize)]
pub struct Bans {
    /// Packages that may not be there at all.
    #[serde(default)]
    pub deny: Vec<Rule>,
    /// Versions that may stand beside another version of the same package.
    #[serde(default)]
    pub skip: Vec<Rule>,
}

/// A package, some of its versions, and why the rule exists.
#[derive(Debug, Deserialize)]
pub struct Rule {
    /// Which package, and which of its versions.
    #[serde(rename = "crate")]
    pub spec: Spec,
    /// Why, and for a duplicate: until when.
    pub reason: String,
}

/// Where packages may come from.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sources {
    /// Addresses of registry indexes.
    pub allow_registry: Vec<String>,
}

/// `name` or `name@requirement`.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The package's name.
    pub name: String,
    /// The versions that are meant.
    pub versions: VersionReq,
}

impl Spec {
    /// Whether a package is meant.
    pub fn covers(&self, name: &str, version: &Version) -> bool {
        self.name == name && matches(&self.versions, version)
    }
}

/// Whether a version meets a requirement; a pre-release counts as the release it leads to, and `*` is every version.
pub fn matches(requirement: &VersionReq, version: &Version) -> bool {
    let release = Version::new(version.major, version.minor, version.patch);
    requirement.matches(version) || requirement.matches(&release)
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (name, versions) = text.split_once('@').unwrap_or((&text, "*"));
        let versions = VersionReq::parse(versions).map_err(D::Error::custom)?;
        Ok(Self { name: name.to_owned(), versions })
    }
}

impl Policy {
    /// Reads `deny.toml`.
    pub fn read(repository: &Repository) -> Result<Self> {
        Self::parse(&repository.read(FILE)?)
    }

    /// Reads the text of a policy.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context(FILE)
    }
}
