//! The limits in `crates/types/src/limits.rs` and the table in `docs/protocol.md` say the same.
//!
//! A row of the table is ``| `NAME` | 256 KiB | ... |``. Every public constant needs its row, and every row of a table
//! that lists limits needs its constant.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;

use crate::{finding::Finding, repository::Repository};

mod code;
mod table;

const CODE: &str = "crates/types/src/limits.rs";
const TABLE: &str = "docs/protocol.md";

/// The value of a limit: the same in whatever unit it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Rows, bytes, keys.
    Count(u64),
    /// A time in milliseconds.
    Millis(u64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Millis(millis) => write!(f, "{millis} ms"),
        }
    }
}

/// Checks the two files of the repository.
pub fn check_repository(repository: &Repository) -> Result<Vec<Finding>> {
    // A missing document is a finding of its own; here it reads as an empty table.
    Ok(check(&repository.read(CODE)?, &repository.read(TABLE).unwrap_or_default()))
}

/// Compares the constants in Rust source with the tables in Markdown.
pub fn check(code: &str, markdown: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut constants = BTreeMap::new();
    for (name, value) in code::constants(code) {
        match value {
            Ok(value) => drop(constants.insert(name, value)),
            Err(reason) => {
                findings.push(Finding::error(CODE, format!("{name} cannot be compared: {reason}")))
            }
        }
    }
    if constants.is_empty() {
        findings.push(Finding::error(CODE, "has no public constant, so nothing was compared"));
    }

    let is_limit = |name: &str| constants.contains_key(name);
    let rows = table::rows(markdown, is_limit);
    for (name, value) in &constants {
        match rows.get(name) {
            None => findings.push(Finding::error(TABLE, format!("has no row for {name}, which is {value}"))),
            Some(Err(reason)) => findings.push(Finding::error(TABLE, format!("{name}: {reason}"))),
            Some(Ok(written)) if written != value => {
                findings
                    .push(Finding::error(TABLE, format!("says that {name} is {written}, and it is {value}")));
            }
            Some(Ok(_)) => {}
        }
    }
    let unknown = rows.keys().filter(|name| !constants.contains_key(*name));
    findings.extend(
        unknown
            .map(|name| Finding::error(TABLE, format!("has a row for {name}, which {CODE} does not have"))),
    );
    findings
}
