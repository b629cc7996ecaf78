//! The facts that invariants speak of. An observer records those that it can see.

use super::text;
use serde::{Deserialize, Serialize};
use types::{AccountId, DeviceAddress, EnvelopeId, MailboxId, MessageId, Position, Stamp};

/// Something that became true. Digests stand for bytes ([`crate::digest`]): no history holds a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    // ---- devices
    /// A device was registered or linked, and has a mailbox.
    Opened {
        /// Its mailbox.
        #[serde(with = "text")]
        mailbox: MailboxId,
    },
    /// A device is gone: unlinked, replaced, or its account was closed.
    Closed {
        /// The mailbox that it had.
        #[serde(with = "text")]
        mailbox: MailboxId,
    },
    /// From now on the device's owner keeps it running; it may still lose its connection.
    Online {
        /// The device.
        #[serde(with = "text")]
        device: DeviceAddress,
    },
    /// The device was put away.
    Offline {
        /// The device.
        #[serde(with = "text")]
        device: DeviceAddress,
    },
    /// The device's process died and has only what it had committed.
    Crashed {
        /// The device.
        #[serde(with = "text")]
        device: DeviceAddress,
    },
    /// Something outside the protocol's promises broke the device's sessions (a restored database):
    /// from now on failures to decrypt are expected, and must heal.
    SessionsLost {
        /// The device.
        #[serde(with = "text")]
        device: DeviceAddress,
    },

    // ---- sending
    /// A person wrote a message, and it is stored on the sending device.
    Composed {
        /// The message.
        #[serde(with = "text")]
        message: MessageId,
        /// The device on which it was written.
        #[serde(with = "text")]
        sender: DeviceAddress,
        /// To whom.
        #[serde(with = "text")]
        to: AccountId,
        /// Digest of its text; every text of a run is different.
        #[serde(with = "text")]
        body: u128,
    },
    /// The sender was told for good that the message will not go out.
    Refused {
        /// The message.
        #[serde(with = "text")]
        message: MessageId,
    },
    /// A ciphertext left a device; once for each time it left.
    Sealed {
        /// The send that it belongs to.
        #[serde(with = "text")]
        envelope: EnvelopeId,
        /// The message in it; none for receipts and the like, and for a message that is sent again because
        /// the other side asked for it.
        #[serde(with = "text::option", default)]
        message: Option<MessageId>,
        /// From which device.
        #[serde(with = "text")]
        sender: DeviceAddress,
        /// For which mailbox.
        #[serde(with = "text")]
        to: MailboxId,
        /// Which step of the sender's ratchet made it ([`crate::ratchet::step`]).
        #[serde(with = "text::option", default)]
        step: Option<u128>,
        /// Digest of the ciphertext.
        #[serde(with = "text")]
        ciphertext: u128,
    },
    /// The sending device was told that a send is accepted; once for each time it was told.
    Accepted {
        /// The send, where the observer can see it.
        #[serde(with = "text::option", default)]
        envelope: Option<EnvelopeId>,
        /// The message in it; none for receipts and the like.
        #[serde(with = "text::option", default)]
        message: Option<MessageId>,
        /// Whether it answers a request to send a message again (under a new envelope id).
        #[serde(default)]
        resend: bool,
        /// By which device.
        #[serde(with = "text")]
        sender: DeviceAddress,
        /// For which devices, where the observer can see them.
        #[serde(with = "text::list", default)]
        to: Vec<MailboxId>,
        /// The place that it was given in its conversation.
        #[serde(with = "text")]
        stamp: Stamp,
    },

    // ---- the store
    /// A row became durable.
    Row {
        /// The send that it belongs to.
        #[serde(with = "text")]
        envelope: EnvelopeId,
        /// In which mailbox.
        #[serde(with = "text")]
        mailbox: MailboxId,
        /// Where in it.
        #[serde(with = "text")]
        position: Position,
        /// The stamp that it carries.
        #[serde(with = "text")]
        stamp: Stamp,
        /// When it ends, on the observer's clock.
        expires_at_ms: u64,
    },
    /// A row was deleted.
    Deleted {
        /// From which mailbox.
        #[serde(with = "text")]
        mailbox: MailboxId,
        /// Which.
        #[serde(with = "text")]
        position: Position,
        /// Why.
        cause: Deletion,
    },
    /// Every row that a mailbox holds now; closed mailboxes hold none.
    Inventory {
        /// The mailbox.
        #[serde(with = "text")]
        mailbox: MailboxId,
        /// Its rows.
        #[serde(with = "text::list")]
        positions: Vec<Position>,
    },

    // ---- receiving
    /// An envelope reached a device; once for each time it did.
    Delivered {
        /// The device's mailbox.
        #[serde(with = "text")]
        mailbox: MailboxId,
        /// The send.
        #[serde(with = "text")]
        envelope: EnvelopeId,
        /// To be acknowledged.
        #[serde(with = "text")]
        position: Position,
        /// Digest of the ciphertext.
        #[serde(with = "text")]
        ciphertext: u128,
    },
    /// The device committed what an envelope brought, so that a crash no longer loses it.
    Stored {
        /// The device's mailbox.
        #[serde(with = "text")]
        mailbox: MailboxId,
        /// The send.
        #[serde(with = "text")]
        envelope: EnvelopeId,
    },
    /// The device acknowledged a row: the acknowledgement left it.
    Acked {
        /// The device's mailbox.
        #[serde(with = "text")]
        mailbox: MailboxId,
        /// The row.
        #[serde(with = "text")]
        position: Position,
    },
    /// An envelope did not open.
    DecryptFailed {
        /// At which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// From which device.
        #[serde(with = "text")]
        sender: DeviceAddress,
        /// The send.
        #[serde(with = "text")]
        envelope: EnvelopeId,
        /// The failure's name.
        failure: String,
    },
    /// An envelope crashed the reader and was put aside.
    Quarantined {
        /// At which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// The send.
        #[serde(with = "text")]
        envelope: EnvelopeId,
    },

    // ---- what people see
    /// A device showed a message.
    Shown {
        /// Which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// Which message.
        #[serde(with = "text")]
        message: MessageId,
        /// From whom.
        #[serde(with = "text")]
        sender: DeviceAddress,
        /// Its place in the conversation.
        #[serde(with = "text")]
        stamp: Stamp,
        /// Digest of its text.
        #[serde(with = "text")]
        body: u128,
    },
    /// Everything that a device shows of a direct chat now, oldest first.
    View {
        /// Which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// With whom.
        #[serde(with = "text")]
        chat: AccountId,
        /// The messages.
        lines: Vec<Line>,
        /// Messages that it says are missing.
        gaps: u32,
    },
    /// A sender's device learned what became of a message at the other end.
    Receipt {
        /// The sender's device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// The message.
        #[serde(with = "text")]
        message: MessageId,
        /// Who says so.
        #[serde(with = "text")]
        from: AccountId,
        /// What it says.
        kind: ReceiptKind,
    },

    // ---- keys
    /// A device uploaded a prekey.
    KeyUploaded {
        /// Whose.
        #[serde(with = "text")]
        owner: MailboxId,
        /// Of which kind.
        kind: KeyKind,
        /// Its number.
        id: u32,
        /// Digest of its bytes.
        #[serde(with = "text")]
        key: u128,
    },
    /// A device was given somebody's prekey.
    KeyServed {
        /// Whose.
        #[serde(with = "text")]
        owner: MailboxId,
        /// To whom.
        #[serde(with = "text")]
        requester: MailboxId,
        /// Of which kind.
        kind: KeyKind,
        /// Its number.
        id: u32,
        /// Digest of its bytes.
        #[serde(with = "text")]
        key: u128,
    },

    // ---- the run
    /// Something was done to the run on purpose.
    Fault {
        /// What.
        what: String,
    },
    /// Nothing is done to the run from now on, and what was done has no late effect.
    FaultsEnded,
    /// So many bytes that a server received or stored were searched for canaries.
    CanariesSought {
        /// How many.
        bytes: u64,
    },
    /// A server had a canary ([`crate::canary`]).
    CanaryFound {
        /// Its name.
        canary: String,
        /// Where.
        place: String,
    },
    /// So much of something was in use.
    Resource {
        /// By whom.
        owner: String,
        /// Of what.
        name: String,
        /// How much.
        value: u64,
        /// The most that is allowed.
        bound: u64,
    },
}

/// Why a row was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deletion {
    /// Its device acknowledged it.
    Acked,
    /// Its time was over.
    Expired,
    /// Its mailbox was closed.
    Closed,
}

/// One message of a [`Fact::View`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The message.
    #[serde(with = "text")]
    pub message: MessageId,
    /// Its place; none while it is not accepted.
    #[serde(with = "text::option", default)]
    pub stamp: Option<Stamp>,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// It is stored on a device of the recipient.
    Delivered,
    /// A person has seen it.
    Read,
}

/// The kinds of prekeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Signed, replaced now and then, given to everybody.
    Signed,
    /// Post-quantum, given to everybody when the pool is empty.
    LastResort,
    /// Classical, given to one.
    OneTime,
    /// Post-quantum, given to one.
    OneTimeKem,
}

impl KeyKind {
    /// Whether it may be given to one requesting device only.
    pub const fn is_one_time(self) -> bool {
        matches!(self, Self::OneTime | Self::OneTimeKem)
    }
}
