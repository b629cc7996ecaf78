//! What is inside the seal: the domain form of `proto/content.proto`, and its limits.
//!
//! Invariant: what [`Content::encode`] writes, [`Content::decode`] reads back equal, and both refuse what
//! breaks a limit. Bodies that this version does not act on are kept as bytes ([`Body::Unsupported`]), so
//! that a later version can still read them.

use crate::own_devices::{Forward, HistoryArchive, SentTranscript, SyncState};
use crate::{GroupSecret, LinkSeed, content_wire};
use types::{
    AccountId, ConversationId, DeviceAddress, GroupId, MessageId, PhoneNumber, Stamp, Timestamp, limits,
};

/// A content without its padding. Twice the largest text, so that quotes and previews fit beside it.
pub const CONTENT_BYTES_MAX: usize = 2 * limits::TEXT_BYTES_MAX + 16 * 1024;
/// Messages that one delivery receipt names.
pub const RECEIPT_MESSAGES_MAX: usize = 500;
/// Gaps that one resend request or void names.
pub const GAPS_MAX: usize = 50;
/// Mentions in one text.
pub const MENTIONS_MAX: usize = 1_024;
/// A sender key as it is distributed, in bytes; three times what the Signal library makes.
pub const DISTRIBUTION_BYTES_MAX: usize = 512;
/// The text of a quote that is carried along, in bytes.
pub const QUOTE_BYTES_MAX: usize = 4 * 1024;
/// Each text of a link preview, in bytes.
pub const PREVIEW_TEXT_BYTES_MAX: usize = 2 * 1024;
/// The picture of a link preview, in bytes.
pub const PREVIEW_THUMBNAIL_BYTES_MAX: usize = 32 * 1024;

/// One message, receipt, request or notice, with everything that the receiver checks it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Names the message on every device; duplicates are dropped by it.
    pub message_id: MessageId,
    /// `signed::direct_conversation` of the two accounts, or the group's id.
    pub conversation: ConversationId,
    /// The sender's clock, for display only; stamps order what people see.
    pub sent_at: Timestamp,
    /// Who encrypted this. Must be the device whose session opened it.
    pub sender: DeviceAddress,
    /// Whom it was encrypted to; absent under a sender key.
    pub recipient: Option<AccountId>,
    /// Position among what this sender device shows in this conversation, from 1; 0: not shown in history.
    pub counter: u64,
    /// The sender account's device list as the sender saw it.
    pub own_list: Option<ListView>,
    /// The recipient account's device list as the sender saw it.
    pub recipient_list: Option<ListView>,
    /// Present in everything that belongs to a group: where the sender stood on its chain. The conversation is
    /// then the group's id, also in what came one-to-one (a message sent again). That the sender is a member is
    /// not known here: whoever has the chain checks it.
    pub group: Option<GroupView>,
    /// Life of the message after it was read, in seconds; 0: no end.
    pub expire_after_seconds: u32,
    /// In a new chat: the number that the sender says is theirs. Checked by lookup before it is believed.
    pub sender_phone: Option<PhoneNumber>,
    /// In a resend: the stamp of the first accepted send.
    pub original_stamp: Option<Stamp>,
    /// What it says.
    pub body: Body,
}

/// Which version of a device list somebody had in view. Two views that differ show a server that lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListView {
    /// The list's version.
    pub version: u64,
    /// SHA-256 of the signed list.
    pub hash: [u8; 32],
}

/// Where the sender stood on a group's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupView {
    /// The epoch of the head.
    pub epoch: u64,
    /// SHA-256 of the newest signed operation.
    pub head: [u8; 32],
}

/// What a content says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A text.
    Text(Text),
    /// Messages arrived or were read.
    Receipt(Receipt),
    /// Please seal again what did not arrive or did not open.
    ResendRequest(ResendRequest),
    /// What was asked for will not come; closes the gap.
    Void(Void),
    /// There is a new session; use it.
    SessionReset,
    /// To one's own other devices: what was sent to somebody else.
    SentTranscript(SentTranscript),
    /// To one's own other devices: what changed here.
    Sync(SyncState),
    /// To a device that was just linked: a message whose sender did not know it yet.
    Forward(Forward),
    /// To a device that was just linked: everything from before.
    HistoryArchive(HistoryArchive),
    /// To a device of a group's member: what opens this device's messages in that group.
    SenderKeyDistribution(SenderKeyDistribution),
    /// To a new member of a group: what opens its name. To an admin also what makes its invite link.
    GroupSecret {
        /// The group.
        group: GroupId,
        /// Its secret.
        secret: GroupSecret,
        /// The seed of its link, for admins and one's own devices.
        link: Option<LinkSeed>,
    },
    /// A body that this version does not act on: the whole encoded content, which [`Content::decode`] of a
    /// later version reads.
    Unsupported(Vec<u8>),
}

/// A text with what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// At most 65,536 bytes.
    pub text: String,
    /// The message that this one answers.
    pub quote: Option<Quote>,
    /// Accounts named in the text.
    pub mentions: Vec<Mention>,
    /// Made by the sender; the receiver fetches nothing.
    pub preview: Option<LinkPreview>,
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

/// A message that is answered, with enough of it to show it where the original is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The message.
    pub message_id: MessageId,
    /// Who wrote it.
    pub author: AccountId,
    /// Its beginning.
    pub excerpt: String,
}

/// An account named in a text, as a range of characters (Unicode scalar values).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The first character.
    pub start: u32,
    /// How many.
    pub length: u32,
    /// The account.
    pub account: AccountId,
}

/// What the sender saw behind a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPreview {
    /// The link.
    pub url: String,
    /// The page's title.
    pub title: String,
    /// The page's description.
    pub description: String,
    /// A small picture, to be decoded with care.
    pub thumbnail: Vec<u8>,
}

/// Messages arrived or were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which of the two.
    pub kind: ReceiptKind,
    /// Delivered: each message, with the lowest stamp that the receiver saw for it. At most 500.
    pub delivered: Vec<DeliveredMessage>,
    /// Read or played: everything up to this stamp.
    pub up_to: Option<Stamp>,
    /// The conversation that it is about.
    pub conversation: ConversationId,
}

/// What a receipt says of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceiptKind {
    /// A device stored them.
    Delivered,
    /// A person saw them.
    Read,
    /// A person listened to it.
    Played,
}

/// One message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredMessage {
    /// The message.
    pub message_id: MessageId,
    /// The lowest stamp that the receiver saw for it.
    pub stamp: Stamp,
}

/// Please seal again what did not arrive (counters) or did not open (envelope).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResendRequest {
    /// The conversation with the gap, where it is known.
    pub conversation: Option<ConversationId>,
    /// The counters of the sender device that are missing. At most 50.
    pub counters: Vec<u64>,
    /// The envelope that could not be decrypted.
    pub envelope_id: Option<types::EnvelopeId>,
    /// The message, where it is known.
    pub message_id: Option<MessageId>,
}

/// What was asked for will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Void {
    /// The conversation with the gap.
    pub conversation: Option<ConversationId>,
    /// The counters that are closed. At most 50.
    pub counters: Vec<u64>,
    /// The envelope that could not be decrypted.
    pub envelope_id: Option<types::EnvelopeId>,
}

/// A sender key on its way to one device of a group's member. It is taken in ([`crate::process_distribution`])
/// only from a device whose account is a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderKeyDistribution {
    /// The group.
    pub group: GroupId,
    /// What [`crate::sender_key_distribution`] gave, at most 512 bytes.
    pub distribution: Vec<u8>,
    /// The group's secret, which the receiver may not have yet.
    pub secret: GroupSecret,
    /// The counter of the last message that this device wrote in the group before: what comes later is for the
    /// receiver, and its absence is a gap.
    pub counter: u64,
}

/// A content breaks a limit or lacks a field. Says which, never what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content's {0} is missing or not valid")]
pub struct ContentInvalid(pub &'static str);

impl Content {
    /// The bytes that are padded and encrypted; refuses what breaks a limit.
    pub fn encode(&self) -> Result<Vec<u8>, ContentInvalid> {
        content_wire::encode(self)
    }

    /// Reads a content that was decrypted or held. Any bytes may be given.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentInvalid> {
        content_wire::decode(bytes)
    }
}
