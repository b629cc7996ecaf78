//! Documents name files and tests of this repository as code: `server-core/src/accept.rs`, or a test with its file,
//! `signed/tests/it/session.rs::a_device_proves_its_key`. Each of them exists.
//!
//! Paths begin at the repository or below `crates/`. What has another beginning is not ours and is left alone, but a
//! bare `file.rs` is refused: nobody can tell which one is meant.

use std::collections::{BTreeMap, BTreeSet};

use crate::{finding::Finding, repository::SourceFile};

/// Tells what was, not what is.
const HISTORY: &str = "CHANGELOG.md";

/// Finds paths and tests that documents name and that are not there.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let tree = Tree::new(files);
    let documents = files.iter().filter(|file| file.path.ends_with(".md") && file.path != HISTORY);
    let named =
        documents.flat_map(|document| names(&document.text).map(|name| (document.path.as_str(), name)));
    named
        .filter_map(|(document, name)| tree.fault(name).map(|fault| Finding::error(document, fault)))
        .collect()
}

/// What stands between backquotes, outside of code blocks.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// Files by path, and every folder above them.
struct Tree<'a> {
    files: BTreeMap<&'a str, &'a str>,
    folders: BTreeSet<&'a str>,
}

impl<'a> Tree<'a> {
    fn new(files: &'a [SourceFile]) -> Self {
        let folders =
            files.iter().flat_map(|file| file.path.match_indices('/').map(|(end, _)| &file.path[..end]));
        let texts = files.iter().map(|file| (file.path.as_str(), file.text.as_str()));
        Self { folders: folders.collect(), files: texts.collect() }
    }

    /// What is wrong with a name, if it is meant to be a path of ours.
    fn fault(&self, name: &str) -> Option<String> {
        let (path, test) = name
            .split_once(".rs::")
            .map_or((name, None), |(stem, test)| (&name[..stem.len() + 3], Some(test)));
        if path.contains(|c: char| c.is_whitespace() || "*{<$".contains(c)) {
            return None;
        }
        let Some((beginning, _)) = path.split_once('/') else {
            return path.ends_with(".rs").then(|| format!("names `{path}` without its folder"));
        };
        let below_crates = format!("crates/{beginning}");
        let whole = if self.folders.contains(below_crates.as_str()) {
            format!("crates/{path}")
        } else if self.folders.contains(beginning) {
            path.to_owned()
        } else {
            return None;
        };
        let whole = whole.trim_end_matches('/');
        match (self.files.get(whole), test) {
            (None, None) if self.folders.contains(whole) => None,
            (None, _) => Some(format!("names `{path}`, which does not exist")),
            (Some(text), Some(test)) if !text.contains(&format!("fn {test}(")) => {
                Some(format!("names `{name}`, and there is no such test"))
            }
            (Some(_), _) => None,
        }
    }
}
