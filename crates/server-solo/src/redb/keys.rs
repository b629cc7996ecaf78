//! Keys as bytes whose order is the order of what they name.

use types::{EnvelopeId, MailboxId};

/// Account, device, registration id.
pub(super) const MAILBOX: usize = 19;
/// A mailbox and a sequence number.
pub(super) const NUMBERED: usize = MAILBOX + 8;
/// A sender and an envelope id.
pub(super) const SEND: usize = MAILBOX + 16;
/// A day and a mailbox.
pub(super) const DAY: usize = 4 + MAILBOX;

pub(super) fn mailbox(id: MailboxId) -> [u8; MAILBOX] {
    let mut key = [0; MAILBOX];
    key[..16].copy_from_slice(id.account.as_bytes());
    key[16] = id.device.get();
    // A registration id has 14 bits.
    key[17..].copy_from_slice(&(id.registration.get() as u16).to_be_bytes());
    key
}

pub(super) fn numbered(mailbox: &[u8; MAILBOX], number: u64) -> [u8; NUMBERED] {
    let mut key = [0; NUMBERED];
    key[..MAILBOX].copy_from_slice(mailbox);
    key[MAILBOX..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number in a key of [`numbered`].
pub(super) fn number(key: &[u8; NUMBERED]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&key[MAILBOX..]);
    u64::from_be_bytes(number)
}

pub(super) fn send(sender: &[u8; MAILBOX], envelope: EnvelopeId) -> [u8; SEND] {
    let mut key = [0; SEND];
    key[..MAILBOX].copy_from_slice(sender);
    key[MAILBOX..].copy_from_slice(envelope.as_bytes());
    key
}

pub(super) fn day(day: u32, mailbox: &[u8; MAILBOX]) -> [u8; DAY] {
    let mut key = [0; DAY];
    key[..4].copy_from_slice(&day.to_be_bytes());
    key[4..].copy_from_slice(mailbox);
    key
}

/// The day and the mailbox in a key of [`day`].
pub(super) fn split_day(key: &[u8; DAY]) -> (u32, [u8; MAILBOX]) {
    let (mut day, mut mailbox) = ([0; 4], [0; MAILBOX]);
    day.copy_from_slice(&key[..4]);
    mailbox.copy_from_slice(&key[4..]);
    (u32::from_be_bytes(day), mailbox)
}
