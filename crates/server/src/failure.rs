//! How `waxwing` fails: what happened, what to do, and an exit code (docs/exit-codes.md).

use std::fmt;

/// A command could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code, after sysexits.h.
    pub exit: u8,
    /// Stable name for scripts.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Failure {
    /// Exit 64: the command line is wrong.
    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(64, code, message)
    }

    /// Exit 65: a file or value is wrong.
    pub fn data(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(65, code, message)
    }

    /// Exit 69: something that is needed is not there or not free.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(69, code, message)
    }

    /// Exit 70: a bug.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(70, "bug", message).hint("please report this")
    }

    /// Exit 75: try again.
    pub fn temporary(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(75, code, message)
    }

    /// Exit 77: not allowed, or nothing there that may be shown.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(77, code, message)
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// Writes the failure to stderr: two lines for people, or one JSON object.
    pub fn report(&self, json: bool) {
        if json {
            let error = serde_json::json!({ "error": { "code": self.code, "message": self.message, "hint": self.hint } });
            eprintln!("{error}");
        } else {
            eprintln!("waxwing: {self}");
        }
    }

    fn new(exit: u8, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: String::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.hint) }
    }
}

impl std::error::Error for Failure {}
