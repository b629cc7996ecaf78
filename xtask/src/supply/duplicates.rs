//! One version of each package, except where `deny.toml` says why there are more.

use std::collections::BTreeMap;

use super::policy::Bans;
use crate::{finding::Finding, packages::Package};

/// Finds packages in several versions that no rule explains, and rules that explain nothing any more.
pub fn check(packages: &[Package], policy: &Bans) -> Vec<Finding> {
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        by_name.entry(&package.name).or_default().push(package);
    }
    let duplicated: Vec<&Package> =
        by_name.values().filter(|versions| versions.len() > 1).flatten().copied().collect();

    let is_explained =
        |package: &Package| policy.skip.iter().any(|rule| rule.spec.covers(&package.name, &package.version));
    let mut findings = Vec::new();
    for (name, versions) in by_name.iter().filter(|(_, versions)| versions.len() > 1) {
        // All but one need a reason; the one without is where the others should go.
        if versions.iter().filter(|package| !is_explained(package)).count() > 1 {
            let versions: Vec<String> = versions.iter().map(|package| package.version.to_string()).collect();
            let message =
                format!("is there as {}: agree on one, or give deny.toml the reason", versions.join(" and "));
            findings.push(Finding::error(*name, message));
        }
    }

    let is_idle = |spec: &super::policy::Spec| {
        !duplicated.iter().any(|package| spec.covers(&package.name, &package.version))
    };
    let idle = policy.skip.iter().filter(|rule| is_idle(&rule.spec));
    findings.extend(idle.map(|rule| {
        let message = format!(
            "skips {}@{}, which is no duplicate any more: take it out",
            rule.spec.name, rule.spec.versions
        );
        Finding::error("deny.toml", message)
    }));
    findings
}
