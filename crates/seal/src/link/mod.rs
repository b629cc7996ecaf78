//! Linking: how a new device and the primary of an account find out that there is nobody between them.
//!
//! ```text
//! new device                              server                                 primary
//! code = link id, hash(offer), secret --------- shown, scanned ----------------> [`LinkCode`]
//! offer, with hash(nonce) -----------------> offer ---------------------------> checks the hash
//! [`NewDevice::accept`] <--------------- invitation <---------------------- [`Primary::invite`]
//! answer, with the nonce ----------------> answer -----------------> [`Primary::open_answer`]
//! six digits                              (people compare them)                  six digits
//! [`InvitedDevice::complete`] <---------- completion <----------------- [`Primary::complete`]
//! ```
//! The code commits to every key that the new device will have, so the primary signs no other. Invitation,
//! answer and completion are sealed under keys from an X25519 agreement and the secret in the code, which
//! the server does not see. Who saw the code but is not the primary agrees on other keys, so that the digits
//! differ; and since the new device tells its nonce only after it was invited, nobody can try until they do
//! not (see [`Digits`]). Private keys never move.
//!
//! The three states are plain values: each step makes the next state or nothing, and
//! `to_bytes`/`from_slice` keep them between two steps. Exact bytes: `proto/link.proto`.
//!
//! Must not know: HTTP, the server's clock, how long a code lives.

mod body;
mod code;
mod digits;
mod keys;
mod new_device;
mod primary;
mod state;

pub use body::{Completion, Invitation};
pub use code::LinkCode;
pub use digits::Digits;
pub use new_device::{InvitedDevice, NewDevice};
pub use primary::{Candidate, Primary};
pub use signed::LinkOffer;

/// Why a step of linking was refused. None of them changes a state: the other side may try again, or the
/// link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not the encoding of this message, or a field has the wrong length or range.
    #[error("a message of the link is malformed")]
    Malformed,
    /// The offer is not the one that the code commits to: somebody put other keys in its place.
    #[error("the offer is not the one that the code was shown for")]
    OtherOffer,
    /// An ephemeral key is of low order: there would be no secret between the two.
    #[error("an ephemeral key of the link is weak")]
    WeakKey,
    /// It was not sealed by the other side of this link.
    #[error("a message of the link was not made by its other side")]
    NotAuthentic,
    /// The answer's nonce is not the one that the offer has the hash of: somebody wants to choose the digits.
    #[error("the new device's nonce is not the one that it offered")]
    OtherNonce,
    /// The new device did not sign the entry that it would get in the list.
    #[error("the new device did not sign its entry")]
    NotConsented,
    /// The list or the certificate is not the inviting account's, or does not name this device with its keys.
    #[error("the device list does not fit the link")]
    NotListed,
    /// The primary says that its account has as many devices as it may have.
    #[error("the account has as many devices as it may have")]
    TooManyDevices,
    /// This device's own secrets are not those that it offered: a bug of the caller.
    #[error("the device's secrets are not those of the offer")]
    OtherDevice,
}
