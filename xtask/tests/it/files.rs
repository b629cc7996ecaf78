//! Faults inside single files are found: no head, too long, words that must not stay.

use xtask::{
    finding::passes,
    repository::SourceFile,
    tidy::{heads, length, words},
};

use crate::{assert_none, assert_one};

#[test]
fn a_source_file_begins_with_its_head() {
    let head = |path, text| heads::check(&[&SourceFile::new(path, text)]);
    assert_none(&head("crates/x/src/a.rs", "//! Owns a.\n"));
    assert_none(&head("crates/x/src/a.rs", "#![allow(missing_docs)]\n\n//! Owns a.\n"));
    assert_one(&head("crates/x/src/a.rs", "use std::fmt;\n//! Owns a.\n"), "does not begin with //!");
    assert_one(&head("crates/x/src/a.rs", "//!\nfn main() {}\n"), "does not begin with //!");
    assert_one(&head("crates/x/src/a.rs", ""), "does not begin with //!");
    assert_none(&head("crates/x/tests/it/a.rs", "use std::fmt;\n"));
}

#[test]
fn a_file_is_not_too_long() {
    let long = |lines: usize| length::check(&[&SourceFile::new("crates/x/src/a.rs", &"\n".repeat(lines))]);
    assert_none(&long(800));
    assert!(passes(&long(801)) && !long(801).is_empty(), "a long file is a warning");
    assert!(passes(&long(1_000)), "the last line that may be");
    assert!(!passes(&long(1_001)), "one line too many");
}

#[test]
fn forbidden_words_are_found_with_their_line() {
    let check = |path, text: &str| words::check(&[SourceFile::new(path, text)]);
    assert_none(&check("crates/x/src/a.rs", "// All is done.\n"));
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore]"), concat!("/ro", "ot/x")]
    {
        assert_one(
            &check("crates/x/src/a.rs", &format!("fn a() {{}}\n// {word}\n")),
            "crates/x/src/a.rs:2: has",
        );
    }
    assert_none(&check("Cargo.lock", concat!("TO", "DO")));
}
