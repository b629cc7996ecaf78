//! Every source file says at its head what it owns.

use crate::{finding::Finding, repository::SourceFile};

/// Finds files below a `src` folder that do not begin with a module doc.
pub fn check(sources: &[&SourceFile]) -> Vec<Finding> {
    let in_src = sources.iter().filter(|file| file.path.contains("/src/"));
    in_src
        .filter(|file| !has_head(&file.text))
        .map(|file| Finding::error(&file.path, "does not begin with //! and what it owns"))
        .collect()
}

fn has_head(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty()))
}
