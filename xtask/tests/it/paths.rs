//! A file or test that a document names and that is gone is found.

use xtask::{Finding, repository::SourceFile, tidy::paths::check};

use crate::{assert_none, assert_one};

fn document(path: &str, text: &str) -> Vec<Finding> {
    check(&[
        SourceFile::new("crates/types/src/id.rs", ""),
        SourceFile::new("crates/types/tests/it/ids.rs", "#[test]\nfn ids_are_read_back() {}\n"),
        SourceFile::new("proto/frames.proto", ""),
        SourceFile::new(path, text),
    ])
}

#[test]
fn what_exists_may_be_named() {
    let text = "`types/src/id.rs`, `crates/types/src/id.rs`, `types/src/`, `proto/frames.proto`, \
                `types/tests/it/ids.rs::ids_are_read_back`, and `types`";
    assert_none(&document("ARCHITECTURE.md", text));
}

#[test]
fn what_is_not_a_path_of_ours_is_left_alone() {
    let text = "`/v1/socket`, `tls/key.pem`, `wax send`, `types/src/*.rs`, `types::Stamp`";
    assert_none(&document("docs/protocol.md", text));
    assert_none(&document("ARCHITECTURE.md", "text\n```\ntypes/src/gone.rs `types/src/gone.rs`\n```\n"));
    assert_none(&document("CHANGELOG.md", "`types/src/gone.rs` was removed"));
}

#[test]
fn what_is_gone_is_found() {
    assert_one(
        &document("ARCHITECTURE.md", "see `types/src/gone.rs`"),
        "ARCHITECTURE.md: names `types/src/gone.rs`",
    );
    assert_one(&document("README.md", "```\ncode\n```\nsee `proto/gone/`"), "names `proto/gone/`");
    assert_one(&document("ARCHITECTURE.md", "see `id.rs`"), "names `id.rs` without its folder");
    assert_one(
        &document("docs/threat-model.md", "`types/tests/it/ids.rs::ids_fly`"),
        "names `types/tests/it/ids.rs::ids_fly`, and there is no such test",
    );
    assert_one(&document("docs/threat-model.md", "`types/tests/it/gone.rs::ids_fly`"), "does not exist");
}
