//! The end of a store: set once, by its first I/O error.
//!
//! After a failed fsync the kernel may have dropped the pages that it could not write, and says so only
//! once; whoever tries again may be told that all is well. So nothing is tried again.

use server_ports::StoreError;
use std::{
    fmt::Display,
    sync::{Arc, OnceLock},
};

/// Whether a store still answers. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Poison(Arc<OnceLock<String>>);

impl Poison {
    /// Ends the store; the first cause is kept.
    pub(crate) fn set(&self, cause: impl Display) -> StoreError {
        if self.0.set(cause.to_string()).is_ok() {
            tracing::error!(cause = %cause, "a store met an I/O error and acknowledges nothing more");
        }
        self.error()
    }

    /// `Err` once ended.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.0.get() {
            Some(cause) => Err(StoreError::Poisoned(cause.clone())),
            None => Ok(()),
        }
    }

    /// What a caller is told whose call got no answer.
    pub(crate) fn error(&self) -> StoreError {
        match self.0.get() {
            Some(cause) => StoreError::Poisoned(cause.clone()),
            None => StoreError::Unavailable("the store is closing".to_owned()),
        }
    }
}
