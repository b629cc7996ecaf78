//! What a device must remember between two messages: the contract that an engine's database fulfils.
//!
//! Reads come first: an operation reads all that it needs, works on copies, and writes only after it has
//! succeeded. So an implementation over one database transaction needs no savepoints; only a [`StoreError`]
//! can leave writes half done, and then the caller must roll its transaction back.

use crate::IdentityKeyPair;
use types::{DeviceAddress, GroupId, RegistrationId};
use zeroize::Zeroizing;

/// The state of one device's encryption. Records are opaque bytes, secret, and private to this crate.
///
/// Contract: reads see earlier writes of the same transaction; what was stored is returned byte for byte;
/// all writes of one call become durable together, and before a ciphertext that they belong to leaves.
pub trait Store {
    /// This device: who it is, and its identity key pair.
    fn local(&self) -> Result<LocalDevice, StoreError>;

    /// The session record with a peer device. At most some 40 KB, some 700 KB after many lost messages.
    fn session(&self, peer: DeviceAddress) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Replaces the session record with a peer device.
    fn store_session(&mut self, peer: DeviceAddress, record: &[u8]) -> Result<(), StoreError>;

    /// The private half of a one-time prekey.
    fn one_time_prekey(&self, id: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Forgets a one-time prekey: it opened its one session.
    fn remove_one_time_prekey(&mut self, id: u32) -> Result<(), StoreError>;

    /// The private half of a signed prekey, kept until 30 days after the server stopped giving it out.
    fn signed_prekey(&self, id: u32) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// The private half of a post-quantum prekey, one-time or last-resort (their ids share one space).
    fn kem_prekey(&self, id: u32) -> Result<Option<KemPrekeyRecord>, StoreError>;

    /// Forgets a one-time post-quantum prekey: it opened its one session.
    fn remove_kem_prekey(&mut self, id: u32) -> Result<(), StoreError>;

    /// Remembers that a last-resort prekey opened this session; false if it was remembered before, and then
    /// the message is a replay. Kept for as long as the prekey's private half.
    fn remember_last_resort_use(&mut self, used: &LastResortUse) -> Result<bool, StoreError>;

    /// The sender key record of one device in one group; the local device's own record is among them.
    fn sender_key(
        &self,
        group: GroupId,
        sender: DeviceAddress,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Replaces the sender key record of one device in one group.
    fn store_sender_key(
        &mut self,
        group: GroupId,
        sender: DeviceAddress,
        record: &[u8],
    ) -> Result<(), StoreError>;
}

/// The device that a [`Store`] belongs to.
#[derive(Clone, Debug)]
pub struct LocalDevice {
    /// Its address.
    pub address: DeviceAddress,
    /// Which life of that device number it is.
    pub registration: RegistrationId,
    /// Its Signal identity.
    pub identity: IdentityKeyPair,
}

/// The private half of a post-quantum prekey.
#[derive(Clone)]
pub struct KemPrekeyRecord {
    /// The record as it was generated.
    pub record: Zeroizing<Vec<u8>>,
    /// True if it may open many sessions, because the one-time keys can run out.
    pub last_resort: bool,
}

/// One session that was opened with a last-resort prekey; a second message with the same three is a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LastResortUse {
    /// The last-resort post-quantum prekey.
    pub kem_prekey: u32,
    /// The signed prekey.
    pub signed_prekey: u32,
    /// The sender's base key, type byte first.
    pub base_key: [u8; 33],
}

/// The database failed. Nothing is known about the writes of this call: roll the transaction back.
#[derive(Debug, thiserror::Error)]
#[error("the store of the encryption state failed")]
pub struct StoreError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// Wraps the database's error.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}
