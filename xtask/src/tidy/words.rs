//! What must not stay in a file: notes to oneself, switched-off tests, paths of one machine.

use crate::{finding::Finding, repository::SourceFile};

/// Texts that may stand nowhere, and what to do instead. They are put together here so that this file has none.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it or open an issue"),
    (concat!("FIX", "ME"), "finish it or open an issue"),
    (concat!("#[ig", "nore"), "a test that does not run proves nothing"),
    (concat!(".on", "ly("), "it switches the other tests off"),
    (concat!("/wo", "rk/"), "no path of one machine"),
    (concat!("/ro", "ot/"), "no path of one machine"),
    (concat!("/ho", "me/"), "no path of one machine"),
    (concat!("<<<<", "<<< "), "an unfinished merge"),
];

/// Files that others write.
const NOT_OURS: &[&str] = &["LICENSE", "Cargo.lock"];

/// Finds forbidden texts in all files of ours.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let ours = files.iter().filter(|file| !is_foreign(&file.path));
    ours.flat_map(check_file).collect()
}

fn is_foreign(path: &str) -> bool {
    NOT_OURS.contains(&path) || path.ends_with("package-lock.json") || path.contains("/corpus/")
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (word, instead) in FORBIDDEN {
            if line.contains(word) {
                let place = format!("{}:{}", file.path, index + 1);
                findings.push(Finding::error(place, format!("has `{word}`: {instead}")));
            }
        }
    }
    findings
}
