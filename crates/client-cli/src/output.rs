//! Where lines and remarks go. Data goes to standard output, everything else to standard error.

use crate::{
    failure::{Failure, Reason},
    lines::Line,
    names::Names,
    prompt, render,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Write as _};
use tokio::io::{AsyncWriteExt as _, Stdout};

/// Lines that are printed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The lines, in order.
    pub lines: Vec<Line>,
    /// The logged events that these lines show; they count as printed once the batch was flushed.
    pub events: Vec<i64>,
    /// What to call the accounts in them.
    pub names: Names,
}

impl From<Line> for Batch {
    fn from(line: Line) -> Self {
        Self { lines: vec![line], ..Self::default() }
    }
}

impl From<(Vec<Line>, Names)> for Batch {
    fn from((lines, names): (Vec<Line>, Names)) -> Self {
        Self { lines, events: Vec::new(), names }
    }
}

/// Nobody reads the output any more, or it cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputError {
    /// The reader has gone, as `head` does when it has enough: no failure.
    Closed,
    /// Writing failed.
    Failed(Failure),
}

/// Where a command's output goes: this process's own streams, or those of the process that asked for it.
#[async_trait]
pub trait Output: Send {
    /// Writes the lines and flushes them.
    async fn print(&mut self, batch: Batch) -> Result<(), OutputError>;

    /// A remark for the person.
    async fn note(&mut self, text: &str);

    /// Asks the person, who is known to be there, something that is answered by yes or no.
    async fn confirm(&mut self, question: &str) -> Result<bool, OutputError>;
}

/// This process's own streams.
#[derive(Debug)]
pub struct Terminal {
    json: bool,
    colour: bool,
    stdout: Stdout,
    /// Lines printed so far.
    printed: usize,
    /// Lines that a repeated command will print again, and that are left out.
    repeated: usize,
    /// Messages among the lines printed.
    messages_printed: u64,
    /// Events printed, as far as the owner of the profile may not know it yet.
    unconfirmed: Vec<i64>,
}

impl Terminal {
    /// Chooses JSON or text, with colours if standard output is a terminal that wants them.
    pub fn new(json: bool) -> Self {
        let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        Self {
            json,
            colour,
            stdout: tokio::io::stdout(),
            printed: 0,
            repeated: 0,
            messages_printed: 0,
            unconfirmed: Vec::new(),
        }
    }

    /// Whether lines are JSON.
    pub const fn json(&self) -> bool {
        self.json
    }

    /// The command starts over: what it printed before is not printed again.
    pub const fn repeat(&mut self) {
        self.repeated = self.printed;
    }

    /// Messages that `receive` has printed.
    pub const fn messages_printed(&self) -> u64 {
        self.messages_printed
    }

    /// Events that were printed and perhaps not yet marked so.
    pub fn unconfirmed(&self) -> &[i64] {
        &self.unconfirmed
    }

    /// The owner has marked what was printed.
    pub fn confirmed(&mut self) {
        self.unconfirmed.clear();
    }

    /// A remark, or in JSON mode nothing that could be taken for the error object.
    pub fn remark(&self, text: &str) {
        let _ = writeln!(anstream::stderr(), "wax: {text}");
    }

    /// Something to look at that is not data.
    pub fn show(&self, picture: &str) {
        let _ = writeln!(anstream::stderr(), "{picture}");
    }

    /// The last words of a failed command.
    pub fn report(failure: &Failure, json: bool) {
        let text = if json { failure.json() } else { failure.text() };
        let _ = writeln!(anstream::stderr(), "{text}");
    }

    async fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.stdout.write_all(text.as_bytes()).await?;
        self.stdout.flush().await
    }

    fn line(&self, line: &Line, names: &Names) -> String {
        if self.json {
            return line.json();
        }
        let text = render::text(line, names);
        if self.colour { text } else { anstream::adapter::strip_str(&text).to_string() }
    }
}

#[async_trait]
impl Output for Terminal {
    async fn print(&mut self, batch: Batch) -> Result<(), OutputError> {
        // Events are never repeated by the owner once they were marked, so only results can be.
        let skipped = if batch.events.is_empty() { self.repeated.min(batch.lines.len()) } else { 0 };
        self.repeated -= skipped;
        let mut text = String::new();
        for line in batch.lines.iter().skip(skipped) {
            text.push_str(&self.line(line, &batch.names));
            text.push('\n');
        }
        self.write(&text).await.map_err(output_error)?;
        self.printed += batch.lines.len() - skipped;
        self.messages_printed += batch.lines.iter().filter(|line| line.is_received_message()).count() as u64;
        self.unconfirmed.extend(batch.events);
        Ok(())
    }

    async fn note(&mut self, text: &str) {
        self.remark(text);
    }

    async fn confirm(&mut self, question: &str) -> Result<bool, OutputError> {
        prompt::confirm(question).await.map_err(OutputError::Failed)
    }
}

fn output_error(error: std::io::Error) -> OutputError {
    match error.kind() {
        ErrorKind::BrokenPipe => OutputError::Closed,
        ErrorKind::StorageFull => OutputError::Failed(Failure::new(
            Reason::DiskFull,
            "the output could not be written: the disk is full",
            "make room; what was not written will be printed again",
        )),
        _ => OutputError::Failed(Failure::new(
            Reason::Io,
            format!("the output could not be written: {error}"),
            "what was not written will be printed again",
        )),
    }
}
