//! A link that leads nowhere is found.

use std::fs;

use xtask::{repository::SourceFile, tidy::links::check};

use crate::{assert_none, assert_one};

#[test]
fn links_lead_to_files() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("docs")).unwrap();
    fs::write(root.path().join("docs/a.md"), "").unwrap();
    let document = |path, text| check(root.path(), &[SourceFile::new(path, text)]);

    assert_none(&document(
        "README.md",
        "[a](docs/a.md), [part](docs/a.md#part), [web](https://a.example/x), [here](#x)",
    ));
    assert_none(&document("docs/b.md", "[a](a.md) and [up](../docs/a.md)"));
    assert_none(&document("README.md", "```\nlist[0](gone.md)\n```\n"));
    assert_one(&document("README.md", "one [a](docs/a.md), one [b](docs/b.md)"), "links to docs/b.md");
    assert_one(&document("docs/b.md", "[a](docs/a.md)"), "links to docs/a.md");
}
