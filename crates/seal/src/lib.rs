//! End-to-end encryption: what goes in is [`Content`], what comes out is bytes that only one device can open.
//!
//! Owns: PQXDH to open a session, the Triple Ratchet after, sender keys for groups, the guard in front of
//! the Signal library, padding, the form of the content, safety numbers; and what is sealed outside a session:
//! the messages of linking, device names, a group's name, archives and backups.
//!
//! Invariants:
//! - A failed operation changes nothing: the library works on a copy of the state, and the [`Store`] is
//!   written only after everything succeeded.
//! - Nothing is encrypted to a device that is not on a verified list ([`Peer`]), and nothing decrypted can
//!   be read before the key that sent it was found on one ([`Opened::verify`]).
//! - No session without post-quantum secrecy, when it is opened and with every message.
//! - No input makes this crate panic; a panic inside the library is caught and is an error
//!   ([`DecryptFailure::Panicked`]; on wasm32, where a panic cannot be caught, it is a trap).
//! - Time and randomness are arguments: the same inputs give the same bytes.
//!
//! Must not know: sockets, servers, databases, chats. Only `library/` names the Signal library, so that
//! another one can take its place there; its types stand in no public signature.

mod aead;
pub mod archive;
pub mod backup;
mod bundle;
mod content;
mod content_wire;
mod failure;
pub mod group_info;
pub mod guard;
mod invite;
mod keys;
mod library;
pub mod link;
pub mod memory;
pub mod names;
mod opened;
mod own_devices;
mod padding;
mod peer;
mod proto;
mod safety_number;
mod secret;
mod sender_key;
mod session;
mod store;

pub use bundle::{
    Bundle, BundleRefused, KemPrekey, OneTimePrekey, SignedPrekey, VerifiedBundle, verify_bundle,
};
pub use content::{
    Body, CONTENT_BYTES_MAX, Content, ContentInvalid, DeliveredMessage, GroupView, LinkPreview, ListView,
    Mention, Quote, Receipt, ReceiptKind, ResendRequest, SenderKeyDistribution, Text, Void,
};
pub use failure::{DecryptError, DecryptFailure, Remedy, SealError, SessionNeeded};
pub use invite::InviteSecret;
pub use keys::{
    DeviceSecrets, IdentityKeyPair, NewPrekey, generate_kem_one_time, generate_last_resort,
    generate_one_time, generate_signed,
};
pub use opened::{Arrival, Opened};
pub use own_devices::{
    ARCHIVE_PARTS_MAX, ArchiveId, ArchivePart, BlockState, ContactState, Forward, HistoryArchive,
    InnerContent, ReadUpTo, SETTINGS_BYTES_MAX, SYNC_ENTRIES_MAX, SentTranscript, SyncState,
};
pub use padding::{PaddingInvalid, pad, padded_length, unpad};
pub use peer::Peer;
pub use safety_number::{SafetyNumber, safety_number};
pub use secret::{ArchiveKey, GroupSecret, LinkSeed, SyncKey};
pub use sender_key::{group_encrypt, process_distribution, rotate_sender_key, sender_key_distribution};
pub use session::{
    CHAIN_LENGTH_MAX, CHAIN_LENGTH_RENEW, STEPS_MAX, SealKind, Sealed, decrypt, encrypt, forward_steps,
    open_session, session_needed,
};
pub use signed::IdentityKey;
pub use store::{KemPrekeyRecord, LastResortUse, LocalDevice, Store, StoreError};

/// Log targets of the Signal library and what it uses. It prints MACs and public keys when a message does
/// not open, so every program filters these targets, at every level.
pub const LOG_TARGETS_SILENCED: [&str; 4] =
    ["libsignal_protocol_syft", "libsignal_core_syft", "signal_crypto_syft", "spqr_syft"];
