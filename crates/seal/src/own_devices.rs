//! Bodies that the devices of one account send each other: transcripts, state, and what a new device is
//! handed. They are addressed to one's own account, in the conversation of the account with itself.

use crate::content::{CONTENT_BYTES_MAX, Content, ContentInvalid};
use crate::{ArchiveKey, content_wire};
use types::{AccountId, BlobId, ConversationId, Invalid, PhoneNumber, Stamp, Timestamp};

/// Read positions, contacts or blocks, each, in one [`SyncState`].
pub const SYNC_ENTRIES_MAX: usize = 500;
/// The settings in one [`SyncState`], in bytes.
pub const SETTINGS_BYTES_MAX: usize = 16 * 1024;
/// Parts of one archive: 1 GiB, which is some millions of messages.
pub const ARCHIVE_PARTS_MAX: usize = 1_024;

/// What the form of a body adds to the content that it carries: addresses, both list views and a stamp.
const CARRIER_BYTES_MAX: usize = 1_024;
/// A content may stand in a transcript, and that one in what is forwarded to a new device; no deeper.
pub(crate) const NESTING_MAX: usize = 2;
/// A content with everything that it carries.
pub(crate) const NESTED_CONTENT_BYTES_MAX: usize = CONTENT_BYTES_MAX + NESTING_MAX * CARRIER_BYTES_MAX;

/// What was sent to somebody else, for one's own other devices. The content is the very one that the recipient
/// got: same message id, counter and conversation, sealed by the same device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTranscript {
    /// What was sent. Its recipient and conversation fit together, as they must for the recipient.
    pub content: InnerContent,
}

impl SentTranscript {
    /// The account that it was sent to.
    pub fn to(&self) -> Option<AccountId> {
        self.content.get().recipient
    }
}

/// What a device that was just linked has missed: a message whose sender did not know it yet, from the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The stamp of the envelope in which it came.
    pub stamp: Stamp,
    /// What came, as its sender sealed it: addressed to this account, or to a group. The primary vouches that
    /// it came from the device that it names.
    pub content: InnerContent,
}

/// What changed on one device and holds for all of the account. What is not named did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncState {
    /// Conversations that were read. At most [`SYNC_ENTRIES_MAX`].
    pub read: Vec<ReadUpTo>,
    /// What became known of other accounts. At most [`SYNC_ENTRIES_MAX`].
    pub contacts: Vec<ContactState>,
    /// Accounts that were blocked or are not any more. At most [`SYNC_ENTRIES_MAX`].
    pub blocks: Vec<BlockState>,
    /// The settings in the engine's own form, at most [`SETTINGS_BYTES_MAX`]; empty: they did not change.
    pub settings: Vec<u8>,
}

/// Everything up to this stamp was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadUpTo {
    /// Where.
    pub conversation: ConversationId,
    /// The newest message that was read.
    pub stamp: Stamp,
}

/// What the account knows of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactState {
    /// The other account.
    pub account: AccountId,
    /// The number that was checked to lead to it.
    pub phone: Option<PhoneNumber>,
    /// True if its safety number was compared.
    pub verified: bool,
    /// True if the person has accepted that the number leads here, and not where it led before.
    pub accepted: bool,
}

/// Whether an account is blocked from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockState {
    /// The account.
    pub account: AccountId,
    /// True if it is.
    pub blocked: bool,
    /// When the person decided, by the server's clock: the latest decision counts.
    pub decided_at: Timestamp,
}

/// Everything from before, for a device that was just linked ([`crate::archive`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryArchive {
    /// Which archive its parts belong to.
    pub archive: ArchiveId,
    /// What opens them.
    pub key: ArchiveKey,
    /// One blob each, in order. From 1 to [`ARCHIVE_PARTS_MAX`].
    pub parts: Vec<ArchivePart>,
    /// False: contacts and groups only.
    pub with_messages: bool,
}

/// One part of an archive, as it lies in the blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivePart {
    /// Where it lies.
    pub blob: BlobId,
    /// Bytes of the sealed part.
    pub size: u64,
    /// SHA-256 of the sealed part.
    pub digest: [u8; 32],
}

/// Names one archive, so that no part of another one passes as its own. Random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId([u8; 16]);

impl ArchiveId {
    /// Draws a new one.
    pub fn random(rng: &mut (impl rand_core::CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Wraps sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads exactly sixteen bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        bytes.try_into().map(Self).map_err(|_| Invalid { what: "archive id" })
    }

    /// The sixteen bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A whole content inside another one, read and found valid, with the bytes that were sealed, so that fields of
/// a later version survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerContent {
    content: Box<Content>,
    bytes: Vec<u8>,
}

impl InnerContent {
    /// Puts a content into its encoded form; refuses what breaks a limit.
    pub fn new(content: Content) -> Result<Self, ContentInvalid> {
        let bytes = content.encode()?;
        Ok(Self { content: Box::new(content), bytes })
    }

    /// Reads an encoded content. Any bytes may be given.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ContentInvalid> {
        Self::at_depth(bytes, 1)
    }

    /// `depth`: how many contents it stands in.
    pub(crate) fn at_depth(bytes: Vec<u8>, depth: usize) -> Result<Self, ContentInvalid> {
        let content = content_wire::decode_at(&bytes, depth)?;
        Ok(Self { content: Box::new(content), bytes })
    }

    /// The content.
    pub const fn get(&self) -> &Content {
        &self.content
    }

    /// The content, to keep.
    pub fn into_content(self) -> Content {
        *self.content
    }

    /// The content as it was encoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The most bytes that a content with this body may have: what it carries counts beside it.
pub(crate) fn content_bytes_max(content: &Content) -> usize {
    CONTENT_BYTES_MAX + depth(content) * CARRIER_BYTES_MAX
}

/// How many contents stand inside each other below this one.
fn depth(content: &Content) -> usize {
    use crate::Body;
    match &content.body {
        Body::SentTranscript(SentTranscript { content }) | Body::Forward(Forward { content, .. }) => {
            1 + depth(content.get())
        }
        _ => 0,
    }
}
