//! The checks that keep the tree as its documents describe it. Each is one file with one pure function; here they are
//! put together over the real tree.

pub mod bans;
pub mod dependency_table;
pub mod direction;
pub mod documents;
pub mod heads;
pub mod length;
pub mod limits;
pub mod links;
pub mod paths;
pub mod server_tree;
pub mod signal_library;
pub mod words;

use anyhow::Result;

use crate::{
    finding::Finding,
    repository::{Repository, SourceFile},
    workspace,
};

/// Runs every tidy check over the repository.
pub fn check(repository: &Repository) -> Result<Vec<Finding>> {
    let members = workspace::members(repository)?;
    let files = repository.files()?;
    let sources: Vec<&SourceFile> = files.iter().filter(|file| is_rust_source(&file.path)).collect();

    let mut findings = Vec::new();
    findings.extend(direction::check(&members));
    findings.extend(server_tree::check(&server_tree::read(repository)?));
    findings.extend(signal_library::check(&members, &repository.read("Cargo.lock")?)?);
    let security = repository.read("SECURITY.md").unwrap_or_default();
    findings.extend(dependency_table::check(&security, &repository.read("Cargo.lock")?)?);
    findings.extend(bans::check_repository(repository)?);
    findings.extend(documents::check(&members, &files));
    findings.extend(links::check(repository.root(), &files));
    findings.extend(paths::check(&files));
    findings.extend(heads::check(&sources));
    findings.extend(length::check(&sources));
    findings.extend(words::check(&files));
    findings.extend(limits::check_repository(repository)?);
    findings.sort();
    Ok(findings)
}

fn is_rust_source(path: &str) -> bool {
    path.ends_with(".rs") && ["crates/", "fuzz/", "xtask/"].iter().any(|folder| path.starts_with(folder))
}
