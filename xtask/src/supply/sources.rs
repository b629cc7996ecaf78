//! Every package is ours or comes from an accepted registry: nothing from a moving branch or an unknown place.

use super::policy::Sources;
use crate::{finding::Finding, packages::Package};

/// Finds packages from anywhere else.
pub fn check(packages: &[Package], policy: &Sources) -> Vec<Finding> {
    let is_accepted = |source: &str| {
        let registry = source.strip_prefix("registry+").or_else(|| source.strip_prefix("sparse+"));
        registry.is_some_and(|address| policy.allow_registry.iter().any(|accepted| accepted == address))
    };
    let foreign = packages.iter().filter_map(|package| Some((package, package.source.as_deref()?)));
    foreign
        .filter(|(_, source)| !is_accepted(source))
        .map(|(package, source)| {
            Finding::error(package.label(), format!("comes from {source}, which deny.toml does not accept"))
        })
        .collect()
}
