//! Small ids and values for tests, each from a number, so that a failure reads well.

use bytes::Bytes;
use types::{
    AccountId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, MailboxId, MessageId, NodeId, PhoneNumber,
    RegistrationId, Stamp, Timestamp,
};
use wire::{Envelope, EnvelopeKind, Urgency};

/// When every made-up history begins: 2026-01-01T00:00:00Z.
pub const EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);

const fn sixteen(number: u8) -> [u8; 16] {
    [number; 16]
}

/// An account whose id is sixteen times `number`.
pub const fn account(number: u8) -> AccountId {
    AccountId::from_bytes(sixteen(number))
}

/// A group whose id is sixteen times `number`.
pub const fn group(number: u8) -> GroupId {
    GroupId::from_bytes(sixteen(number))
}

/// The primary device of [`account`].
pub const fn device(number: u8) -> DeviceAddress {
    DeviceAddress::new(account(number), DeviceNumber::PRIMARY)
}

/// The mailbox of [`device`] in the life of its number whose registration id is also `number`.
///
/// # Panics
/// If `number` is 0, which is no registration id.
pub fn mailbox(number: u8) -> MailboxId {
    device(number).mailbox(RegistrationId::new(number.into()).expect("1 to 255 are registration ids"))
}

/// A message id.
pub const fn message(number: u8) -> MessageId {
    MessageId::from_bytes(sixteen(number))
}

/// An envelope id.
pub const fn envelope_id(number: u8) -> EnvelopeId {
    EnvelopeId::from_bytes(sixteen(number))
}

/// A stamp of node 1, so many milliseconds after [`EPOCH`].
pub const fn stamp(millis: u64) -> Stamp {
    Stamp::new((EPOCH.as_millis() + millis) << 16, NodeId(1))
}

/// A number of the range that is reserved for examples.
///
/// # Panics
/// If `number` has more than four digits.
pub fn phone(number: u16) -> PhoneNumber {
    assert!(number < 10_000, "an example number ends in four digits");
    format!("+1555200{number:04}").parse().expect("eleven digits after a plus are a number")
}

/// An envelope from one device to another's mailbox; its stamp is the same number of milliseconds.
pub fn envelope(number: u8, from: DeviceAddress, to: MailboxId) -> Envelope {
    Envelope {
        envelope_id: envelope_id(number),
        from,
        to,
        kind: EnvelopeKind::Ratchet,
        urgency: Urgency::Normal,
        stamp: stamp(number.into()),
        ciphertext: Bytes::from(vec![number; 32]),
        group: None,
    }
}
