//! A person of the play: a phone number, a profile, and what they do with `wax`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::server::Server;

/// Every command of `wax` ends by itself long before.
const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// On the sender's disk.
    Queued,
    /// On the server's disk.
    Accepted,
    /// On the recipient's disk.
    Delivered,
    /// Before the recipient's eyes.
    Read,
}

impl State {
    /// As `wax` prints it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

/// Somebody with a profile of their own.
pub(super) struct Person {
    name: &'static str,
    phone: &'static str,
    wax: PathBuf,
    profile: PathBuf,
}

impl Person {
    /// Somebody who has no account yet.
    pub(super) fn new(name: &'static str, phone: &'static str, wax: &Path, folder: &Path) -> Self {
        Self { name, phone, wax: wax.to_owned(), profile: folder.join(name.to_lowercase()) }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn phone(&self) -> &'static str {
        self.phone
    }

    /// Asks the server to send a code, and reads it as the operator sees it.
    pub(super) fn ask_for_code(&self, server: &Server) -> Result<String> {
        let answer = self.one(&["register", "--server", &server.url(), "--phone", self.phone])?;
        ensure!(answer["state"] == "code_sent", "register said {answer}");
        server.code(self.phone)
    }

    /// Gets the account.
    pub(super) fn register(&self, server: &Server, code: &str) -> Result<()> {
        let url = server.url();
        let register =
            ["register", "--server", &url, "--phone", self.phone, "--name", self.name, "--code", code];
        let answer = self.one(&register)?;
        ensure!(answer["phone"] == self.phone && answer["device"] == 1, "register said {answer}");
        Ok(())
    }

    /// The digits to compare with somebody.
    pub(super) fn safety_number(&self, other: &Self) -> Result<String> {
        let answer = self.one(&["verify", other.phone])?;
        let number = answer["safety_number"].as_str().unwrap_or_default().to_owned();
        ensure!(number.len() == 60, "verify said {answer}");
        Ok(number)
    }

    /// Sends a text that must come this far at once; gives its id.
    pub(super) fn send(&self, to: &Self, text: &str, state: State) -> Result<String> {
        self.send_within(to, text, Duration::from_secs(10), state)
    }

    /// Sends a text with less patience.
    pub(super) fn send_within(
        &self,
        to: &Self,
        text: &str,
        patience: Duration,
        state: State,
    ) -> Result<String> {
        let patience = patience.as_secs().to_string();
        let answer = self.one(&["send", "--timeout", &patience, to.phone, text])?;
        ensure!(
            answer["state"] == state.name(),
            "{} sent a message that is not {}: {answer}",
            self.name,
            state.name()
        );
        let id = answer["message_id"].as_str();
        Ok(id.with_context(|| format!("send said {answer}"))?.to_owned())
    }

    /// Fetches what is new; gives the texts in the order in which they came.
    pub(super) fn receive(&self) -> Result<Vec<String>> {
        let events = self.wax(&["receive"])?;
        ensure!(
            events.last().is_some_and(|event| event["event"] == "drained"),
            "{} did not drain",
            self.name
        );
        let unexpected = events.iter().find(|event| event["event"] == "gap");
        ensure!(unexpected.is_none(), "{} misses a message: {unexpected:?}", self.name);
        Ok(events.iter().filter(|event| event["event"] == "message").filter_map(text_of).collect())
    }

    /// Looks at the chat.
    pub(super) fn read(&self, other: &Self) -> Result<()> {
        let answer = self.one(&["read", other.phone])?;
        ensure!(answer["up_to"].is_string(), "read said {answer}");
        Ok(())
    }

    /// The whole chat, oldest first.
    pub(super) fn history(&self, other: &Self) -> Result<Vec<String>> {
        Ok(self.wax(&["history", other.phone])?.iter().filter_map(text_of).collect())
    }

    /// That a message of ours has come exactly this far.
    pub(super) fn expect_state(&self, message: &str, state: State) -> Result<()> {
        let answer = self.one(&["status", message])?;
        ensure!(answer["state"] == state.name(), "{}'s message is not {}: {answer}", self.name, state.name());
        Ok(())
    }

    /// A command that prints one object.
    fn one(&self, arguments: &[&str]) -> Result<Value> {
        let mut answers = self.wax(arguments)?;
        ensure!(answers.len() == 1, "wax {} printed {answers:?}", arguments[0]);
        Ok(answers.remove(0))
    }

    /// Runs a command that must succeed; gives the objects that it prints.
    fn wax(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let output = self.run(arguments).with_context(|| format!("wax {}", arguments[0]))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "wax {} ended with {}: {}",
            arguments[0],
            output.status,
            errors.trim()
        );
        let lines = String::from_utf8_lossy(&output.stdout);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("wax printed {line}")))
            .collect()
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.wax);
        command.arg("--json").arg("--profile").arg(&self.profile).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let deadline = Instant::now() + COMMAND_MAX;
        // Few lines come, so they fit into the pipe.
        while process.try_wait()?.is_none() {
            if Instant::now() > deadline {
                process.kill()?;
                process.wait()?;
                bail!("it did not end within {COMMAND_MAX:?}");
            }
            thread::sleep(LOOK);
        }
        Ok(process.wait_with_output()?)
    }
}

fn text_of(message: &Value) -> Option<String> {
    message["body"]["text"].as_str().map(str::to_owned)
}
