//! How a store fails: one way, because every caller must react in the same way.

/// A store could not answer.
///
/// For a write the outcome is unknown: it may be there after a restart. The caller says
/// `Unavailable`, and the client's retry with the same id settles it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// This call failed; others may succeed (a replica was slow, a connection was lost).
    #[error("the store did not answer: {0}")]
    Unavailable(String),
    /// The store met an I/O error (a failed fsync, a full disk, damage) and acknowledges nothing more.
    /// The node leaves service and restarts; nothing is retried against the same open files.
    #[error("the store is poisoned: {0}")]
    Poisoned(String),
}

impl StoreError {
    /// Whether the node must leave service.
    pub const fn is_poisoned(&self) -> bool {
        matches!(self, Self::Poisoned(_))
    }
}
