//! Links between documents lead somewhere.

use std::path::Path;

use crate::{finding::Finding, repository::SourceFile};

/// Finds relative links in Markdown files whose target does not exist below `root`.
pub fn check(root: &Path, files: &[SourceFile]) -> Vec<Finding> {
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|document| check_document(root, document)).collect()
}

fn check_document(root: &Path, document: &SourceFile) -> Vec<Finding> {
    let folder = root.join(&document.path);
    let folder = folder.parent().expect("a file stands in a folder");
    let broken = links(&document.text).filter(|link| !folder.join(link).exists());
    broken
        .map(|link| Finding::error(&document.path, format!("links to {link}, which does not exist")))
        .collect()
}

/// The files that a document links to, without anchors; web addresses and code blocks are left out.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    let prose = text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    });
    prose
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(|link| link.split('#').next().unwrap_or_default())
        .filter(|link| !link.is_empty() && !link.contains(':'))
}
