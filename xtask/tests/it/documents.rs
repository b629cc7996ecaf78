//! Missing documents, unnamed crates and unexplained words are found.

use std::collections::BTreeMap;

use xtask::{Finding, repository::SourceFile, tidy::documents::check, workspace::Member};

use crate::{assert_none, assert_one};

const GLOSSARY: &str = "| word | meaning |\n|---|---|\n| **account** | x |\n| `content` | x |\n| device | x |
| Device list | x |\n| drain | x |\n| envelope | x |\n| hint | x |\n| mailbox | x |\n| message | x |\n| position | x |
| prekey | x |\n| registration | x |\n| seal | x |\n| session | x |\n**Stamp**: x\n";

fn documents() -> Vec<SourceFile> {
    let empty = [
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/protocol.md",
        "docs/threat-model.md",
        "docs/benchmarks.md",
    ];
    let mut files: Vec<SourceFile> = empty.iter().map(|path| SourceFile::new(path, "")).collect();
    files.push(SourceFile::new("ARCHITECTURE.md", "- `types`: the vocabulary"));
    files.push(SourceFile::new("docs/glossary.md", GLOSSARY));
    files
}

fn check_with(crate_name: &str, licence: &str, change: impl FnOnce(&mut Vec<SourceFile>)) -> Vec<Finding> {
    let member =
        Member { name: crate_name.to_owned(), licence: Some(licence.to_owned()), dependencies: Vec::new() };
    let mut files = documents();
    change(&mut files);
    check(&BTreeMap::from([(crate_name.to_owned(), member)]), &files)
}

#[test]
fn complete_documents_pass() {
    assert_none(&check_with("types", "AGPL-3.0-only", |_| {}));
}

#[test]
fn a_missing_document_is_found() {
    let findings =
        check_with("types", "AGPL-3.0-only", |files| files.retain(|file| file.path != "SECURITY.md"));
    assert_one(&findings, "SECURITY.md: does not exist");
}

#[test]
fn a_crate_that_the_architecture_forgot_is_found() {
    assert_one(&check_with("wire", "AGPL-3.0-only", |_| {}), "does not say what `wire` is");
}

#[test]
fn a_word_without_an_entry_is_found() {
    let findings = check_with("types", "AGPL-3.0-only", |files| {
        let glossary = files.iter_mut().find(|file| file.path == "docs/glossary.md").unwrap();
        glossary.text = glossary.text.replace("| hint | x |", "| other | a hint |");
    });
    assert_one(&findings, "has no entry **hint**");
}

#[test]
fn another_licence_is_found() {
    assert_one(&check_with("types", "MIT", |_| {}), "the whole project is AGPL-3.0-only");
}
