//! Archives: a stream of records in sealed parts, for history sync and for backups.
//!
//! ```text
//! sealed part = is_last (1 byte, 0 or 1) || sealed plaintext
//! bound to it = "waxwing archive v1" || archive id (16) || index (4, big-endian) || is_last (1)
//! ```
//! Every part is bound to its archive and to its place in it, and the last one says that it is. So what a
//! [`PartOpener`] gives is a beginning of what was sealed, in order, and with [`PartOpener::finish`] all of
//! it: parts that were cut off, left out, repeated, exchanged or taken from another archive do not open.

use crate::{ArchiveId, ArchiveKey, aead, padding};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The plaintext of one part, in bytes: small enough to be held in memory and sent again, large enough that
/// parts are few.
pub const PART_BYTES_MAX: usize = 1024 * 1024;
/// One sealed part, in bytes.
pub const SEALED_PART_BYTES_MAX: usize = 1 + padding::padded_length(PART_BYTES_MAX) + aead::OVERHEAD_BYTES;

const LABEL: &[u8] = b"waxwing archive v1";

/// Why a part was not sealed: a bug of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealPartError {
    /// Its plaintext is longer than [`PART_BYTES_MAX`].
    #[error("the part is too large")]
    TooLarge,
    /// The last part was sealed.
    #[error("the archive has ended")]
    Ended,
}

/// Why an archive was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The part is not the next one of this archive, under this key, as it was sealed.
    #[error("a part of the archive is damaged or in the wrong place")]
    Damaged,
    /// The last part is missing.
    #[error("the archive is cut off")]
    CutOff,
}

/// Seals the parts of one archive, one after the other.
#[derive(Clone, Debug)]
pub struct PartSealer {
    place: Place,
}

impl PartSealer {
    /// Begins an archive. The key is drawn for it and used for nothing else.
    pub const fn new(key: ArchiveKey, archive: ArchiveId) -> Self {
        Self::resume(key, archive, 0)
    }

    /// Goes on after `sealed` parts, none of which was the last one.
    pub const fn resume(key: ArchiveKey, archive: ArchiveId, sealed: u32) -> Self {
        Self { place: Place { key, archive, next: sealed, ended: false } }
    }

    /// How many parts were sealed.
    pub const fn sealed(&self) -> u32 {
        self.place.next
    }

    /// Seals the next part. The last one may be empty.
    pub fn seal(
        &mut self,
        plaintext: &[u8],
        is_last: bool,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, SealPartError> {
        if plaintext.len() > PART_BYTES_MAX {
            return Err(SealPartError::TooLarge);
        }
        if self.place.ended {
            return Err(SealPartError::Ended);
        }
        let sealed = aead::seal(self.place.key.as_bytes(), &self.place.bound(is_last), plaintext, rng);
        self.place.pass(is_last);
        Ok([&[u8::from(is_last)], sealed.as_slice()].concat())
    }
}

/// Opens the parts of one archive, one after the other.
#[derive(Clone, Debug)]
pub struct PartOpener {
    place: Place,
}

impl PartOpener {
    /// Begins with the first part.
    pub const fn new(key: ArchiveKey, archive: ArchiveId) -> Self {
        Self::resume(key, archive, 0)
    }

    /// Goes on after `opened` parts, none of which was the last one.
    pub const fn resume(key: ArchiveKey, archive: ArchiveId, opened: u32) -> Self {
        Self { place: Place { key, archive, next: opened, ended: false } }
    }

    /// How many parts were opened.
    pub const fn opened(&self) -> u32 {
        self.place.next
    }

    /// Opens the next part; a refused one changes nothing. Any bytes may be given.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
        if self.place.ended || sealed.len() > SEALED_PART_BYTES_MAX {
            return Err(ArchiveError::Damaged);
        }
        let (is_last, sealed) = match sealed.split_first() {
            Some((0, sealed)) => (false, sealed),
            Some((1, sealed)) => (true, sealed),
            _ => return Err(ArchiveError::Damaged),
        };
        let plaintext = aead::open(self.place.key.as_bytes(), &self.place.bound(is_last), sealed);
        let plaintext = plaintext.ok_or(ArchiveError::Damaged)?;
        self.place.pass(is_last);
        Ok(plaintext)
    }

    /// Whether the last part was opened: before that, the archive is cut off.
    pub const fn finish(&self) -> Result<(), ArchiveError> {
        if self.place.ended { Ok(()) } else { Err(ArchiveError::CutOff) }
    }
}

/// SHA-256 of a sealed part: by it the blob store and the receiver know the part.
pub fn digest(sealed: &[u8]) -> [u8; 32] {
    Sha256::digest(sealed).into()
}

/// How far an archive is.
#[derive(Clone, Debug)]
struct Place {
    key: ArchiveKey,
    archive: ArchiveId,
    next: u32,
    ended: bool,
}

impl Place {
    fn bound(&self, is_last: bool) -> Vec<u8> {
        [LABEL, self.archive.as_bytes(), &self.next.to_be_bytes(), &[u8::from(is_last)]].concat()
    }

    const fn pass(&mut self, is_last: bool) {
        // Four billion parts of a megabyte are more than any disk holds.
        self.next = self.next.saturating_add(1);
        self.ended = is_last;
    }
}
