//! Commands that only read what is stored: they never connect, and run beside the process that writes.

use super::{
    chat_name,
    group::{ambiguous, group_of},
    send::message_id,
    status::unknown_message,
};
use crate::{
    args,
    failure::{Failure, Reason},
    lines::{Blocked, Device, Group, Identity, Line, Status},
    names::Names,
    output::Batch,
    process::{busy, open_engine},
    profile::{Profile, not_registered},
    trouble,
};
use client::{ChatName, Fault, OpenError, Reader, Resolved, View, database};
use std::{thread::sleep, time::Duration};
use types::{ChatId, Timestamp};

/// A question about what is stored.
#[derive(Clone, Debug)]
pub enum Question {
    /// `history`
    History {
        /// The chat, as it was typed.
        chat: String,
        /// Only the last ones.
        limit: u32,
    },
    /// `chats`
    Chats,
    /// `search`
    Search {
        /// The words, with spaces between.
        words: String,
    },
    /// `status`
    Status {
        /// The message.
        message_id: String,
    },
    /// `whoami`
    Whoami,
    /// `groups`
    Groups,
    /// `group info`
    Group {
        /// The group, as it was typed.
        group: String,
    },
    /// `devices`
    Devices,
    /// `blocked`
    Blocked,
}

impl Question {
    /// The question in a command, if it is one that needs no engine.
    pub fn of(command: &args::Command) -> Option<Self> {
        Some(match command {
            args::Command::History(history) => {
                Self::History { chat: history.chat.clone(), limit: history.limit.unwrap_or(u32::MAX) }
            }
            args::Command::Chats => Self::Chats,
            args::Command::Search(search) => Self::Search { words: search.words.join(" ") },
            args::Command::Status(status) if status.wait.is_none() => {
                Self::Status { message_id: status.message_id.clone() }
            }
            args::Command::Whoami => Self::Whoami,
            args::Command::Groups => Self::Groups,
            args::Command::Group(args::Group { command: args::GroupCommand::Info { group } }) => {
                Self::Group { group: group.clone() }
            }
            args::Command::Devices(args::Devices { command: None }) => Self::Devices,
            args::Command::Blocked => Self::Blocked,
            _ => return None,
        })
    }

    /// The lines that answer it, with what to call the accounts in them.
    pub fn answer(&self, view: View<'_>, now: Timestamp) -> Result<Batch, Failure> {
        let lines = self.lines(view, now)?;
        let names = Names::of(&lines, view).map_err(failure)?;
        Ok((lines, names).into())
    }

    fn lines(&self, view: View<'_>, now: Timestamp) -> Result<Vec<Line>, Failure> {
        let whoami = view.whoami().map_err(failure)?.ok_or_else(not_registered)?;
        match self {
            Self::Whoami => Ok(vec![Line::Identity(Identity::from(whoami))]),
            Self::Chats => {
                let chats = view.chats().map_err(failure)?;
                Ok(chats.into_iter().map(|chat| Line::Chat(chat.into())).collect())
            }
            Self::History { chat, limit } => {
                let messages = view.history(known_chat(chat, view)?, *limit, now).map_err(failure)?;
                Ok(messages.into_iter().map(|message| Line::Message(message.into())).collect())
            }
            Self::Search { words } => {
                let messages = view.search(words, u32::MAX, now).map_err(failure)?;
                Ok(messages.into_iter().map(|message| Line::Message(message.into())).collect())
            }
            Self::Status { message_id: id } => {
                let status =
                    view.status(message_id(id)?, now).map_err(failure)?.ok_or_else(unknown_message)?;
                Ok(vec![Line::Status(Status::from(status))])
            }
            Self::Groups => {
                let groups = view.groups().map_err(failure)?.into_iter();
                Ok(groups
                    .filter(|group| group.i_am_member)
                    .map(|group| Line::GroupEntry(group.into()))
                    .collect())
            }
            Self::Group { group } => {
                let group = group_of(view.resolve(&chat_name(group)?).map_err(failure)?)?;
                let info = view.group(group).map_err(failure)?.ok_or_else(super::group::unknown_group)?;
                Ok(vec![Line::Group(Group::from(info))])
            }
            Self::Blocked => {
                let blocked = view.blocked().map_err(failure)?.into_iter();
                let line = |(account, phone): (_, Option<_>)| Blocked::new(account, phone.as_ref(), true);
                Ok(blocked.map(|blocked| Line::Blocked(line(blocked))).collect())
            }
            Self::Devices => {
                let devices = view.devices().map_err(failure)?.into_iter();
                Ok(devices.map(|device| Line::Device(Device::from(device))).collect())
            }
        }
    }
}

fn known_chat(chat: &str, view: View<'_>) -> Result<ChatId, Failure> {
    let name = chat_name(chat)?;
    match (view.resolve(&name).map_err(failure)?, name) {
        (Resolved::Known(chat), _) => Ok(chat),
        (Resolved::Ambiguous, _) => Err(ambiguous()),
        (_, ChatName::Phone(_)) => Err(Failure::new(
            Reason::UnknownChat,
            "this number is not in your contacts",
            "it will be once you have written to it, or its owner to you; 'wax chats' lists what there is",
        )),
        (_, ChatName::Id(_) | ChatName::Name(_)) => Err(Failure::new(
            Reason::UnknownChat,
            "there is no chat with this account, and no group of this id or name",
            "'wax chats' lists what there is",
        )),
    }
}

#[allow(clippy::needless_pass_by_value)]
fn failure(fault: Fault) -> Failure {
    trouble::fault(&fault)
}

/// Checks what can be checked without the profile.
pub fn check(question: &Question) -> Result<(), Failure> {
    match question {
        Question::History { chat, .. } | Question::Group { group: chat } => chat_name(chat).map(drop),
        Question::Status { message_id: id } => message_id(id).map(drop),
        Question::Chats
        | Question::Search { .. }
        | Question::Whoami
        | Question::Groups
        | Question::Devices
        | Question::Blocked => Ok(()),
    }
}

/// Answers from the stored state, beside the process that may be writing it.
pub fn ask(question: &Question, profile: &Profile, now: Timestamp) -> Result<Batch, Failure> {
    check(question)?;
    with_view(profile, |view| question.answer(view, now))?
}

/// Lets `read` see the stored state, beside the process that may be writing it.
pub fn with_view<R>(profile: &Profile, read: impl FnOnce(View<'_>) -> R) -> Result<R, Failure> {
    if !profile.exists() {
        return Err(not_registered());
    }
    for _ in 0..100 {
        match open_reader(profile) {
            Ok(reader) => return Ok(read(reader.view())),
            Err(OpenError::OlderFormat { .. }) => {}
            Err(error) => return Err(trouble::cannot_open(&error, &profile.database())),
        }
        // A new version of the program runs here for the first time: opening for writing brings the
        // format up to date. Another process that holds the profile is about to do the same.
        if let Some(_lock) = profile.try_lock()? {
            return Ok(read(open_engine(profile)?.view()));
        }
        sleep(Duration::from_millis(100));
    }
    Err(busy())
}

/// Whether the profile has an account, as far as can be seen from outside.
pub fn has_account(profile: &Profile) -> bool {
    open_reader(profile).is_ok_and(|reader| matches!(reader.view().whoami(), Ok(Some(_))))
}

fn open_reader(profile: &Profile) -> Result<Reader, OpenError> {
    database::open_read_only(&profile.database()).and_then(Reader::open)
}
