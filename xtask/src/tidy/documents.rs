//! The documents that must exist, and what they must name: every crate in ARCHITECTURE.md, every word that the code
//! lives by in the glossary.

use std::collections::BTreeMap;

use crate::{finding::Finding, repository::SourceFile, workspace::Member};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const GLOSSARY: &str = "docs/glossary.md";
const LICENCE: &str = "AGPL-3.0-only";

/// Documents that a reader looks for.
const REQUIRED: &[&str] = &[
    "LICENSE",
    "README.md",
    ARCHITECTURE,
    "SECURITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    GLOSSARY,
    "docs/protocol.md",
    "docs/threat-model.md",
    "docs/benchmarks.md",
];

/// Words with one meaning each, which code, protocol, metrics and documents share.
const WORDS: &[&str] = &[
    "account",
    "content",
    "device",
    "device list",
    "drain",
    "envelope",
    "hint",
    "mailbox",
    "message",
    "position",
    "prekey",
    "registration",
    "seal",
    "session",
    "stamp",
];

/// Checks that the documents exist and name what they must.
pub fn check(members: &BTreeMap<String, Member>, files: &[SourceFile]) -> Vec<Finding> {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());

    let missing = REQUIRED.iter().filter(|path| text_of(path).is_none());
    let mut findings: Vec<Finding> = missing.map(|path| Finding::error(*path, "does not exist")).collect();

    let architecture = text_of(ARCHITECTURE).unwrap_or_default();
    let unnamed = members.keys().filter(|name| !architecture.contains(&format!("`{name}`")));
    findings
        .extend(unnamed.map(|name| Finding::error(ARCHITECTURE, format!("does not say what `{name}` is"))));

    let glossary = text_of(GLOSSARY).unwrap_or_default().to_lowercase();
    let unexplained = WORDS.iter().filter(|word| !explains(&glossary, word));
    findings.extend(unexplained.map(|word| Finding::error(GLOSSARY, format!("has no entry **{word}**"))));

    let unlicensed = members.values().filter(|member| member.licence.as_deref() != Some(LICENCE));
    findings.extend(unlicensed.map(|member| {
        Finding::error(
            &member.name,
            format!("has licence {:?}, and the whole project is {LICENCE}", member.licence),
        )
    }));
    findings
}

/// Whether a glossary in lower case has an entry: the word in bold, or as the first cell of a table's row.
fn explains(glossary: &str, word: &str) -> bool {
    glossary.contains(&format!("**{word}**"))
        || glossary.lines().any(|line| {
            let cell = line.trim_start().strip_prefix('|').and_then(|rest| rest.split('|').next());
            cell.is_some_and(|cell| cell.trim().trim_matches(['`', '*']) == word)
        })
}
