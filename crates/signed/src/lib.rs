//! What people sign: device lists, device certificates, session proofs and group chains; and the offer of a new
//! device, which the code that it shows commits to.
//!
//! Owns: the exact bytes, the signatures (Ed25519) and the rules by which a list or a chain may go on.
//! Servers and clients run the same code, so neither can believe what the other would refuse.
//!
//! Invariants:
//! - A value of [`DeviceList`], [`DeviceCertificate`] or [`SignedOperation`] exists only if its
//!   signatures were verified; there is no unverified form to mistake it for.
//! - Signed bytes are carried as they came and never rebuilt, so fields of a later version survive.
//! - Wrappers (bytes plus signature) have exactly one encoding, so nobody but the signer can give
//!   the same content another hash.
//!
//! Must not know: the Signal library, sockets, stores, clocks, a source of randomness (it is passed in).

mod certificate;
mod device_list;
pub mod group;
mod id;
pub mod keys;
mod label;
mod link_offer;
pub mod proto;
mod session;
mod wrapper;

pub use certificate::{CertificateError, DeviceCertificate};
pub use device_list::{
    DeviceList, DeviceListDraft, ListError, ListedDevice, SEALED_NAMES_BYTES_MAX, Succession, SuccessionError,
};
pub use group::{ChainError, GroupChange, GroupState, OperationError, SignedOperation};
pub use id::{account_id, direct_conversation, lists_digest};
pub use keys::{AccountKey, AccountSecret, DeviceKey, DeviceSecret, IdentityKey, Signature};
pub use link_offer::LinkOffer;
pub use session::{ORIGIN_BYTES_MAX, PROTOCOL, SessionProof};
