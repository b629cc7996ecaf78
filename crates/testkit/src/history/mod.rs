//! What happened, as far as somebody could see it: facts with logical times, one JSON object a line.
//!
//! The order of the entries is the order in which the facts became true; the times are milliseconds
//! since the start of the run on the observer's own clock (virtual in a simulation).

mod fact;
mod kinds;
mod text;

pub use fact::Fact;
pub use kinds::{Deletion, HeldOperation, KeyKind, Line, ReceiptKind, SignedLog};

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use types::Millis;

/// One fact and when it became true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

impl Entry {
    /// When, as a length of time since the run began.
    pub const fn at(&self) -> Millis {
        Millis(self.at_ms)
    }
}

/// The facts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    /// Adds a fact; times never go backwards.
    ///
    /// # Panics
    /// If `at` is before the last entry: the observer's clock is broken.
    pub fn record(&mut self, at: Millis, fact: Fact) {
        assert!(at >= self.end(), "a history is written in the order of its times");
        self.entries.push(Entry { at_ms: at.0, fact });
    }

    /// The facts, in the order in which they became true.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// When the last fact was recorded.
    pub fn end(&self) -> Millis {
        self.entries.last().map_or(Millis(0), Entry::at)
    }

    /// Joins histories of several observers of one clock by time; a tie keeps the order of the arguments.
    pub fn merge(histories: impl IntoIterator<Item = Self>) -> Self {
        let mut entries: Vec<Entry> = histories.into_iter().flat_map(|history| history.entries).collect();
        entries.sort_by_key(|entry| entry.at_ms);
        Self { entries }
    }

    /// Writes one JSON object a line.
    pub fn write_lines(&self, mut to: impl Write) -> io::Result<()> {
        for entry in &self.entries {
            serde_json::to_writer(&mut to, entry)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Reads what [`History::write_lines`] wrote; a last line without its end (the writer was killed)
    /// is left out.
    pub fn read_lines(mut from: impl BufRead) -> io::Result<Self> {
        let mut history = Self::default();
        let mut line = String::new();
        while from.read_line(&mut line)? > 0 {
            if line.ends_with('\n') {
                history.entries.push(serde_json::from_str(&line)?);
            }
            line.clear();
        }
        Ok(history)
    }
}
