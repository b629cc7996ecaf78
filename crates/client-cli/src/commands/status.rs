//! `wax status --wait`: stays until a message has come as far as was asked.

use super::{Stop, send::message_id};
use crate::{
    args::WaitFor,
    failure::{Failure, Reason},
    lines::{Line, State, Status},
    names::Names,
    output::{Batch, Output},
    session::{PATIENCE, Session, Waiting, Woken},
    trouble,
};
use client_net::Link;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;
use types::MessageId;

/// What to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The message.
    pub message_id: String,
    /// The state to wait for.
    pub wait: State,
    /// How long.
    pub timeout: Option<Duration>,
}

impl From<WaitFor> for State {
    fn from(wait: WaitFor) -> Self {
        match wait {
            WaitFor::Accepted => Self::Accepted,
            WaitFor::Delivered => Self::Delivered,
            WaitFor::Read => Self::Read,
        }
    }
}

/// No such message.
pub fn unknown_message() -> Failure {
    Failure::new(
        Reason::UnknownMessage,
        "this profile has sent no message with this id",
        "take the message id that 'wax send' printed, and the profile that sent it",
    )
}

/// Waits.
pub async fn perform(
    job: Job,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let message = message_id(&job.message_id)?;
    let deadline = job.timeout.map(|timeout| waiting.began() + timeout);
    let mut connected = false;
    let mut over = false;
    loop {
        let progress = waiting.progress();
        connected |= progress.link == Link::Up;
        let (status, answer) = ask(message, session).await?;
        let verdict = match () {
            () if status.state >= job.wait => Some(Ok(())),
            () if matches!(status.state, State::Failed | State::Expired) => Some(Err(never(status.state))),
            () if progress.ended.is_some() => progress.ended.as_ref().map(|ended| Err(trouble::ended(ended))),
            () if over => Some(Err(not_yet(&status, job.wait))),
            () => None,
        };
        if let Some(verdict) = verdict {
            output.print(answer).await?;
            return verdict.map_err(Stop::from);
        }
        // Without a limit the wait goes on for as long as there is a server to wait for.
        let until = match deadline {
            Some(deadline) => Some(deadline),
            None if connected => None,
            None => Some(waiting.began() + PATIENCE),
        };
        let woken = waiting.until(until).await;
        over = woken == Woken::Hurried || until.is_some_and(|until| Instant::now() >= until);
    }
}

/// The state, and the line that says it.
async fn ask(message: MessageId, session: &Session) -> Result<(Status, Batch), Failure> {
    let asked = session.ask(move |engine, now| {
        let Some(status) = engine.view().status(message, now)? else { return Ok(None) };
        let status = Status::from(status);
        let lines = vec![Line::Status(status.clone())];
        let names = Names::of(&lines, engine.view())?;
        Ok(Some((status, (lines, names).into())))
    });
    asked.await?.ok_or_else(unknown_message)
}

fn never(state: State) -> Failure {
    Failure::new(
        Reason::NotAllowed,
        match state {
            State::Expired => "the message was not delivered within 30 days",
            _ => "the server refused the message",
        },
        "it will not be tried again: send a new message",
    )
}

fn not_yet(status: &Status, wait: State) -> Failure {
    Failure::new(
        Reason::NotYet,
        format!("the message is {} and not yet {}", status.state.name(), wait.name()),
        "nothing is lost: ask again later",
    )
}
