//! The Signal library is pinned to one exact version and to its bytes, and only `seal` uses it.
//!
//! Cargo checks every downloaded package against the SHA-256 in `Cargo.lock`; here the lock file itself is checked
//! against a table, so that a changed hash is a decision and never an accident of `cargo update`.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    finding::Finding,
    lock_file::{LockFile, LockedPackage},
    workspace::{Dependency, Member},
};

/// The crate whose guard stands before the library.
const GUARD: &str = "seal";
/// The only version whose sources were compared with Signal's own.
const VERSION: &str = "0.85.3-beta.5";
/// The packages of the library with the SHA-256 of their `.crate` files.
const PACKAGES: &[(&str, &str)] = &[
    ("libsignal-core-syft", "d187031370c55863b5d81d2fe5852628ebac7e6bd6467eebbe90bbd95890cafa"),
    ("libsignal-protocol-syft", "3e970a79f9941dbd090a49d4a97dc2c13f93c67af1c2cf87833b8a9f8519b579"),
    ("signal-crypto-syft", "a06af9743165c3633491fc0d6dde0119c33a649a84528f9c579a67231b807f17"),
    ("spqr-syft", "75560ac751ef99924e096c8cf86e488b54dffc0bd9fdf76114c8dd89133df166"),
];

/// Checks who uses the library, and which bytes of it, given the text of `Cargo.lock`.
pub fn check(members: &BTreeMap<String, Member>, lock_file: &str) -> Result<Vec<Finding>> {
    let lock_file = LockFile::parse(lock_file)?;
    let mut findings: Vec<Finding> = members.values().flat_map(check_use).collect();
    findings.extend(PACKAGES.iter().flat_map(|(name, checksum)| check_bytes(&lock_file, name, checksum)));
    Ok(findings)
}

fn check_use(member: &Member) -> Vec<Finding> {
    let uses = |dependency: &&Dependency| PACKAGES.iter().any(|(name, _)| *name == dependency.name);
    let mut findings = Vec::new();
    for dependency in member.dependencies.iter().filter(uses) {
        let name = &dependency.name;
        if member.name != GUARD {
            findings.push(Finding::error(
                &member.name,
                format!("uses {name}: only {GUARD} may, behind its guard"),
            ));
        }
        if dependency.requirement != format!("={VERSION}") {
            let message = format!(
                "asks for {name} {}: the only reviewed version is ={VERSION}",
                dependency.requirement
            );
            findings.push(Finding::error(&member.name, message));
        }
    }
    findings
}

fn check_bytes(lock_file: &LockFile, name: &str, checksum: &str) -> Vec<Finding> {
    let locked: Vec<&LockedPackage> =
        lock_file.packages.iter().filter(|package| package.name == name).collect();
    if locked.is_empty() {
        return vec![Finding::error(
            "Cargo.lock",
            format!("has no {name}: take it out of the table of pinned packages"),
        )];
    }
    let is_pinned = |package: &&LockedPackage| {
        package.version == VERSION && package.checksum.as_deref() == Some(checksum)
    };
    let strange = locked.into_iter().filter(|package| !is_pinned(package));
    strange
        .map(|package| {
            let LockedPackage { version, checksum: found, .. } = package;
            let found = found.as_deref().unwrap_or("no checksum");
            let message =
                format!("{name} {version} with {found} is not the reviewed {VERSION} with {checksum}");
            Finding::error("Cargo.lock", message)
        })
        .collect()
}
