//! A file holds one idea. A long one rarely does.

use crate::{finding::Finding, repository::SourceFile};

/// Lines of a file from which on it is worth a look. Well-kept code bases have a median of 60 to 240.
const LINES_WORTH_A_LOOK: usize = 800;
/// Lines that no file may pass.
const LINES_MAX: usize = 1_000;

/// Finds files that are too long, and warns about those that will be.
pub fn check(sources: &[&SourceFile]) -> Vec<Finding> {
    sources.iter().filter_map(|file| check_lines(&file.path, file.text.lines().count())).collect()
}

fn check_lines(path: &str, lines: usize) -> Option<Finding> {
    if lines > LINES_MAX {
        return Some(Finding::error(
            path,
            format!("has {lines} lines, more than {LINES_MAX}: split it by concept"),
        ));
    }
    let is_long = lines > LINES_WORTH_A_LOOK;
    is_long.then(|| Finding::warning(path, format!("has {lines} lines: are these two ideas?")))
}
