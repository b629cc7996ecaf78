//! How many tests passed, failed and were skipped, from the lines that `cargo test` prints.

use std::fmt;

/// A count of tests. Its text is the line that closes a run: `12 passed, 0 failed`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// What did not run on this machine, and why.
    pub skips: Vec<String>,
    ignored: u64,
}

impl Tally {
    /// Counts the summary of one test program; any other line is nothing to it.
    ///
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s`
    pub fn read(&mut self, line: &str) {
        let Some(summary) = line.trim().strip_prefix("test result: ") else { return };
        let Some((_, counts)) = summary.split_once(". ") else { return };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Counts tests that passed because they found out that they cannot run here: one line each.
    pub fn skip(&mut self, lines: &str) {
        let reasons: Vec<String> = lines.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        self.passed = self.passed.saturating_sub(reasons.len() as u64);
        self.skips.extend(reasons);
    }

    /// Counts one step that is no test.
    pub fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skips.extend_from_slice(&other.skips);
    }

    /// Whether nothing ran.
    pub fn is_empty(&self) -> bool {
        self.passed == 0 && self.failed == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.skips.len() as u64 + self.ignored {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}
