//! The vocabulary of Waxwing: ids, stamps, positions, phone numbers, limits, redaction.
//!
//! Owns: the newtypes that every other crate speaks in, their text forms and their order.
//! Must not know: I/O, clocks, serialization formats, cryptography.

mod address;
mod hex_text;
mod id;
pub mod limits;
mod phone;
mod redact;
mod stamp;
mod time;

pub use address::{DeviceAddress, DeviceNumber, MailboxId, RegistrationId};
pub use id::{
    AccountId, BlobId, ChatId, ConversationId, EnvelopeId, GroupId, IncarnationId, LinkId, MessageId, NodeId,
};
pub use phone::PhoneNumber;
pub use redact::Redact;
pub use stamp::{Position, Stamp};
pub use time::{Millis, Timestamp};

/// A value could not be read from its text or byte form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}")]
pub struct Invalid {
    /// What the value should have been, in the reader's words ("account id").
    pub what: &'static str,
}
