//! Registration sessions: somebody proves a phone number by a one-time code.

use crate::StoreError;
use types::{PhoneNumber, Timestamp};

/// A registration session's secret name: 16 random bytes, known to the device that asked.
pub type SessionId = [u8; 16];

/// Registration sessions.
#[async_trait::async_trait]
pub trait Registrations: Send + Sync + 'static {
    /// Stores a session; it replaces every earlier one for the number, whose codes are void even if they
    /// have proved it: whoever asks last is whoever holds the telephone now.
    async fn begin(&self, session: RegistrationSession) -> Result<(), StoreError>;

    /// Tries a code. The try is counted durably before it is compared, so that no number of parallel
    /// calls gets more than [`types::limits::CODE_TRIES_MAX`].
    async fn attempt(
        &self,
        session: SessionId,
        code_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Attempt, StoreError>;

    /// Deletes sessions that ended before `now`; answers how many.
    async fn expire_registrations(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// Somebody asked for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationSession {
    /// Its name.
    pub id: SessionId,
    /// The number to be proved.
    pub phone: PhoneNumber,
    /// Peppered hash of the code.
    pub code_hash: [u8; 32],
    /// From when on the code is void.
    pub expires_at: Timestamp,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Right: the session has proved this number, now or before (a proved session stays proved until it
    /// expires or is consumed; a wrong code after that does not unprove it but is counted and refused).
    Proved(PhoneNumber),
    /// Wrong.
    Wrong {
        /// The number that the session is for; never told to who tried.
        phone: PhoneNumber,
        /// Tries that are left.
        left: u32,
    },
    /// No tries are left; ask for another code.
    Exhausted,
    /// The code is too old; ask for another.
    Expired,
    /// No such session, or a later one for the same number voided it.
    Unknown,
}
