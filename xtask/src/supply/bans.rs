//! Packages that may not be there at all.

use super::policy::Bans;
use crate::{finding::Finding, packages::Package};

/// Finds banned packages.
pub fn check(packages: &[Package], policy: &Bans) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in &policy.deny {
        let banned = packages.iter().filter(|package| rule.spec.covers(&package.name, &package.version));
        findings.extend(
            banned.map(|package| Finding::error(package.label(), format!("is banned: {}", rule.reason))),
        );
    }
    findings
}
