//! What the engine shows: messages, chats, states and events, with the fields that interfaces print.

use std::str::FromStr;
use types::{AccountId, ChatId, DeviceNumber, GroupId, Invalid, MessageId, PhoneNumber, Stamp, Timestamp};

/// How a person names a chat: a phone number, the id of an account or a group, or the name of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChatName {
    /// Begins with `+`.
    Phone(PhoneNumber),
    /// 32 hexadecimal digits: an account's id or a group's.
    Id([u8; 16]),
    /// Anything else: what a group is called.
    Name(String),
}

impl FromStr for ChatName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.parse::<AccountId>() {
            Ok(id) => Ok(Self::Id(*id.as_bytes())),
            Err(_) if text.starts_with('+') => text.parse().map(Self::Phone),
            Err(_) if text.trim().is_empty() => Err(Invalid { what: "phone number, id or name" }),
            Err(_) => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// What a [`ChatName`] leads to, as far as this profile knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// A chat or contact of this profile.
    Known(ChatId),
    /// An account id that nothing is known of yet; it can be written to.
    Stranger(AccountId),
    /// A number that was never looked up, or that leads to an account that was closed since: look it up.
    LookUp,
    /// A name that nothing here has.
    Unknown,
    /// A name that several groups have: use the id.
    Ambiguous,
}

/// This device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whoami {
    /// The account.
    pub account: AccountId,
    /// This device's number in it.
    pub device: DeviceNumber,
    /// The account's number.
    pub phone: PhoneNumber,
    /// The server's origin.
    pub server: String,
    /// The name given at registration.
    pub name: Option<String>,
}

/// How far a message got. For a message of our own the order is that of a message's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryState {
    /// It was refused for good, and is not tried again.
    Failed,
    /// It was accepted 30 days ago or more and never delivered.
    Expired,
    /// It waits for a connection, an answer or a key.
    Queued,
    /// It is on the server's disk.
    Accepted,
    /// It is on a device of the recipient.
    Delivered,
    /// The recipient has seen it.
    Read,
}

impl DeliveryState {
    /// The word in every interface.
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

/// Who wrote a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderView {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceNumber,
    /// The account's number; none until it was checked that the number leads to the account.
    pub phone: Option<PhoneNumber>,
}

/// A message as history, search and events show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageView {
    /// Names the message.
    pub message_id: MessageId,
    /// The chat, whoever wrote the message.
    pub chat: ChatId,
    /// Who wrote it.
    pub sender: SenderView,
    /// Its place in the order of the chat; none while it is queued.
    pub stamp: Option<Stamp>,
    /// When it was written, by the writer's clock.
    pub sent_at: Timestamp,
    /// At most 65,536 bytes.
    pub text: String,
    /// Our own: how far it got. Others': `Delivered`, and `Read` once we marked it so.
    pub state: DeliveryState,
}

/// What kind of chat it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatKind {
    /// With one other account.
    Direct,
    /// A group.
    Group,
}

impl ChatKind {
    /// The kind of a chat.
    pub const fn of(chat: ChatId) -> Self {
        match chat {
            ChatId::Direct(_) => Self::Direct,
            ChatId::Group(_) => Self::Group,
        }
    }

    /// The word in every interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
        }
    }
}

/// One line of the list of chats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// The other account or the group.
    pub chat: ChatId,
    /// Which of the two.
    pub kind: ChatKind,
    /// What to call it, if there is a name.
    pub name: Option<String>,
    /// The other account's number, once checked.
    pub phone: Option<PhoneNumber>,
    /// Messages of others after the last one that was marked read.
    pub unread: u64,
    /// The stamp of the newest message.
    pub last_stamp: Option<Stamp>,
}

/// How far one of our own messages got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusView {
    /// The message.
    pub message_id: MessageId,
    /// The chat that it belongs to.
    pub chat: ChatId,
    /// Its stamp, once accepted.
    pub stamp: Option<Stamp>,
    /// The worst of the recipients' states.
    pub state: DeliveryState,
    /// Why it failed, in the server's word ([`wire::Code::name`]); with [`DeliveryState::Failed`] only.
    pub failure: Option<String>,
    /// One for each other account.
    pub recipients: Vec<RecipientView>,
}

/// How far a message got at one account: the best of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientView {
    /// The account.
    pub account: AccountId,
    /// The state.
    pub state: DeliveryState,
    /// When it reached that state, by the server's clock; none while it is queued or failed.
    pub at: Option<Timestamp>,
}

/// What two people compare to know that no one stands between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safety {
    /// 60 digits, without spaces.
    pub safety_number: String,
    /// Whether this profile marked it as compared.
    pub verified: bool,
}

/// Why what was written to a chat stays queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldReason {
    /// The number leads to another account now, which nobody has accepted: [`crate::Engine::accept_key_change`].
    KeyChanged {
        /// The number.
        phone: PhoneNumber,
        /// Where it leads.
        account: AccountId,
        /// Where it led: the chat.
        old_account: AccountId,
    },
}

/// A number was moved to the account that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedChange {
    /// Where the number leads now; its chat is a new one.
    pub account: AccountId,
    /// Where it led; that chat stays, under the account's id.
    pub old_account: AccountId,
    /// Messages that had waited and go out to the new account now.
    pub released: u64,
}

/// Names a logged event within this profile, in the order of logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub i64);

/// An event that was not printed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// To be given to [`crate::Engine::mark_printed`] once its line was written and flushed.
    pub id: EventId,
    /// What happened.
    pub event: EventView,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// A device stored the messages.
    Delivered,
    /// A person has seen them.
    Read,
}

impl ReceiptKind {
    /// The word in every interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}

/// What a person is told happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventView {
    /// Somebody wrote.
    Message(MessageView),
    /// Messages of ours arrived or were read.
    Receipt {
        /// Which of the two.
        kind: ReceiptKind,
        /// Our messages.
        message_ids: Vec<MessageId>,
        /// Whose device says so.
        from: AccountId,
    },
    /// Something that was sent to us is missing.
    Gap {
        /// The chat.
        chat: ChatId,
        /// The device that sent it.
        sender: SenderView,
        /// The first missing counter of that device in the chat; 0 where something came that could not be opened.
        first: u64,
        /// The last one.
        last: u64,
        /// False while it was asked for and may still come; true when it never will.
        permanent: bool,
        /// Why, in one word: `missing`, `void`, `expired`, or a `seal::DecryptFailure` code.
        reason: String,
    },
    /// The server showed us and the other side different device lists of an account.
    SplitView {
        /// The chat in which it showed.
        chat: ChatId,
        /// Whose list it is about.
        account: AccountId,
    },
    /// Somebody changed a group that one is, or was until then, a member of.
    GroupChanged {
        /// The group.
        group: GroupId,
        /// The epoch of the operation.
        epoch: u64,
        /// What was done, in one word: `create`, `add`, `remove`, `leave`, `promote`, `demote`, `rename`,
        /// `permissions`, `link`, `join` or `timer`.
        change: &'static str,
        /// Who did it.
        by: AccountId,
    },
    /// A number that led to a known account leads to another one now.
    KeyChanged {
        /// The number.
        phone: PhoneNumber,
        /// Where it leads.
        account: AccountId,
        /// Where it led.
        old_account: AccountId,
    },
    /// The account of a contact, or one's own, has other devices than before.
    DeviceChanged {
        /// The account.
        account: AccountId,
        /// Numbers of the new devices; a number that lives another life now is in both.
        added: Vec<DeviceNumber>,
        /// Numbers of those that are gone.
        removed: Vec<DeviceNumber>,
    },
}
