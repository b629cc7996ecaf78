//! The ways in which encryption and decryption fail, and what follows from each.

use crate::{ContentInvalid, StoreError};
use std::fmt;

/// Why a ciphertext was not opened. Every interface and every metric uses this one list, by [`Self::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecryptFailure {
    /// The bytes do not form a message as an honest encoder writes it.
    Malformed,
    /// A well-formed message that no honest peer sends: without its post-quantum part or with a broken one,
    /// or with a public key of low order.
    GuardRefused,
    /// There is no session that this message could belong to.
    NoSession,
    /// The session has opened this message before: a redelivery.
    Duplicate,
    /// The message opens a session with a prekey that is not here (any more).
    UnknownPrekey,
    /// No session's keys fit the message.
    BadMac,
    /// The message stands more than 2,000 ahead of what was received, or would cost that many steps.
    TooFarAhead,
    /// The message's identity key is not the listed one of its sender.
    Unlisted,
    /// The addresses inside the seal are not those that the message came with.
    WrongAddress,
    /// The plaintext is not padded as it must be.
    BadPadding,
    /// The content breaks a limit or lacks a field.
    BadContent,
    /// The message uses a version of the protocol that this one does not know.
    Unsupported,
    /// There is no sender key for this group message (yet).
    NoSenderKey,
    /// The stored record is damaged: as if there were no session.
    DamagedState,
    /// The library panicked; nothing was changed.
    Panicked,
}

/// What an engine does about a [`DecryptFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Acknowledge the envelope and forget it; nothing is missing.
    Acknowledge,
    /// Acknowledge it, count it, and tell nobody: it comes from one who does not keep to the protocol, and
    /// would come again as it is.
    Drop,
    /// Open a new session with the sender, and ask it once to send the message again.
    Renew,
    /// Keep the ciphertext, fetch the sender's device list, and try once more with it.
    HoldForList,
    /// Keep the ciphertext until the sender key arrives; ask for a resend 30 s after the drain.
    HoldForSenderKey,
    /// Keep the bytes, acknowledge, ask once for a resend, and try again after an upgrade. A panic counts
    /// only when it happened twice with the same envelope.
    Quarantine,
}

impl DecryptFailure {
    /// Every failure, for metrics that list them all.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::GuardRefused,
        Self::NoSession,
        Self::Duplicate,
        Self::UnknownPrekey,
        Self::BadMac,
        Self::TooFarAhead,
        Self::Unlisted,
        Self::WrongAddress,
        Self::BadPadding,
        Self::BadContent,
        Self::Unsupported,
        Self::NoSenderKey,
        Self::DamagedState,
        Self::Panicked,
    ];

    /// The failure's name outside this program; it never changes.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::GuardRefused => "guard_refused",
            Self::NoSession => "no_session",
            Self::Duplicate => "duplicate",
            Self::UnknownPrekey => "unknown_prekey",
            Self::BadMac => "bad_mac",
            Self::TooFarAhead => "too_far_ahead",
            Self::Unlisted => "unlisted",
            Self::WrongAddress => "wrong_address",
            Self::BadPadding => "bad_padding",
            Self::BadContent => "bad_content",
            Self::Unsupported => "unsupported",
            Self::NoSenderKey => "no_sender_key",
            Self::DamagedState => "damaged_state",
            Self::Panicked => "panicked",
        }
    }

    /// Reads what [`Self::code`] gave.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.code() == code)
    }

    /// What an engine does about it.
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::Duplicate => Remedy::Acknowledge,
            Self::WrongAddress | Self::BadPadding | Self::BadContent => Remedy::Drop,
            Self::Unlisted => Remedy::HoldForList,
            Self::NoSenderKey => Remedy::HoldForSenderKey,
            Self::Unsupported | Self::Panicked => Remedy::Quarantine,
            Self::Malformed
            | Self::GuardRefused
            | Self::NoSession
            | Self::UnknownPrekey
            | Self::BadMac
            | Self::TooFarAhead
            | Self::DamagedState => Remedy::Renew,
        }
    }

    /// True if it counts against the sender's failures a minute ([`crate::guard::FailureLimiter`]). What
    /// does not: what an honest peer causes when a device lost its state, or when messages overtake lists and
    /// keys. Those cost next to nothing.
    pub const fn counts(self) -> bool {
        match self {
            Self::Malformed
            | Self::GuardRefused
            | Self::BadMac
            | Self::TooFarAhead
            | Self::WrongAddress
            | Self::BadPadding
            | Self::BadContent
            | Self::Panicked => true,
            Self::NoSession
            | Self::Duplicate
            | Self::UnknownPrekey
            | Self::Unlisted
            | Self::Unsupported
            | Self::NoSenderKey
            | Self::DamagedState => false,
        }
    }
}

impl fmt::Display for DecryptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for DecryptFailure {}

/// Decryption did not give content.
#[derive(Debug, thiserror::Error)]
pub enum DecryptError {
    /// The message was refused; the store is as it was.
    #[error("refused: {0}")]
    Refused(#[from] DecryptFailure),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there must be a new session before anything can be encrypted to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionNeeded {
    /// There is none.
    Absent,
    /// Ours was opened more than 30 days ago and never answered.
    Stale,
    /// It reached [`crate::CHAIN_LENGTH_MAX`] messages without an answer.
    Exhausted,
    /// It is with another identity or another life of the device than the list says.
    Changed,
    /// It lacks post-quantum secrecy, or its record is damaged.
    Unusable,
}

/// Encryption did not give a ciphertext; the store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Fetch a bundle, verify it, open a session, encrypt again.
    #[error("a new session is needed: {0:?}")]
    SessionNeeded(SessionNeeded),
    /// The content names another sender or recipient than this call: a bug of the caller.
    #[error("the content's addresses are not those of the session")]
    WrongAddress,
    /// This device has no sender key in the group: distribute one first.
    #[error("there is no sender key for the group")]
    NoSenderKey,
    /// The content breaks a limit.
    #[error(transparent)]
    Content(#[from] ContentInvalid),
    /// The library refused or panicked with state of our own making: a bug.
    #[error("the encryption library failed: {0}")]
    Library(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
