//! SECURITY.md says what the promises are built on: each package of its table is locked at the version it gives.
//!
//! A row is ``| `rustls` | 0.23 | ... |``. The version may leave off what a patch release changes.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{finding::Finding, lock_file::LockFile};

const DOCUMENT: &str = "SECURITY.md";

/// Compares the table, given the text of SECURITY.md, with the text of `Cargo.lock`.
pub fn check(document: &str, lock_file: &str) -> Result<Vec<Finding>> {
    let lock_file = LockFile::parse(lock_file)?;
    let mut locked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &lock_file.packages {
        locked.entry(&package.name).or_default().push(&package.version);
    }
    let rows: Vec<(&str, &str)> = document.lines().filter_map(row).collect();
    if rows.is_empty() {
        return Ok(vec![Finding::error(DOCUMENT, "has no table of packages and their versions")]);
    }
    let wrong = rows.into_iter().filter_map(|(name, version)| match locked.get(name) {
        None => Some(format!("names `{name}`, which is not in Cargo.lock")),
        Some(found) if !found.iter().any(|found| is_release_of(found, version)) => {
            Some(format!("says that `{name}` is {version}, and it is {}", found.join(" and ")))
        }
        Some(_) => None,
    });
    Ok(wrong.map(|message| Finding::error(DOCUMENT, message)).collect())
}

/// The package and the version of a row; other tables have no version in their second cell.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
    let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    let version = cells.next()?;
    version.starts_with(|first: char| first.is_ascii_digit()).then_some((name, version))
}

/// Whether `0.23.46` is a release of `0.23`.
fn is_release_of(found: &str, version: &str) -> bool {
    found.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+']))
}
