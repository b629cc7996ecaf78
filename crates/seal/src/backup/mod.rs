//! The backup file: an archive under a recovery key.
//!
//! ```text
//! file   = header || (length of the sealed part (4 bytes, big-endian) || sealed part)...
//! header = "waxwing backup v1\n" || archive id (16) || salt (32) || key check (16) || checksum (16)
//!
//! key check = HKDF-SHA256(salt, digits of the recovery key, "waxwing backup v1 check" || archive id)
//! part key  = HKDF-SHA256(salt, digits of the recovery key, "waxwing backup v1 parts" || archive id)
//! checksum  = SHA-256(everything before it)[..16]
//! ```
//! Damage and a wrong key are told apart: the checksum shows damage of the header without any key, the key
//! check shows another key, and whatever does not open after that is damage. The parts are those of
//! [`crate::archive`], so that nothing of a file can be cut off, moved or taken from another file.
//!
//! The key has 212 random bits, so it is not stretched.

mod recovery_key;

pub use recovery_key::RecoveryKey;

use crate::archive::{PartOpener, PartSealer, SealPartError};
use crate::{ArchiveId, ArchiveKey};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Begins every backup; its number is the version of the whole form.
const MAGIC: &[u8] = b"waxwing backup v1\n";
/// Begins every backup of whatever version.
const MAGIC_OF_ANY_VERSION: &[u8] = b"waxwing backup v";
const LABEL_CHECK: &[u8] = b"waxwing backup v1 check";
const LABEL_PARTS: &[u8] = b"waxwing backup v1 parts";

/// The header of a backup, in bytes.
pub const HEADER_BYTES: usize = MAGIC.len() + 16 + 32 + 16 + 16;

/// Why a backup was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It is no backup, or not as it was written.
    #[error("the backup is damaged")]
    Damaged,
    /// It is whole as far as can be seen, and was made with another recovery key.
    #[error("the recovery key is wrong")]
    WrongKey,
    /// A later version of this program made it.
    #[error("the backup was made by a later version")]
    Newer,
}

/// Writes a backup, part by part.
#[derive(Clone, Debug)]
pub struct BackupWriter {
    sealer: PartSealer,
}

impl BackupWriter {
    /// Begins a backup: gives the writer and the header, with which the file begins.
    pub fn begin(key: &RecoveryKey, rng: &mut (impl CryptoRng + ?Sized)) -> (Self, [u8; HEADER_BYTES]) {
        let archive = ArchiveId::random(rng);
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let keys = Keys::derive(key, &archive, &salt);
        let header = Header { archive, salt, check: keys.check };
        (Self { sealer: PartSealer::new(keys.parts, archive) }, header.write())
    }

    /// Seals the next part, at most [`crate::archive::PART_BYTES_MAX`] long: what comes next in the file. The last
    /// one may be empty.
    pub fn write(
        &mut self,
        plaintext: &[u8],
        is_last: bool,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, SealPartError> {
        let sealed = self.sealer.seal(plaintext, is_last, rng)?;
        let length = u32::try_from(sealed.len()).expect("a sealed part is about a megabyte");
        Ok([length.to_be_bytes().as_slice(), &sealed].concat())
    }
}

/// Reads a backup, part by part.
#[derive(Clone, Debug)]
pub struct BackupReader<'a> {
    opener: PartOpener,
    rest: &'a [u8],
}

impl<'a> BackupReader<'a> {
    /// Begins with a whole file. Any bytes may be given.
    pub fn open(key: &RecoveryKey, file: &'a [u8]) -> Result<Self, BackupError> {
        let (header, rest) = Header::read(file)?;
        let keys = Keys::derive(key, &header.archive, &header.salt);
        if !bool::from(keys.check.ct_eq(&header.check)) {
            return Err(BackupError::WrongKey);
        }
        Ok(Self { opener: PartOpener::new(keys.parts, header.archive), rest })
    }

    /// The next part; `None` after the last one, when the file has ended as it was written. What was read before
    /// an error is authentic, but not all.
    pub fn next_part(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, BackupError> {
        if self.opener.finish().is_ok() {
            return if self.rest.is_empty() { Ok(None) } else { Err(BackupError::Damaged) };
        }
        let (part, rest) = split_part(self.rest).ok_or(BackupError::Damaged)?;
        let plaintext = self.opener.open(part).map_err(|_| BackupError::Damaged)?;
        self.rest = rest;
        Ok(Some(plaintext))
    }
}

fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)
}

struct Header {
    archive: ArchiveId,
    salt: [u8; 32],
    check: [u8; 16],
}

impl Header {
    fn write(&self) -> [u8; HEADER_BYTES] {
        let fields = [MAGIC, self.archive.as_bytes(), &self.salt, &self.check].concat();
        let header = [fields.as_slice(), &checksum(&fields)].concat();
        header.try_into().expect("its fields have fixed lengths")
    }

    fn read(file: &[u8]) -> Result<(Self, &[u8]), BackupError> {
        if is_of_another_version(file) {
            return Err(BackupError::Newer);
        }
        Self::split(file).ok_or(BackupError::Damaged)
    }

    fn split(file: &[u8]) -> Option<(Self, &[u8])> {
        let (header, rest) = file.split_first_chunk::<HEADER_BYTES>()?;
        let (fields, sum) = header.split_last_chunk::<16>()?;
        if checksum(fields) != *sum {
            return None;
        }
        let fields = fields.strip_prefix(MAGIC)?;
        let (archive, fields) = fields.split_first_chunk::<16>()?;
        let (salt, check) = fields.split_first_chunk::<32>()?;
        let archive = ArchiveId::from_bytes(*archive);
        Some((Self { archive, salt: *salt, check: check.try_into().ok()? }, rest))
    }
}

/// A number in the magic that is not ours.
fn is_of_another_version(file: &[u8]) -> bool {
    let Some(rest) = file.strip_prefix(MAGIC_OF_ANY_VERSION) else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ends = rest.get(digits) == Some(&b'\n');
    ends && digits > 0 && !file.starts_with(MAGIC)
}

fn checksum(fields: &[u8]) -> [u8; 16] {
    let sum = Sha256::digest(fields);
    std::array::from_fn(|at| sum[at])
}

/// What a recovery key gives for one file.
struct Keys {
    check: [u8; 16],
    parts: ArchiveKey,
}

impl Keys {
    fn derive(key: &RecoveryKey, archive: &ArchiveId, salt: &[u8; 32]) -> Self {
        let keys = Hkdf::<Sha256>::new(Some(salt), key.as_bytes());
        let mut check = [0; 16];
        keys.expand_multi_info(&[LABEL_CHECK, archive.as_bytes()], &mut check)
            .expect("16 bytes are less than HKDF can give");
        let mut parts = Zeroizing::new([0; 32]);
        keys.expand_multi_info(&[LABEL_PARTS, archive.as_bytes()], parts.as_mut())
            .expect("32 bytes are less than HKDF can give");
        Self { check, parts: ArchiveKey::from_slice(parts.as_slice()).expect("they are 32") }
    }
}
