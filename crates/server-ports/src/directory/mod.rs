//! The directory: accounts, devices, prekeys, registration sessions and links.
//!
//! One port, because one transaction must span them (a registration consumes its session, moves a
//! number, closes an account and stores keys together); four traits, because they are four ideas.

mod accounts;
mod links;
mod prekeys;
mod registrations;

pub use accounts::{
    Account, Accounts, ClosedAccount, ConnectOutcome, CreateOutcome, DEPARTED_REMEMBERED, DeviceRecord,
    ListedDevice, NewAccount, NewList, PutListOutcome, Restore, RestoreOutcome,
};
pub use links::{
    AnswerLink, CompleteLink, CreateLinkOutcome, InviteLink, Link, LinkOutcome, LinkState, Links, NewLink,
};
pub use prekeys::{Prekeys, TakeKeys, TakenKeys};
pub use registrations::{Attempt, RegistrationSession, Registrations, SessionId};

use crate::StoreError;
use types::{IncarnationId, Redact};

/// Everything durable that is not an envelope.
///
/// # Contract
/// Every write is durable when it returns `Ok`, atomic, and linearizable with the other calls on the same
/// account. After the first I/O error the store is poisoned ([`StoreError::Poisoned`]).
#[async_trait::async_trait]
pub trait Directory: Accounts + Prekeys + Registrations + Links {
    /// What this service is: made once, with the data.
    async fn service(&self) -> Result<ServiceIdentity, StoreError>;

    /// `Err` once poisoned. Never blocks.
    fn health(&self) -> Result<(), StoreError>;
}

/// What a service's data was born with.
#[derive(Clone, Debug)]
pub struct ServiceIdentity {
    /// New after a restore from backup.
    pub incarnation: IncarnationId,
    /// Mixed into the hash of one-time codes, so that a leaked table does not give them away.
    pub pepper: Redact<[u8; 32]>,
}
