//! Crates of pure logic carry the bans of `clippy-logic.toml`: no clock, no randomness, no tasks.
//!
//! Clippy reads the first `clippy.toml` from a crate's folder upwards, so a file in the folder replaces the one at the
//! root: it has to be the whole list, and the whole list has to hold what the root bans.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{finding::Finding, repository::Repository};

/// Crates whose outputs follow from their inputs alone.
const LOGIC_CRATES: &[&str] = &["types", "wire", "signed", "seal", "client", "server-core", "server-ports"];
const EVERYWHERE: &str = "clippy.toml";
const LOGIC: &str = "clippy-logic.toml";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClippyFile {
    disallowed_methods: Vec<DisallowedMethod>,
}

#[derive(Deserialize)]
struct DisallowedMethod {
    path: String,
    reason: Option<String>,
}

/// Checks the files of the repository.
pub fn check_repository(repository: &Repository) -> Result<Vec<Finding>> {
    let logic = repository.read(LOGIC)?;
    let mut findings = check_lists(&repository.read(EVERYWHERE)?, &logic)?;
    for name in LOGIC_CRATES {
        let path = format!("crates/{name}/clippy.toml");
        findings.extend(check_crate(&path, repository.read(&path).ok().as_deref(), &logic));
    }
    Ok(findings)
}

/// Checks that the logic list repeats the general one and that every ban says why.
pub fn check_lists(everywhere: &str, logic: &str) -> Result<Vec<Finding>> {
    let everywhere: ClippyFile = toml::from_str(everywhere).context(EVERYWHERE)?;
    let logic: ClippyFile = toml::from_str(logic).context(LOGIC)?;
    let banned: BTreeSet<&str> = logic.disallowed_methods.iter().map(|method| method.path.as_str()).collect();

    let forgotten =
        everywhere.disallowed_methods.iter().filter(|method| !banned.contains(method.path.as_str()));
    let mut findings: Vec<Finding> = forgotten
        .map(|method| {
            Finding::error(LOGIC, format!("{} is banned in {EVERYWHERE} and must be here too", method.path))
        })
        .collect();
    let silent = logic.disallowed_methods.iter().filter(|method| method.reason.is_none());
    findings.extend(
        silent.map(|method| Finding::error(LOGIC, format!("the ban of {} has no reason", method.path))),
    );
    Ok(findings)
}

/// Checks one crate's file, given its text if there is one.
pub fn check_crate(path: &str, text: Option<&str>, logic: &str) -> Option<Finding> {
    let message = match text {
        None => format!("is missing: link it to ../../{LOGIC}"),
        Some(text) if text != logic => format!("is not {LOGIC}: link it to ../../{LOGIC}"),
        Some(_) => return None,
    };
    Some(Finding::error(path, message))
}
