//! Every package has a licence that may stand in an AGPL-3.0 program.

use std::collections::BTreeSet;

use spdx::{Expression, Licensee};

use super::policy::Licenses;
use crate::{finding::Finding, packages::Package};

/// Finds packages without an accepted licence, and accepted licences that nothing needs.
pub fn check(packages: &[Package], policy: &Licenses) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut accepted = Vec::new();
    for text in &policy.allow {
        match Licensee::parse(text) {
            Ok(licensee) => accepted.push(licensee),
            Err(error) => {
                findings.push(Finding::error("deny.toml", format!("{text} is not a licence: {error}")))
            }
        }
    }

    let mut used = BTreeSet::new();
    for package in packages {
        if let Err(message) = check_package(package, &accepted, &mut used) {
            findings.push(Finding::error(package.label(), message));
        }
    }
    let idle = accepted.iter().filter(|licensee| !used.contains(*licensee));
    findings.extend(idle.map(|licensee| {
        Finding::error("deny.toml", format!("accepts {licensee}, which no package has: take it out"))
    }));
    findings
}

fn check_package(
    package: &Package,
    accepted: &[Licensee],
    used: &mut BTreeSet<Licensee>,
) -> Result<(), String> {
    let text = package.licence.as_deref().ok_or("names no licence in its manifest")?;
    // Before 2018 Cargo wrote alternatives with a slash.
    let expression =
        Expression::parse(&text.replace('/', " OR ")).map_err(|error| format!("`{text}`: {error}"))?;
    let is_accepted = expression.evaluate(|needed| {
        let by = accepted.iter().find(|licensee| licensee.satisfies(needed));
        used.extend(by.cloned());
        by.is_some()
    });
    is_accepted
        .then_some(())
        .ok_or_else(|| format!("has the licence `{text}`, which deny.toml does not accept"))
}
