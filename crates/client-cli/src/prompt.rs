//! Questions to the person at the terminal. They are asked on standard error, so that standard output
//! carries nothing but data.

use crate::failure::Failure;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Whether a person can be asked: sees the question on standard error and can answer it.
pub fn has_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks, and waits for one line; none at the end of the input.
pub async fn ask(question: impl Into<String>) -> Result<Option<String>, Failure> {
    let question = question.into();
    let asked = tokio::task::spawn_blocking(move || {
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
        read_line()
    });
    asked.await.map_err(Failure::bug)
}

/// Asks something that is answered by `y` or `yes`; anything else, and the end of the input, is a no.
pub async fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = ask(format!("{question} [y/N] ")).await?.unwrap_or_default();
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// One line of standard input without the spaces around it; none at its end, or if it cannot be read.
pub fn read_line() -> Option<String> {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Some(line.trim().to_owned()),
        _ => None,
    }
}
