//! Crates depend on each other in one direction only: the arrows of ARCHITECTURE.md, as a table.
//!
//! A crate may use everything that its arrows lead to. Tools (`sim`, `loadgen`, `testkit`, `fuzz`, `xtask`) are leaves: no
//! program links them. Tests may reach further than programs, but never from the client's side to the server's.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    finding::Finding,
    workspace::{Dependency, Kind, Member},
};

/// Each crate and the crates that its arrows point to.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("wire", &["types"]),
    ("signed", &["types"]),
    ("seal", &["signed"]),
    ("client", &["wire", "seal"]),
    ("client-net", &["client"]),
    ("client-cli", &["client-net"]),
    ("server-ports", &["wire", "signed"]),
    ("server-edge", &["server-ports"]),
    ("server-core", &["server-ports"]),
    ("server-solo", &["server-ports"]),
    ("server", &["server-edge", "server-core", "server-solo"]),
    ("testkit", &["wire", "seal"]),
    ("sim", &["client", "server-edge", "server-core", "testkit"]),
    ("loadgen", &["client-net", "testkit"]),
    ("fuzz", &["client-net", "server"]),
    ("xtask", &[]),
];

/// Programs of ours that nothing may depend on, tests included.
const PROGRAMS_ONLY: &[&str] = &["sim", "loadgen", "fuzz", "xtask"];

/// What the client's side is built of. None of it may see the server, even in tests.
const CLIENT_SIDE: &[&str] = &["types", "wire", "signed", "seal", "client", "client-net", "client-cli"];

/// Finds every dependency between our crates that goes against an arrow.
pub fn check(members: &BTreeMap<String, Member>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members.values() {
        let Some(reach) = reach(&member.name) else {
            findings.push(Finding::error(
                &member.name,
                "has no place in xtask/src/tidy/direction.rs: give it its arrows",
            ));
            continue;
        };
        let ours = member.dependencies.iter().filter(|dependency| members.contains_key(&dependency.name));
        findings.extend(ours.filter_map(|dependency| fault(&member.name, dependency, &reach)));
    }
    findings
}

fn fault(from: &str, dependency: &Dependency, reach: &BTreeSet<&str>) -> Option<Finding> {
    let to = dependency.name.as_str();
    let reason = if PROGRAMS_ONLY.contains(&to) {
        "nothing depends on a tool, tests included".to_owned()
    } else if CLIENT_SIDE.contains(&from) && to.starts_with("server") {
        "the client's side never sees the server's, tests included".to_owned()
    } else if dependency.kind != Kind::Dev && !reach.contains(to) {
        format!("its arrows lead only to {}", list(reach))
    } else {
        return None;
    };
    Some(Finding::error(from, format!("may not depend on {to}: {reason}")))
}

/// Everything that the arrows of a crate lead to, directly or over others.
fn reach(name: &str) -> Option<BTreeSet<&'static str>> {
    let direct = arrows(name)?;
    let mut reach = BTreeSet::new();
    let mut open: Vec<&str> = direct.to_vec();
    while let Some(next) = open.pop() {
        if reach.insert(next) {
            open.extend(arrows(next).expect("an arrow points to a crate of the table"));
        }
    }
    Some(reach)
}

fn arrows(name: &str) -> Option<&'static [&'static str]> {
    ARROWS.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

fn list(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_cycle() {
        for (name, _) in ARROWS {
            let reach = reach(name).expect("the name is from the table");
            assert!(!reach.contains(name), "{name} leads back to itself");
        }
    }
}
