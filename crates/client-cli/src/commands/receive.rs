//! `wax receive`: prints every event that no `receive` of this profile has printed before.
//!
//! An event counts as printed once its line was written and flushed by the process whose output it is;
//! only then it is marked, so a crash may print a line again and never skips one.

use super::Stop;
use crate::{
    lines::{Event, Line},
    output::Output,
    session::{PATIENCE, Session, Waiting, Woken},
    trouble,
};
use client::HistorySync;
use client_net::{Link, Progress};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// How often to look for what another `receive` gave back.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long to stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Until interrupted.
    pub follow: bool,
    /// This long.
    pub timeout: Option<Duration>,
    /// Until so many messages were printed.
    pub count: Option<u64>,
    /// The command was connected before it came to this process.
    pub was_connected: bool,
}

impl Job {
    /// The rest of the command.
    pub fn resume(&mut self, elapsed: Duration, messages: u64) {
        self.timeout = self.timeout.map(|timeout| timeout.saturating_sub(elapsed));
        self.count = self.count.map(|count| count.saturating_sub(messages));
    }

    /// Without any option: leave once everything that waited was printed.
    const fn leaves_when_drained(&self) -> bool {
        !self.follow && self.timeout.is_none() && self.count.is_none()
    }
}

/// Receives.
pub async fn perform(
    job: Job,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let progress = waiting.progress();
    let mut receiving = Receiving {
        deadline: job.timeout.map(|timeout| waiting.began() + timeout),
        messages_left: job.count,
        drains_seen: progress.drains - u64::from(is_drained(&progress)),
        drained: false,
        connected: job.was_connected,
        history_told: None,
        job,
    };
    loop {
        let progress = waiting.progress();
        receiving.tell_history(progress.history, output).await;
        if receiving.print_events(session, output).await? {
            return Ok(());
        }
        if progress.drains > receiving.drains_seen {
            receiving.drains_seen = progress.drains;
            receiving.drained = true;
            output.print(Line::Event(Event::Drained).into()).await?;
            continue;
        }
        match receiving.next(&progress, waiting.began(), Instant::now()) {
            Next::Leave => return Ok(()),
            Next::Fail => return Err(failure(&progress).into()),
            Next::GiveUp => {
                output
                    .note("the server stopped answering; what it still holds comes with the next receive")
                    .await;
                return Ok(());
            }
            Next::Wait(until) => {
                // Another receive may give back what it could not print, and nothing tells so.
                let look_again = session.is_printing().then(|| Instant::now() + LOOK_AGAIN);
                let until = until.into_iter().chain(look_again).min();
                if waiting.until(until).await == Woken::Hurried {
                    return Ok(());
                }
            }
        }
    }
}

/// One command's progress.
struct Receiving {
    job: Job,
    deadline: Option<Instant>,
    messages_left: Option<u64>,
    drains_seen: u64,
    drained: bool,
    connected: bool,
    history_told: Option<HistorySync>,
}

/// What to do when there is nothing to print.
enum Next {
    Wait(Option<Instant>),
    Leave,
    /// The server fell silent in the middle of a drain.
    GiveUp,
    Fail,
}

impl Receiving {
    /// Prints what there is; true once as many messages were printed as were asked for.
    async fn print_events(&mut self, session: &Session, output: &mut dyn Output) -> Result<bool, Stop> {
        while self.messages_left != Some(0) {
            let mut lease = session.lease(self.messages_left.unwrap_or(u64::MAX)).await?;
            if lease.is_empty() {
                return Ok(false);
            }
            let messages = lease.messages();
            output.print(lease.batch()).await?;
            session.mark_printed(lease.events()).await?;
            self.messages_left = self.messages_left.map(|left| left.saturating_sub(messages));
        }
        Ok(true)
    }

    /// Says how the history from before comes in. It is not printed: `history` and `search` show it.
    async fn tell_history(&mut self, history: Option<HistorySync>, output: &mut dyn Output) {
        let Some(history) = history.filter(|history| self.history_told != Some(*history)) else { return };
        self.history_told = Some(history);
        let words = match history {
            HistorySync::Importing { done, total } => {
                format!("the history from before is coming in: {done} of {total} parts")
            }
            HistorySync::Imported => "the history from before is here".into(),
            HistorySync::Failed => "the history from before cannot be had any more; what comes now is".into(),
        };
        output.note(&words).await;
    }

    fn next(&mut self, progress: &Progress, began: Instant, now: Instant) -> Next {
        self.connected |= progress.link == Link::Up;
        if progress.ended.is_some() {
            return Next::Fail;
        }
        if !self.connected {
            let patience_ends = began + PATIENCE;
            return if now >= patience_ends { Next::Fail } else { Next::Wait(Some(patience_ends)) };
        }
        if self.drained && self.job.leaves_when_drained() {
            return Next::Leave;
        }
        let silent_at = progress.silent_at(began, PATIENCE);
        if self.job.leaves_when_drained() {
            return if now >= silent_at { Next::GiveUp } else { Next::Wait(Some(silent_at)) };
        }
        match self.deadline {
            None => Next::Wait(None),
            Some(deadline) if now < deadline => Next::Wait(Some(deadline)),
            // A drain that is under way is brought to its end, so that its events are printed.
            Some(_) if progress.link == Link::Up && !progress.drained && now < silent_at => {
                Next::Wait(Some(silent_at))
            }
            Some(_) => Next::Leave,
        }
    }
}

fn is_drained(progress: &Progress) -> bool {
    progress.link == Link::Up && progress.drained
}

fn failure(progress: &Progress) -> crate::failure::Failure {
    match &progress.ended {
        Some(ended) => trouble::ended(ended),
        None => trouble::unreachable(progress.trouble.as_deref()),
    }
}
