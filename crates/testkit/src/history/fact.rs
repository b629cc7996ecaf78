//! The facts that invariants speak of. An observer records those that it can see.

use super::{Deletion, HeldOperation, KeyKind, Line, ReceiptKind, SignedLog, text};
use serde::{Deserialize, Serialize};
use types::{AccountId, ChatId, DeviceAddress, EnvelopeId, GroupId, MailboxId, MessageId, Position, Stamp};

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
    /// A device has learned that it is one of an account now.
    Linked {
        /// Its mailbox.
        #[serde(with = "text")]
        device: MailboxId,
        /// The primary device that has added it.
        #[serde(with = "text")]
        by: MailboxId,
        /// Whether it is given the messages from before.
        with_history: bool,
    },
    /// A device is gone: unlinked, replaced, or its account was closed.
    Closed {
        /// The mailbox that it had.
        #[serde(with = "text")]
        mailbox: MailboxId,
    },
    /// A device has taken the place of an account's lost primary, with what a backup had.
    Restored {
        /// Its mailbox.
        #[serde(with = "text")]
        device: MailboxId,
        /// The mailbox of the lost one.
        #[serde(with = "text")]
        former: MailboxId,
        /// What the device that made the backup showed then, as far as it was accepted.
        #[serde(with = "text::list")]
        messages: Vec<MessageId>,
    },
    /// Somebody has gone on with a device that was replaced; this is how it stands in the end.
    Found {
        /// The mailbox that it had.
        #[serde(with = "text")]
        mailbox: MailboxId,
        /// Whether it was told that it may not connect.
        is_shut_out: bool,
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
    /// A server has admitted a device: a session is open.
    SessionOpened {
        /// A number that no other session of the run has.
        session: u64,
        /// Whose.
        #[serde(with = "text")]
        device: MailboxId,
    },
    /// A session is over at the server, whatever its device knows of that.
    SessionEnded {
        /// Which; perhaps one that was never open.
        session: u64,
    },
    /// A server could not ask which devices were removed.
    LookFailed,
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
        /// To whom, or in which group.
        #[serde(with = "text")]
        to: ChatId,
        /// Digest of its text; every text of a run is different.
        #[serde(with = "text")]
        body: u128,
    },
    /// A person took note that a number belongs to another account now: what was not accepted for the old one
    /// goes to the new one.
    Readdressed {
        /// Whose device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// The account that had the number.
        #[serde(with = "text")]
        from: AccountId,
        /// The account that has it.
        #[serde(with = "text")]
        to: AccountId,
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
    /// What is for all members of a group left a device, a message or an operation; once for each time.
    SealedForGroup {
        /// The send that it belongs to.
        #[serde(with = "text")]
        envelope: EnvelopeId,
        /// The message in it; none for an operation.
        #[serde(with = "text::option", default)]
        message: Option<MessageId>,
        /// Which group.
        #[serde(with = "text")]
        group: GroupId,
        /// The sender's view of the chain; of an operation, its own place in it.
        epoch: u64,
        /// From which device.
        #[serde(with = "text")]
        sender: DeviceAddress,
        /// Which of the sender's keys of this group made it; none for an operation, or if the observer cannot
        /// see it.
        #[serde(default)]
        key: Option<u64>,
        /// Which step of the sender key made it ([`crate::ratchet::step`]); none for an operation.
        #[serde(with = "text::option", default)]
        step: Option<u128>,
        /// Digest of the ciphertext, or of the operation.
        #[serde(with = "text")]
        ciphertext: u128,
    },
    /// A device gave one of its keys of a group to another: what carries it left; once for each time.
    SenderKeyGiven {
        /// Which group.
        #[serde(with = "text")]
        group: GroupId,
        /// Which of the giver's keys.
        key: u64,
        /// By which device.
        #[serde(with = "text")]
        by: DeviceAddress,
        /// To which mailbox.
        #[serde(with = "text")]
        to: MailboxId,
        /// How far the giver knew the chain.
        epoch: u64,
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

    /// Of a send that was accepted the sender was told, too, that these mailboxes are full and got nothing.
    Skipped {
        /// The send.
        #[serde(with = "text")]
        envelope: EnvelopeId,
        /// The mailboxes.
        #[serde(with = "text::list")]
        mailboxes: Vec<MailboxId>,
    },

    // ---- what is signed
    /// A device list became durable.
    ListWritten {
        /// Whose.
        #[serde(with = "text")]
        account: AccountId,
        /// Which version.
        version: u64,
        /// Digest of its bytes.
        #[serde(with = "text")]
        digest: u128,
        /// The devices on it.
        #[serde(with = "text::list")]
        mailboxes: Vec<MailboxId>,
    },
    /// An operation of a group became durable.
    ChainWritten {
        /// Which group.
        #[serde(with = "text")]
        group: GroupId,
        /// Its place in the chain.
        epoch: u64,
        /// Digest of its bytes.
        #[serde(with = "text")]
        digest: u128,
        /// The members after it.
        #[serde(with = "text::list")]
        members: Vec<AccountId>,
    },
    /// Something that a device had signed left it, to be put in force; once for each time it left.
    LogSigned {
        /// Which device.
        #[serde(with = "text")]
        by: MailboxId,
        /// Of what.
        #[serde(with = "text")]
        log: SignedLog,
        /// Which version of it.
        version: u64,
        /// Digest of its bytes.
        #[serde(with = "text")]
        digest: u128,
    },
    /// A device was told that what it had signed is in force.
    LogAnswered {
        /// Which device.
        #[serde(with = "text")]
        by: DeviceAddress,
        /// Of what.
        #[serde(with = "text")]
        log: SignedLog,
        /// Which version of it.
        version: u64,
        /// Digest of its bytes.
        #[serde(with = "text")]
        digest: u128,
        /// When it had asked for it.
        asked_at_ms: u64,
    },
    /// A device was told which version is the newest.
    LogRead {
        /// Which device.
        #[serde(with = "text")]
        by: DeviceAddress,
        /// Of what.
        #[serde(with = "text")]
        log: SignedLog,
        /// Which version.
        version: u64,
        /// Digest of its bytes.
        #[serde(with = "text")]
        digest: u128,
        /// When it had asked.
        asked_at_ms: u64,
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
    /// Everything that a device shows of a chat now, oldest first.
    View {
        /// Which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// With whom, or in which group.
        #[serde(with = "text")]
        chat: ChatId,
        /// The messages.
        lines: Vec<Line>,
        /// Messages that it says are missing.
        gaps: u32,
    },
    /// A person has read a chat on one of the devices.
    MarkedRead {
        /// Which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// Which chat.
        #[serde(with = "text")]
        chat: ChatId,
        /// Up to and with this message.
        #[serde(with = "text")]
        up_to: Stamp,
    },
    /// How far a device shows a chat as read now.
    ReadUpTo {
        /// Which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// Which chat.
        #[serde(with = "text")]
        chat: ChatId,
        /// Up to and with this message.
        #[serde(with = "text")]
        up_to: Stamp,
    },
    /// Everything that a device knows of a group's chain now, oldest first.
    ChainHeld {
        /// Which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// Which group.
        #[serde(with = "text")]
        group: GroupId,
        /// The operations, by epoch.
        operations: Vec<HeldOperation>,
        /// Whether it has the group's secret, without which it can neither read the group's name nor write there.
        secret: bool,
    },
    /// A device has committed an envelope that it cannot show: for want of its sender's list, of the chain or of a key.
    KeptBack {
        /// Which device.
        #[serde(with = "text")]
        device: DeviceAddress,
        /// From which device.
        #[serde(with = "text")]
        sender: DeviceAddress,
        /// The send.
        #[serde(with = "text")]
        envelope: EnvelopeId,
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
