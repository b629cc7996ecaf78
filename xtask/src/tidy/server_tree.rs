//! The server cannot read what it carries: what `waxwing` is built of holds no Signal library and no `seal`.

use anyhow::{Context, Result, ensure};

use crate::{command::cargo, finding::Finding, repository::Repository};

/// Packages that would let the server seal or open content.
const FORBIDDEN: &[&str] = &["client", "seal"];
/// Beginnings of the names of Signal's own packages.
const FORBIDDEN_PREFIXES: &[&str] = &["client-", "libsignal", "signal-crypto", "spqr"];

/// What `cargo tree -p server -e normal` prints, without its drawing.
pub fn read(repository: &Repository) -> Result<String> {
    let output = cargo(repository, &["tree", "--locked", "-p", "server", "-e", "normal", "--prefix", "none"])
        .output()
        .context("cargo tree cannot be started")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds packages in the server's tree that do not belong there. Each line begins with a package's name.
pub fn check(tree: &str) -> Vec<Finding> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut findings: Vec<Finding> = names
        .filter(|name| {
            FORBIDDEN.contains(name) || FORBIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .map(|name| {
            Finding::error("server", format!("is built with {name}, and must not be able to open content"))
        })
        .collect();
    findings.sort();
    findings.dedup();
    if !tree.lines().any(|line| line.starts_with("server ")) {
        findings.push(Finding::error("server", "is not in its own dependency tree, so nothing was checked"));
    }
    findings
}
