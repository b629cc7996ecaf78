//! The only folder that names the Signal library: bytes in, bytes out, one operation a call.
//!
//! Invariants: a panic of the library comes out as [`Trouble::Panicked`]; nothing here reads a clock or a
//! source of randomness; the library never sees a store of ours (see [`desk`]) and never more than one
//! session state (see [`record`]).

mod desk;
mod groups;
mod keys;
mod pairwise;
pub(crate) mod record;

pub(crate) use groups::{group_decrypt, group_distribution, group_encrypt, group_process};
pub(crate) use keys::{
    generate_identity, generate_kem, generate_one_time, generate_signed, is_kem_public_key, verify_signature,
};
pub(crate) use pairwise::{
    Opening, Prekeys, Usability, encrypt, initiate, open_prekey, open_ratchet, usability,
};

use crate::DecryptFailure;
use libsignal_protocol_syft::{DeviceId, ProtocolAddress, SignalProtocolError};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The library did not do what it was asked for.
pub(crate) enum Trouble {
    Panicked,
    Refused(SignalProtocolError),
}

impl From<SignalProtocolError> for Trouble {
    fn from(error: SignalProtocolError) -> Self {
        Self::Refused(error)
    }
}

impl Trouble {
    /// What it means for a message that came in.
    pub(crate) fn as_decrypt_failure(&self) -> DecryptFailure {
        use SignalProtocolError as E;
        match self {
            Self::Panicked => DecryptFailure::Panicked,
            Self::Refused(E::DuplicatedMessage(..)) => DecryptFailure::Duplicate,
            Self::Refused(E::InvalidPreKeyId | E::InvalidSignedPreKeyId | E::InvalidKyberPreKeyId) => {
                DecryptFailure::UnknownPrekey
            }
            Self::Refused(E::SessionNotFound(_)) => DecryptFailure::NoSession,
            Self::Refused(E::NoSenderKeyState { .. }) => DecryptFailure::NoSenderKey,
            Self::Refused(E::UnrecognizedCiphertextVersion(_) | E::UnrecognizedMessageVersion(_)) => {
                DecryptFailure::Unsupported
            }
            Self::Refused(E::InvalidMessage(..) | E::SignatureValidationFailed) => DecryptFailure::BadMac,
            Self::Refused(
                E::InvalidSessionStructure(_) | E::InvalidState(..) | E::InvalidSenderKeySession { .. },
            ) => DecryptFailure::DamagedState,
            Self::Refused(_) => DecryptFailure::Malformed,
        }
    }

    /// What it means for something that we made ourselves.
    pub(crate) fn as_own_fault(&self) -> &'static str {
        match self {
            Self::Panicked => "it panicked",
            Self::Refused(_) => "it refused our own state",
        }
    }
}

/// Runs the library. What it works on is a copy that nobody looks at after a panic, hence unwind safe.
fn contained<T>(operation: impl FnOnce() -> Result<T, SignalProtocolError>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Trouble::Panicked),
    }
}

/// The library names peers only to find their records and in its logs, where ours are not to appear.
fn anybody() -> ProtocolAddress {
    let device = DeviceId::new(1).expect("1 is a device id");
    ProtocolAddress::new("peer".to_owned(), device)
}
