//! What each command does. A command that needs the engine is a value ([`Job`]) that can be handed to the
//! process that holds the profile, and again to the next one if that dies; doing it twice is doing it once.

pub mod accept;
pub mod backup;
pub mod block;
pub mod devices;
pub mod empty;
pub mod group;
pub mod link;
pub mod local;
pub mod people;
pub mod read;
pub mod receive;
pub mod register;
pub mod send;
pub mod status;
pub mod verify;

use crate::{
    failure::{Failure, Reason},
    output::{Output, OutputError},
    session::{Session, Waiting},
    trouble,
};
use client::{ChatName, Resolved};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use types::{AccountId, ChatId};

/// A command that was handed over this long ago may have been begun by a process that is gone.
const BEGUN_AFTER: Duration = Duration::from_secs(1);

/// A command for the process that holds the profile. Times count from when it is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// `send`
    Send(send::Job),
    /// `receive`
    Receive(receive::Job),
    /// `read`
    Read {
        /// The chat, as it was typed.
        chat: String,
    },
    /// `status --wait`
    Status(status::Job),
    /// `verify`
    Verify(verify::Job),
    /// `verify --accept`
    Accept {
        /// The number, as it was typed.
        number: String,
    },
    /// `block` and `unblock`
    Block {
        /// A number or an account id, as it was typed.
        number: String,
        /// `block`.
        blocked: bool,
    },
    /// `group …`
    Group(group::Job),
    /// `devices add`
    AddDevice(devices::Add),
    /// `devices remove`
    RemoveDevice {
        /// Its number.
        device: u8,
    },
}

impl Job {
    /// The same command later: after `elapsed`, and with `messages` printed.
    pub fn resumed(&self, elapsed: Duration, messages: u64) -> Self {
        let mut job = self.clone();
        match &mut job {
            Self::Send(send) => send.timeout = send.timeout.saturating_sub(elapsed),
            Self::Receive(receive) => receive.resume(elapsed, messages),
            Self::Status(status) => {
                status.timeout = status.timeout.map(|timeout| timeout.saturating_sub(elapsed));
            }
            Self::AddDevice(add) => add.again = elapsed >= BEGUN_AFTER,
            Self::Read { .. }
            | Self::Verify(_)
            | Self::Accept { .. }
            | Self::Block { .. }
            | Self::Group(_)
            | Self::RemoveDevice { .. } => {}
        }
        job
    }

    /// Whether a repetition prints only what was never printed. Others print their whole result again.
    pub const fn prints_events(&self) -> bool {
        matches!(self, Self::Receive(_))
    }

    /// Whether the command is about the server. The others connect when they find that they have to.
    pub const fn connects(&self) -> bool {
        !matches!(self, Self::Verify(_))
    }

    /// How long the process that did this command waits for a silent server before it leaves.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Send(send) => send.timeout.min(crate::session::PATIENCE),
            _ => crate::session::PATIENCE,
        }
    }
}

/// How a command ended that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It failed.
    Failed(Failure),
    /// Nobody reads its output any more.
    OutputClosed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<OutputError> for Stop {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Closed => Self::OutputClosed,
            OutputError::Failed(failure) => Self::Failed(failure),
        }
    }
}

/// Does a command.
pub async fn perform(
    job: Job,
    session: &Session,
    waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    match job {
        Job::Send(job) => send::perform(job, session, waiting, output).await,
        Job::Receive(job) => receive::perform(job, session, waiting, output).await,
        Job::Read { chat } => read::perform(&chat, session, waiting, output).await,
        Job::Status(job) => status::perform(job, session, waiting, output).await,
        Job::Verify(job) => verify::perform(job, session, waiting, output).await,
        Job::Accept { number } => accept::perform(&number, session, waiting, output).await,
        Job::Block { number, blocked } => block::perform(&number, blocked, session, waiting, output).await,
        Job::Group(job) => group::perform(job, session, waiting, output).await,
        Job::AddDevice(job) => devices::add(job, session, waiting, output).await,
        Job::RemoveDevice { device } => devices::remove(device, session, waiting, output).await,
    }
}

/// No number that a server takes is shorter, without its country code.
const DIGITS_OF_A_NUMBER: usize = 7;

/// Reads how a chat was named on the command line: a number, an id, or what a group is called.
pub fn chat_name(text: &str) -> Result<ChatName, Failure> {
    match text.parse() {
        Ok(ChatName::Name(_)) | Err(_) if is_meant_as_number(text) => Err(bad_number()),
        Ok(name) => Ok(name),
        Err(_) => Ok(ChatName::Name(text.to_owned())),
    }
}

/// Whether somebody who typed this meant a phone number. Groups may well be called "2024" or "+1 for dinner".
fn is_meant_as_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let other = text.chars().any(|c| !c.is_ascii_digit() && !c.is_whitespace() && !"+-().".contains(c));
    !other && (text.starts_with('+') || digits >= DIGITS_OF_A_NUMBER || digits == 0)
}

/// A person was named by something that is neither.
fn unknown_name() -> Failure {
    Failure::new(
        Reason::UnknownChat,
        "this names neither a phone number nor an account",
        "give a number with its country code, like +15552000101, or an account id of 32 hexadecimal digits",
    )
}

/// Not a phone number.
pub fn bad_number() -> Failure {
    Failure::new(
        Reason::BadNumber,
        "this is not a phone number",
        "give it with '+' and its country code, like +15552000101",
    )
}

/// Nobody has this number.
pub fn unknown_recipient() -> Failure {
    Failure::new(
        Reason::UnknownRecipient,
        "nobody with this number or account id is registered at your server",
        "check the number, or invite them",
    )
}

/// A profile has one account.
fn has_account() -> Failure {
    Failure::new(
        Reason::AlreadyRegistered,
        "this profile has an account",
        "'wax whoami' says which; name another profile with --profile DIR to make a second one",
    )
}

/// A profile writes to others only.
fn oneself() -> Failure {
    Failure::new(Reason::UnknownRecipient, "this is your own account", "name somebody else")
}

/// These people cannot be found. It says which, because they were typed a moment ago, by whoever reads it.
fn unknown_names(typed: &[String]) -> Failure {
    Failure::new(
        Reason::UnknownRecipient,
        format!("not registered at your server: {}", typed.join(", ")),
        "check these numbers or invite their owners; nothing was changed",
    )
}

/// The account that a name leads to.
async fn resolve_account(
    name: ChatName,
    session: &Session,
    waiting: &mut Waiting,
    deadline: Instant,
) -> Result<AccountId, Failure> {
    resolve(name, session, waiting, deadline).await?.account().ok_or_else(unknown_name)
}

/// The chat that a name leads to; a number that this profile does not know is looked up on the server.
async fn resolve(
    name: ChatName,
    session: &Session,
    waiting: &mut Waiting,
    deadline: Instant,
) -> Result<ChatId, Failure> {
    let asked = name.clone();
    match (session.ask(move |engine, _| engine.view().resolve(&asked)).await?, name) {
        (Resolved::Known(chat), _) => Ok(chat),
        (Resolved::Stranger(account), _) => Ok(account.into()),
        (Resolved::Ambiguous, _) => Err(group::ambiguous()),
        (Resolved::LookUp, ChatName::Phone(phone)) => {
            let account = look_up(phone, session, waiting, deadline).await?;
            account.map(ChatId::from).ok_or_else(unknown_recipient)
        }
        (_, ChatName::Name(_)) => Err(unknown_chat()),
        (Resolved::LookUp | Resolved::Unknown, _) => Err(unknown_recipient()),
    }
}

/// Nothing here has this name.
fn unknown_chat() -> Failure {
    Failure::new(
        Reason::UnknownChat,
        "this is no number, and no group of this profile has this name",
        "give a number with its country code, like +15552000101, an id, or a group; 'wax chats' lists what there is",
    )
}

/// Asks the server which account a number leads to, if to any.
async fn look_up(
    phone: types::PhoneNumber,
    session: &Session,
    waiting: &mut Waiting,
    deadline: Instant,
) -> Result<Option<AccountId>, Failure> {
    let found = look_up_all(vec![phone], session, waiting, deadline).await?;
    Ok(found.into_iter().flatten().next())
}

/// The same for several numbers, in their order.
async fn look_up_all(
    phones: Vec<types::PhoneNumber>,
    session: &Session,
    waiting: &mut Waiting,
    deadline: Instant,
) -> Result<Vec<Option<AccountId>>, Failure> {
    session.connect().await?;
    let lookup = session.driver().look_up_all(phones);
    tokio::pin!(lookup);
    let answer = loop {
        if let Some(ended) = waiting.progress().ended {
            return Err(trouble::ended(&ended));
        }
        let result = tokio::select! {
            biased;
            answer = timeout_at(deadline, &mut lookup) => answer.ok(),
            woken = waiting.until(Some(deadline)) => match woken {
                crate::session::Woken::Changed => continue,
                _ => None,
            },
        };
        match result {
            Some(answer) => break answer.map_err(|stopped| session.stopped(stopped))?,
            None => return Err(never_looked_up(waiting)),
        }
    };
    let found: Result<Vec<_>, _> = answer.into_iter().collect();
    found.map_err(|refused| come_back(refused.retry_after))
}

/// The server said nothing for as long as a command waits for it; `what` of the command's work stands.
fn never_reached(waiting: &mut Waiting, what: &str) -> Failure {
    let why = trouble::unreachable(waiting.progress().trouble.as_deref()).message;
    Failure::new(Reason::OutcomeUnknown, format!("{why}; {what}"), "run the command again when it answers")
}

fn never_looked_up(waiting: &mut Waiting) -> Failure {
    let why = trouble::unreachable(waiting.progress().trouble.as_deref());
    Failure::new(
        Reason::Unavailable,
        format!("this number was never looked up, and {}", why.message),
        "nothing was stored; run the command again when the server answers",
    )
}

/// The server wants to be asked later.
fn come_back(after: Option<types::Millis>) -> Failure {
    let hint = match after {
        Some(after) => format!("run the command again in {} seconds", after.0.div_ceil(1_000)),
        None => "run the command again in a while".into(),
    };
    Failure::new(Reason::RetryAfter, "the server is asked too often or too busy", hint)
}
