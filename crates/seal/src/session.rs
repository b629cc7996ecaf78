//! One-to-one: opening a session, encrypting to a device, decrypting what a device sent.
//!
//! Load everything -> work on copies -> check -> commit. See [`crate::Store`].

use crate::content::Content;
use crate::opened::{Arrival, Opened};
use crate::{DecryptError, Peer, SealError, SessionNeeded, Store, StoreError, VerifiedBundle, library};
use crate::{IdentityKey, padding};
use rand_core::CryptoRng;
use types::Timestamp;

/// From this many unanswered messages on, [`Sealed::renew`] asks for a new session.
pub const CHAIN_LENGTH_RENEW: u32 = 1_500;
/// With this many unanswered messages nothing more is encrypted: a receiver that got none of them would
/// refuse the next one as too far ahead.
pub const CHAIN_LENGTH_MAX: u32 = 2_000;

/// How a ciphertext is to be read; the kind in its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealKind {
    /// Opens a session, until the other side has answered.
    Prekey,
    /// Belongs to an open session.
    Ratchet,
    /// To a group, under a sender key.
    SenderKey,
}

/// What goes into an envelope. A retry sends these bytes again; nothing is ever encrypted twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How it is to be read.
    pub kind: SealKind,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// True when the other side has not answered 1,500 messages: open a new session at the next chance.
    pub renew: bool,
}
