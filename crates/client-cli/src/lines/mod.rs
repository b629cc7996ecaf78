//! What commands print: one type for each kind of line. With `--json` a line is its JSON object;
//! otherwise `render` turns it into text. Scripts rely on every field.

mod device;
mod group;
mod person;

pub use device::{BackupMade, BackupVerified, Device, DeviceAdded, DeviceRemoved, LinkCode, Linked};
pub use group::{Group, GroupLink, Member};
pub use person::{Accepted, Blocked, Verification};

use client::{DeliveryState, EventView, MessageView, SenderView, StatusView};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// One line on standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// `register` without a code and without a terminal.
    CodeSent(CodeSent),
    /// `register`, done.
    Registered(Registered),
    /// `send`.
    Sent(Sent),
    /// `receive`.
    Event(Event),
    /// `read`.
    Read(Read),
    /// `history` and `search`.
    Message(Message),
    /// `chats`.
    Chat(Chat),
    /// `status`.
    Status(Status),
    /// `verify`.
    Verification(Verification),
    /// `block`, `unblock` and `blocked`.
    Blocked(Blocked),
    /// `whoami`.
    Identity(Identity),
    /// `link`, waiting.
    LinkCode(LinkCode),
    /// `link`, done.
    Linked(Linked),
    /// `devices add`.
    DeviceAdded(DeviceAdded),
    /// `devices`.
    Device(Device),
    /// `devices remove`.
    DeviceRemoved(DeviceRemoved),
    /// `backup create`.
    BackupMade(BackupMade),
    /// `backup verify`.
    BackupVerified(BackupVerified),
    /// `group info`, and every change of a group.
    Group(Group),
    /// `groups`: the same object, and fewer words for people.
    GroupEntry(Group),
    /// `group link`.
    GroupLink(GroupLink),
    /// `verify --accept`.
    Accepted(Accepted),
}

impl Line {
    /// The object that `--json` prints.
    pub fn json(&self) -> String {
        let json = match self {
            Self::CodeSent(line) => serde_json::to_string(line),
            Self::Registered(line) => serde_json::to_string(line),
            Self::Sent(line) => serde_json::to_string(line),
            Self::Event(line) => serde_json::to_string(line),
            Self::Read(line) => serde_json::to_string(line),
            Self::Message(line) => serde_json::to_string(line),
            Self::Chat(line) => serde_json::to_string(line),
            Self::Status(line) => serde_json::to_string(line),
            Self::Verification(line) => serde_json::to_string(line),
            Self::Blocked(line) => serde_json::to_string(line),
            Self::Identity(line) => serde_json::to_string(line),
            Self::LinkCode(line) => serde_json::to_string(line),
            Self::Linked(line) => serde_json::to_string(line),
            Self::DeviceAdded(line) => serde_json::to_string(line),
            Self::Device(line) => serde_json::to_string(line),
            Self::DeviceRemoved(line) => serde_json::to_string(line),
            Self::BackupMade(line) => serde_json::to_string(line),
            Self::BackupVerified(line) => serde_json::to_string(line),
            Self::Group(line) | Self::GroupEntry(line) => serde_json::to_string(line),
            Self::GroupLink(line) => serde_json::to_string(line),
            Self::Accepted(line) => serde_json::to_string(line),
        };
        escape_breaks(&json.expect("lines are structs of strings, numbers and lists"))
    }

    /// Whether this is a message that `receive --count` counts.
    pub const fn is_received_message(&self) -> bool {
        matches!(self, Self::Event(Event::Message(_)))
    }
}

/// JSON may hold these characters as they are, but some readers of lines break at them, and terminals obey
/// the C1 controls. All of them stand inside strings, because everything else is ASCII.
fn escape_breaks(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The server has sent a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeSent {
    /// Always `code_sent`.
    pub state: String,
    /// Seconds.
    pub expires_in: u64,
}

/// The account is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its id.
    pub account: String,
    /// 1, the primary.
    pub device: u8,
    /// E.164.
    pub phone: String,
}

/// A message was stored, and perhaps accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The message.
    pub message_id: String,
    /// The other account, or the group.
    pub chat: String,
    /// Its place in the order of the chat; null until it is accepted.
    pub stamp: Option<String>,
    /// `accepted`, `queued` or `failed`.
    pub state: State,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Refused for good.
    Failed,
    /// Not delivered in thirty days.
    Expired,
    /// On this machine's disk.
    Queued,
    /// On the server's disk.
    Accepted,
    /// On the disk of a device of the recipient.
    Delivered,
    /// Seen.
    Read,
}

impl State {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

impl From<DeliveryState> for State {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Failed => Self::Failed,
            DeliveryState::Expired => Self::Expired,
            DeliveryState::Queued => Self::Queued,
            DeliveryState::Accepted => Self::Accepted,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Read => Self::Read,
        }
    }
}

/// Who wrote a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The account.
    pub account: String,
    /// The device.
    pub device: u8,
    /// E.164; null until it was checked that the number leads to this account.
    pub phone: Option<String>,
}

impl From<SenderView> for Sender {
    fn from(sender: SenderView) -> Self {
        Self {
            account: sender.account.to_string(),
            device: sender.device.get(),
            phone: sender.phone.map(|phone| phone.e164().to_owned()),
        }
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The text.
    pub text: String,
}

/// A message: the fields that `receive`, `history` and `search` share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The message.
    pub message_id: String,
    /// The other account or the group, whoever wrote the message.
    pub chat: String,
    /// Who wrote it.
    pub sender: Sender,
    /// Its place in the order of the chat; null while it is queued.
    pub stamp: Option<String>,
    /// When, by the sender's clock.
    pub sent_at: String,
    /// What it says.
    pub body: Body,
}

impl From<MessageView> for Text {
    fn from(message: MessageView) -> Self {
        Self {
            message_id: message.message_id.to_string(),
            chat: message.chat.to_string(),
            sender: message.sender.into(),
            stamp: message.stamp.map(|stamp| stamp.to_string()),
            sent_at: message.sent_at.to_string(),
            body: Body { text: message.text },
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A message came.
    Message(Text),
    /// Messages of mine were delivered or read.
    Receipt {
        /// `delivered` or `read`.
        kind: String,
        /// Which ones.
        message_ids: Vec<String>,
        /// The account that says so.
        from: String,
    },
    /// Something that was sent to me is missing.
    Gap {
        /// Where.
        chat: String,
        /// Whose messages.
        sender: Sender,
        /// The first missing counter of that device in this chat; 0 where something could not be opened.
        first: u64,
        /// The last one.
        last: u64,
        /// False while it may still come.
        permanent: bool,
        /// Why, in one word.
        reason: String,
    },
    /// The server showed different device lists to me and to the other side.
    SplitView {
        /// Where it showed.
        chat: String,
        /// Whose list it is about.
        account: String,
    },
    /// A number leads to another account than before. What is written to it waits until that is accepted.
    KeyChanged {
        /// The number, E.164.
        phone: String,
        /// Where it leads.
        account: String,
        /// Where it led.
        old_account: String,
    },
    /// An account has other devices than before.
    DeviceChanged {
        /// The account.
        account: String,
        /// Numbers of the new devices.
        added: Vec<u8>,
        /// Numbers of those that are gone.
        removed: Vec<u8>,
    },
    /// A group is not what it was.
    GroupChanged {
        /// The group.
        group: String,
        /// How many changes it has seen, with this one.
        epoch: u64,
        /// What was changed, in one word.
        change: String,
        /// The account that did it.
        by: String,
    },
    /// Everything that waited on the server has been fetched.
    Drained,
}

impl From<EventView> for Event {
    fn from(event: EventView) -> Self {
        match event {
            EventView::Message(message) => Self::Message(message.into()),
            EventView::Receipt { kind, message_ids, from } => Self::Receipt {
                kind: kind.name().to_owned(),
                message_ids: message_ids.iter().map(ToString::to_string).collect(),
                from: from.to_string(),
            },
            EventView::Gap { chat, sender, first, last, permanent, reason } => {
                Self::Gap { chat: chat.to_string(), sender: sender.into(), first, last, permanent, reason }
            }
            EventView::SplitView { chat, account } => {
                Self::SplitView { chat: chat.to_string(), account: account.to_string() }
            }
            EventView::KeyChanged { phone, account, old_account } => Self::KeyChanged {
                phone: phone.e164().to_owned(),
                account: account.to_string(),
                old_account: old_account.to_string(),
            },
            EventView::DeviceChanged { account, added, removed } => Self::DeviceChanged {
                account: account.to_string(),
                added: added.iter().map(|device| device.get()).collect(),
                removed: removed.iter().map(|device| device.get()).collect(),
            },
            EventView::GroupChanged { group, epoch, change, by } => Self::GroupChanged {
                group: group.to_string(),
                epoch,
                change: change.to_owned(),
                by: by.to_string(),
            },
        }
    }
}

/// The read receipt was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The other account, or the group.
    pub chat: String,
    /// The stamp of the newest message; null for an empty chat.
    pub up_to: Option<String>,
}

/// A message of the history: a message event and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Always `message`.
    pub event: String,
    /// The message.
    #[serde(flatten)]
    pub text: Text,
    /// Mine: how far it has come. Others': `delivered`, and `read` once I have read it.
    pub state: State,
}

impl From<MessageView> for Message {
    fn from(message: MessageView) -> Self {
        let state = message.state.into();
        Self { event: "message".into(), text: message.into(), state }
    }
}

/// One of the chats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    /// The other account, or the group.
    pub chat: String,
    /// `direct` or `group`.
    pub kind: String,
    /// What to call it.
    pub name: Option<String>,
    /// E.164, once checked.
    pub phone: Option<String>,
    /// Messages that I have not read.
    pub unread: u64,
    /// The stamp of the newest message.
    pub last_stamp: Option<String>,
}

impl From<client::Chat> for Chat {
    fn from(chat: client::Chat) -> Self {
        Self {
            chat: chat.chat.to_string(),
            kind: chat.kind.name().to_owned(),
            name: chat.name,
            phone: chat.phone.map(|phone| phone.e164().to_owned()),
            unread: chat.unread,
            last_stamp: chat.last_stamp.map(|stamp| stamp.to_string()),
        }
    }
}

/// How far a message has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The message.
    pub message_id: String,
    /// The worst of the recipients' states.
    pub state: State,
    /// One for each other account.
    pub recipients: Vec<Recipient>,
}

/// How far a message has come at one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The account.
    pub account: String,
    /// The best state of its devices.
    pub state: State,
    /// Since when, by the server's clock.
    pub at: Option<String>,
}

impl From<StatusView> for Status {
    fn from(status: StatusView) -> Self {
        let recipients = status.recipients.into_iter().map(|recipient| Recipient {
            account: recipient.account.to_string(),
            state: recipient.state.into(),
            at: recipient.at.map(|at| at.to_string()),
        });
        Self {
            message_id: status.message_id.to_string(),
            state: status.state.into(),
            recipients: recipients.collect(),
        }
    }
}

/// Whose profile this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The account.
    pub account: String,
    /// This device.
    pub device: u8,
    /// E.164.
    pub phone: String,
    /// The server's origin.
    pub server: String,
}

impl From<client::Whoami> for Identity {
    fn from(whoami: client::Whoami) -> Self {
        Self {
            account: whoami.account.to_string(),
            device: whoami.device.get(),
            phone: whoami.phone.e164().to_owned(),
            server: whoami.server,
        }
    }
}
