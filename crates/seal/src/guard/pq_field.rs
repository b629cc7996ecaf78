//! The strict reader of the post-quantum ratchet's field (SPQR, version 1).
//!
//! ```text
//! version      1 byte, 1
//! epoch        varint, at least 1
//! index        varint, at most 2^32 - 1
//! type         1 byte, 0 to 6
//! chunk index  varint, at most 65,535      } types 1, 2, 3, 5, 6
//! chunk        32 bytes                    }
//! ```
//! More bytes may follow, so that a later version can add to it.

/// What the field says, as far as the guard needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PqHeader {
    /// The epoch that the sender is in. The message's key belongs to the one before.
    pub epoch: u64,
    /// Position in that epoch's chain; 0: no key yet.
    pub index: u32,
}

/// The field would make the library panic, or does without the post-quantum ratchet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the post-quantum part of the message is not valid")]
pub struct PqRefused;

const VERSION: u8 = 1;
const CHUNK_INDEX_MAX: u64 = 65_535;
const CHUNK_BYTES: usize = 32;

/// Checks the field and reads its header. Any bytes may be given.
pub fn check_pq_field(field: &[u8]) -> Result<PqHeader, PqRefused> {
    read(field).ok_or(PqRefused)
}

fn read(field: &[u8]) -> Option<PqHeader> {
    let rest = field.strip_prefix(&[VERSION])?;
    let (epoch, rest) = varint(rest)?;
    let (index, rest) = varint(rest)?;
    let (kind, rest) = rest.split_first()?;
    match kind {
        0 | 4 => {}
        1 | 2 | 3 | 5 | 6 => check_chunk(rest)?,
        _ => return None,
    }
    if epoch == 0 { None } else { Some(PqHeader { epoch, index: u32::try_from(index).ok()? }) }
}

fn check_chunk(bytes: &[u8]) -> Option<()> {
    let (index, chunk) = varint(bytes)?;
    (index <= CHUNK_INDEX_MAX && chunk.len() >= CHUNK_BYTES).then_some(())
}

/// Seven bits a byte, least significant first; at most ten bytes, and nothing beyond 64 bits.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * at);
        if shifted >> (7 * at) != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}
