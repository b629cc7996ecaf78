//! Prekeys: what lets somebody open a session with a device that is not connected.

use crate::StoreError;
use types::{MailboxId, Timestamp};
use wire::{Bundle, KeyCounts, KeyUpload};

/// Prekeys of devices.
#[async_trait::async_trait]
pub trait Prekeys: Send + Sync + 'static {
    /// Stores keys of a listed device: signed and last-resort ones replace, one-time ones are added up to
    /// [`types::limits::ONE_TIME_KEYS_MAX`] of each kind; an id that is stored already keeps its key, and
    /// an id that was given away is never stored again. Answers how many are left; an unknown device
    /// answers `None`.
    async fn put_keys(&self, device: MailboxId, keys: KeyUpload) -> Result<Option<KeyCounts>, StoreError>;

    /// Takes a bundle.
    ///
    /// A one-time key goes to at most one requesting device, ever, whatever fails in between: it is deleted
    /// durably before the answer. The same requester asking for the same device again within
    /// [`types::limits::BUNDLE_REPEAT_WITHIN`] gets the same bundle. With `reset` no one-time key is taken.
    /// An unknown device, or one without a signed prekey, answers `None`.
    async fn take_keys(&self, take: TakeKeys) -> Result<Option<TakenKeys>, StoreError>;

    /// How many one-time keys are left; `None` for an unknown device.
    async fn key_counts(&self, device: MailboxId) -> Result<Option<KeyCounts>, StoreError>;
}

/// A request for one device's bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeKeys {
    /// Whose keys.
    pub target: MailboxId,
    /// Who asks.
    pub requester: MailboxId,
    /// The session broke: without one-time keys.
    pub reset: bool,
    /// The pool is protected for now (a depletion brake): without one-time keys.
    pub spare_one_time: bool,
    /// The time.
    pub now: Timestamp,
}

/// A bundle, and what is left in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenKeys {
    /// The bundle.
    pub bundle: Bundle,
    /// One-time keys left.
    pub left: KeyCounts,
}
