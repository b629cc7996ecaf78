//! Known vulnerabilities and abandoned packages, listed by hand with dates.
//!
//! An entry without `accepted` refuses the versions it names, so that a later lock file cannot fall back to them. An
//! entry with `accepted` says why the version in the tree is not a danger here, and must go when the version does.

use anyhow::{Context, Result, ensure};
use cargo_metadata::semver::VersionReq;
use serde::Deserialize;

use super::policy::matches;
use crate::{finding::Finding, packages::Package, repository::Repository};

const FILE: &str = "xtask/advisories.toml";

/// The list.
#[derive(Debug, Deserialize)]
pub struct Advisories {
    /// When somebody last compared the lock file with the published advisories: `2026-11-22`.
    pub checked: String,
    /// One entry for each advisory.
    #[serde(default)]
    pub advisory: Vec<Advisory>,
}

/// One published advisory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advisory {
    /// Its published name (`RUSTSEC-2024-0344`).
    pub id: String,
    /// The package it is about.
    pub package: String,
    /// The versions that have the fault.
    pub affected: VersionReq,
    /// When it was published: `2024-06-18`.
    pub published: String,
    /// The fault in a sentence.
    pub fault: String,
    /// Why an affected version may be in the tree, if it may.
    pub accepted: Option<String>,
}

impl Advisories {
    /// Reads the list of the repository.
    pub fn read(repository: &Repository) -> Result<Self> {
        Self::parse(&repository.read(FILE)?)
    }

    /// Reads the text of a list; every date has to be one.
    pub fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text).context(FILE)?;
        ensure!(is_date(&list.checked), "{FILE}: checked = {:?} is not a date", list.checked);
        for advisory in &list.advisory {
            ensure!(
                is_date(&advisory.published),
                "{FILE}: {}: {:?} is not a date",
                advisory.id,
                advisory.published
            );
        }
        Ok(list)
    }

    /// Finds affected packages that no entry accepts, and entries that accept what is not there.
    pub fn check(&self, packages: &[Package]) -> Vec<Finding> {
        self.advisory.iter().flat_map(|advisory| advisory.check(packages)).collect()
    }
}

impl Advisory {
    fn check(&self, packages: &[Package]) -> Vec<Finding> {
        let affected =
            |package: &&Package| package.name == self.package && matches(&self.affected, &package.version);
        let mut affected = packages.iter().filter(affected).peekable();
        match &self.accepted {
            Some(_) if affected.peek().is_none() => {
                let message = format!(
                    "accepts {}, and no affected {} is in the tree: take `accepted` out",
                    self.id, self.package
                );
                vec![Finding::error(FILE, message)]
            }
            Some(_) => Vec::new(),
            None => affected
                .map(|package| Finding::error(package.label(), format!("{}: {}", self.id, self.fault)))
                .collect(),
        }
    }
}

/// `YYYY-MM-DD` with a month and a day that exist.
fn is_date(text: &str) -> bool {
    let fields: Vec<&str> = text.split('-').collect();
    let number = |index: usize, length: usize| -> Option<u32> {
        let field = fields.get(index).filter(|field| field.len() == length)?;
        field.parse().ok()
    };
    fields.len() == 3
        && number(0, 4).is_some()
        && number(1, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(2, 2).is_some_and(|day| (1..=31).contains(&day))
}
