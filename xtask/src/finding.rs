//! What a check found: where, and what to do about it.

use std::fmt;

/// One thing that is wrong with the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whether the check fails because of it.
    pub severity: Severity,
    /// A path in the repository, or the name of a package.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub message: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The check fails.
    Error,
    /// Shown, and nothing more.
    Warning,
}

impl Finding {
    /// A finding that fails the check.
    pub fn error(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: place.into(), message: message.into() }
    }

    /// A finding that is only shown.
    pub fn warning(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}: {}: {}", self.place, self.message)
    }
}

/// Whether none of the findings is an error.
pub fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Warning)
}

/// Prints the findings of a check to standard output and tells whether it passes.
pub fn print(check: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    let passes = passes(findings);
    println!("{check}: {}", if passes { "ok" } else { "failed" });
    passes
}
