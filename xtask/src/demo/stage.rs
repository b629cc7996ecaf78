//! How the play looks: slow and coloured for a person at a terminal, quick and plain for everything else.

use std::{
    io::{IsTerminal as _, Write},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::State;

/// Time to read a line.
const PAUSE: Duration = Duration::from_millis(900);

const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const RED: &str = "\u{1b}[31m";
const BLUE: &str = "\u{1b}[34m";
const PLAIN: &str = "\u{1b}[0m";

/// Where the play is shown.
pub struct Stage {
    out: Box<dyn Write>,
    for_a_person: bool,
    colour: bool,
}

impl Stage {
    /// Standard output: paced if it is a terminal, coloured if nobody minds (`NO_COLOR`).
    pub fn standard_output() -> Self {
        let for_a_person = std::io::stdout().is_terminal();
        let colour = for_a_person && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out: Box::new(std::io::stdout()), for_a_person, colour }
    }

    /// Quick and plain, to anywhere.
    pub fn plain(out: impl Write + 'static) -> Self {
        Self { out: Box::new(out), for_a_person: false, colour: false }
    }

    pub(super) fn title(&mut self, text: &str) -> Result<()> {
        let line = self.painted(BOLD, text);
        self.print(&line)
    }

    pub(super) fn scene(&mut self, title: &str) -> Result<()> {
        let line = self.painted(BOLD, &format!("── {title}"));
        self.print("")?;
        self.print(&line)
    }

    pub(super) fn say(&mut self, text: &str) -> Result<()> {
        self.print(&format!("   {text}"))
    }

    pub(super) fn says(&mut self, who: &str, text: &str) -> Result<()> {
        let who = self.painted(BOLD, who);
        self.print(&format!("   {who} {text}"))
    }

    pub(super) fn alarm(&mut self, text: &str) -> Result<()> {
        let line = self.painted(RED, &format!("   ✗ {text}"));
        self.print(&line)
    }

    /// A message, how far it has come, and what that means.
    pub(super) fn message(&mut self, from: &str, text: &str, state: State, meaning: &str) -> Result<()> {
        let (tick, colour) = match state {
            State::Queued => ("… ", DIM),
            State::Accepted => ("✓ ", DIM),
            State::Delivered => ("✓✓", DIM),
            State::Read => ("✓✓", BLUE),
        };
        let (who, tick) = (self.painted(BOLD, from), self.painted(colour, tick));
        let meaning = self.painted(DIM, &format!("{}: {meaning}", state.name()));
        self.print(&format!("   {who}  {text:<36} {tick} {meaning}"))
    }

    fn print(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()?;
        if self.for_a_person {
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}
