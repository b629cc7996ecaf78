//! Who else's code is in the programs, and whether it may be: licences, sources, bans, duplicate versions, advisories.
//!
//! The rules are those of `deny.toml`, which cargo-deny reads too: one policy, and whoever can reach an advisory
//! database runs `cargo deny check` with it. Here nothing but the lock file and the packages' manifests is needed; the
//! advisories known for this tree are listed by hand in `xtask/advisories.toml`.

pub mod advisories;
pub mod bans;
pub mod duplicates;
pub mod licences;
pub mod policy;
pub mod sources;

use anyhow::Result;

use crate::{finding::Finding, packages, repository::Repository};
use advisories::Advisories;
use policy::Policy;

/// Runs every supply-chain check over the packages of the lock file.
pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let policy = Policy::read(repository)?;
    let advisories = Advisories::read(repository)?;
    let packages = packages::packages(repository, &policy.graph.targets)?;

    let mut findings = licences::check(&packages, &policy.licenses);
    findings.extend(sources::check(&packages, &policy.sources));
    findings.extend(bans::check(&packages, &policy.bans));
    findings.extend(duplicates::check(&packages, &policy.bans));
    findings.extend(advisories.check(&packages));
    findings.sort();
    Ok(findings)
}
