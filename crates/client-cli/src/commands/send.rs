//! `wax send`: stored first, then sent; a result when the server has accepted it, or when time is up.

use super::{Stop, bad_number, chat_name, resolve, unknown_recipient};
use crate::{
    failure::{Failure, Reason},
    lines::{Line, Sent, State},
    output::Output,
    session::{Session, Waiting, Woken},
    trouble,
};
use client::{ChatName, Closed, DeliveryState, HeldReason, SendError, SendText, StatusView};
use client_net::Ended;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use types::{ChatId, MessageId, limits};

/// A text to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The chat, as it was typed.
    pub chat: String,
    /// The text.
    pub text: String,
    /// Made before anybody is asked to send, so that asking again is the same send.
    pub message_id: String,
    /// How long to wait for the server.
    pub timeout: Duration,
    /// Fail unless the server accepts it in that time.
    pub require_accepted: bool,
}

impl Job {
    /// Checks what can be checked without the profile.
    pub fn check(&self) -> Result<(), Failure> {
        chat_name(&self.chat)?;
        check_text(&self.text)?;
        message_id(&self.message_id).map(drop)
    }
}

fn check_text(text: &str) -> Result<(), Failure> {
    match text.len() {
        0 => Err(Failure::new(Reason::BadText, "there is no text to send", "give a text, or '-' to read it")),
        1..=limits::TEXT_BYTES_MAX => Ok(()),
        bytes => Err(Failure::new(
            Reason::BadText,
            format!(
                "the text is too long: {bytes} bytes, and at most {} are allowed",
                limits::TEXT_BYTES_MAX
            ),
            "send it in parts",
        )),
    }
}

/// Reads a message id.
pub fn message_id(text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|_| {
        Failure::new(
            Reason::UnknownMessage,
            "this is not a message id",
            "a message id is a UUID of 36 characters, as 'wax send' prints it",
        )
    })
}

/// Sends.
pub async fn perform(
    job: Job,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let deadline = waiting.began() + job.timeout;
    let message_id = message_id(&job.message_id)?;
    let name = chat_name(&job.chat)?;
    // Whoever names an account means it, wherever a number leads that it had.
    let to_account = matches!(name, ChatName::Id(_));
    let chat = resolve(name, session, &mut waiting, deadline).await?;
    if let Some(ended) = waiting.progress().ended {
        return Err(trouble::ended(&ended).into());
    }
    store(SendText { chat, message_id, text: job.text }, to_account, session).await?;
    let mut hurried = false;
    loop {
        let progress = waiting.progress();
        match outcome(message_id, chat, to_account, session).await {
            Ok(Outcome::Decided(status)) => return finish(&status, chat, output).await,
            Ok(Outcome::Held(reason)) => {
                output.print(Line::Sent(sent(message_id, chat, None, State::Queued)).into()).await?;
                return held(&reason, job.require_accepted, output).await;
            }
            Ok(Outcome::Open) => {}
            // The engine failed after it had stored the message, which is not sent twice only if that is said.
            Err(failure) => {
                output.print(Line::Sent(sent(message_id, chat, None, State::Queued)).into()).await?;
                return Err(failure.into());
            }
        }
        if hurried || progress.ended.is_some() {
            break;
        }
        match waiting.until(Some(deadline)).await {
            Woken::Changed => {}
            Woken::TimeUp | Woken::Hurried => hurried = true,
        }
    }
    output.print(Line::Sent(sent(message_id, chat, None, State::Queued)).into()).await?;
    still_queued(job.require_accepted, session, &mut waiting, output).await
}

async fn store(text: SendText, to_account: bool, session: &Session) -> Result<(), Failure> {
    let driver = session.driver();
    let stored = driver.call(move |engine, now, rng| match to_account {
        true => engine.send_to_account(text, now, rng),
        false => engine.send_text(text, now, rng),
    });
    let stored = stored.await;
    match stored.map_err(|stopped| session.stopped(stopped))? {
        Ok(_) => Ok(()),
        Err(SendError::TextTooLong { bytes }) => Err(Failure::new(
            Reason::BadText,
            format!(
                "the text is too long: {bytes} bytes, and at most {} are allowed",
                limits::TEXT_BYTES_MAX
            ),
            "send it in parts",
        )),
        Err(SendError::MessageIdUsed) => Err(Failure::new(
            Reason::MessageIdConflict,
            "this message id belongs to another message",
            "repeat a send with the same chat and text, or leave --message-id out",
        )),
        Err(SendError::ToOneself) => Err(super::oneself()),
        Err(SendError::Blocked) => Err(Failure::new(
            Reason::Blocked,
            "you have blocked them",
            "'wax unblock' lets you write to them, and them to you",
        )),
        Err(SendError::NotAMember) => Err(super::group::not_a_member()),
        Err(SendError::Fault(fault)) => Err(trouble::fault(&fault)),
    }
}

/// Where a stored message stands.
enum Outcome {
    /// The server has decided.
    Decided(StatusView),
    /// The person has to decide first.
    Held(HeldReason),
    /// It waits for the server.
    Open,
}

async fn outcome(
    message: MessageId,
    chat: ChatId,
    to_account: bool,
    session: &Session,
) -> Result<Outcome, Failure> {
    let (status, held) = session
        .ask(move |engine, now| {
            let view = engine.view();
            let held = if to_account { None } else { view.held_reason(chat)? };
            Ok((view.status(message, now)?, held))
        })
        .await?;
    let status = status.ok_or_else(|| Failure::bug("a message that was stored is gone"))?;
    Ok(match held {
        _ if status.state != DeliveryState::Queued => Outcome::Decided(status),
        Some(reason) => Outcome::Held(reason),
        None => Outcome::Open,
    })
}

/// The server has decided.
async fn finish(status: &StatusView, chat: ChatId, output: &mut dyn Output) -> Result<(), Stop> {
    let failed = status.state == DeliveryState::Failed;
    let state = if failed { State::Failed } else { State::Accepted };
    output.print(Line::Sent(sent(status.message_id, chat, status.stamp, state)).into()).await?;
    if failed { Err(refused(status.failure.as_deref().unwrap_or_default(), chat).into()) } else { Ok(()) }
}

fn sent(message: MessageId, chat: ChatId, stamp: Option<types::Stamp>, state: State) -> Sent {
    Sent {
        message_id: message.to_string(),
        chat: chat.to_string(),
        stamp: stamp.map(|stamp| stamp.to_string()),
        state,
    }
}

/// A definite refusal: the message will not be tried again.
fn refused(code: &str, chat: ChatId) -> Failure {
    match code {
        "no_such_account" => unknown_recipient(),
        "account_closed" => Failure::new(
            Reason::UnknownRecipient,
            "the recipient's account was closed",
            "if they registered again, write to their number: it may lead to a new account",
        ),
        "bad_number" => bad_number(),
        "forbidden" | "no_such_group" | "not_a_member" if matches!(chat, ChatId::Group(_)) => {
            super::group::not_a_member()
        }
        "revoked" => trouble::ended(&Ended::Closed(Closed::Revoked)),
        code => Failure::new(
            Reason::NotAllowed,
            format!("the server refused the message ({code})"),
            "the message will not be tried again",
        ),
    }
}

/// The message waits for a decision of the person.
async fn held(reason: &HeldReason, require_accepted: bool, output: &mut dyn Output) -> Result<(), Stop> {
    let HeldReason::KeyChanged { phone, .. } = reason;
    let why = format!("{} belongs to a new account now", phone.e164());
    let what = format!(
        "the message is queued until you accept that with 'wax verify {} --accept'; compare safety numbers first",
        phone.e164()
    );
    if require_accepted {
        return Err(Failure::new(Reason::NotAcceptedYet, why, what).into());
    }
    output.note(&format!("{why}; {what}")).await;
    Ok(())
}

/// Time is up, or waiting is no use.
async fn still_queued(
    require_accepted: bool,
    session: &Session,
    waiting: &mut Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let progress = waiting.progress();
    if let Some(ended) = progress.ended {
        return Err(trouble::ended(&ended).into());
    }
    let to_wait = session.ask(|engine, now| Ok(engine.is_to_wait(now))).await?;
    let why = match (progress.trouble, to_wait) {
        (Some(trouble), _) => trouble::unreachable(Some(&trouble)).message,
        (None, Some(after)) => {
            let seconds = after.0.div_ceil(1_000);
            format!("too many messages in a short time: the server takes the next one in {seconds} seconds")
        }
        (None, None) => "the server has not accepted the message in time".into(),
    };
    if require_accepted {
        let hint = "it is queued and goes out with the next wax command that connects; \
                    the same --message-id again is the same message";
        return Err(Failure::new(Reason::NotAcceptedYet, why, hint).into());
    }
    output
        .note(&format!("{why}; the message is queued and goes out with the next command that connects"))
        .await;
    Ok(())
}
