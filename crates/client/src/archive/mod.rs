//! Archives: what one device of an account gives another, and what a backup holds.
//!
//! Owns: the records and their encoding ([`records`]), how they are read out of the database ([`export`]) and
//! written into another one ([`import`]). Both uses share all of it; a backup adds the account itself.
//!
//! Invariants:
//! - A part holds whole records, so each is imported by itself, in one transaction.
//! - Importing is idempotent and never goes back: what is known here already stays, the lower stamp and the
//!   further state win. Nothing that was imported is told as an event.
//! - Never in an archive: ratchet state, prekeys, tokens, device secrets.
//!
//! Must not know: how parts are sealed or travel.

pub(crate) mod export;
pub(crate) mod groups;
pub(crate) mod import;
pub(crate) mod records;

/// The most plaintext in one part.
pub(crate) const PART_BYTES_MAX: usize = 1024 * 1024;

/// An archive is not what this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// Broken, or another account's.
    #[error("the archive is damaged")]
    Damaged,
    /// Written by a later version.
    #[error("the archive was written by a later version")]
    Newer,
}
