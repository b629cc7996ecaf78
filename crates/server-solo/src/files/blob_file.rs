//! One blob as one file: a header that proves itself, then the bytes, which the header proves.
//!
//! ```text
//! 0   "WXBLOB1\n"
//! 8   expires_at    u64, milliseconds
//! 16  size          u64, of the bytes below
//! 24  sha256        32 bytes, of the bytes below
//! 56  check         the first 8 bytes of SHA-256 of everything above
//! 64  the bytes
//! ```
//!
//! Numbers are little-endian. A file that is not exactly this is no blob, whatever made it so.

use bytes::Bytes;
use server_ports::blobs::BlobStat;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use types::Timestamp;

/// Bytes before the blob's own.
pub(super) const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"WXBLOB1\n";
/// Header bytes that the check covers.
const CHECKED: usize = 56;

/// Writes a whole file.
pub(super) fn write(mut file: impl Write, stat: &BlobStat, bytes: &[u8]) -> io::Result<()> {
    file.write_all(&header(stat))?;
    file.write_all(bytes)
}

fn header(stat: &BlobStat) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&stat.expires_at.as_millis().to_le_bytes());
    header[16..24].copy_from_slice(&stat.size.to_le_bytes());
    header[24..CHECKED].copy_from_slice(&stat.sha256);
    let check = check(&header);
    header[CHECKED..].copy_from_slice(&check);
    header
}

fn check(header: &[u8; HEADER_BYTES]) -> [u8; HEADER_BYTES - CHECKED] {
    let digest = Sha256::digest(&header[..CHECKED]);
    let mut check = [0; HEADER_BYTES - CHECKED];
    check.copy_from_slice(&digest[..HEADER_BYTES - CHECKED]);
    check
}

/// Reads the header of a file of this length; `None` if it is no blob's, or the length is not the one
/// that it names.
pub(super) fn read_stat(mut file: impl Read, length: u64) -> io::Result<Option<BlobStat>> {
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(parse(&header).filter(|stat| stat.size.checked_add(HEADER_BYTES as u64) == Some(length)))
}

fn parse(header: &[u8; HEADER_BYTES]) -> Option<BlobStat> {
    let (magic, rest) = header.split_first_chunk::<8>()?;
    let (expires_at, rest) = rest.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (sha256, found) = rest.split_first_chunk::<32>()?;
    let stat = BlobStat {
        size: u64::from_le_bytes(*size),
        sha256: *sha256,
        expires_at: Timestamp::from_millis(u64::from_le_bytes(*expires_at)),
    };
    (magic == MAGIC && *found == check(header)).then_some(stat)
}

/// Reads a whole file of this length; `None` unless it is a blob to its last byte.
pub(super) fn read(mut file: impl Read, length: u64) -> io::Result<Option<(BlobStat, Bytes)>> {
    let Some(stat) = read_stat(&mut file, length)? else { return Ok(None) };
    // The length is the file's own, so what is reserved here is what is there to be read.
    let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
    file.take(stat.size).read_to_end(&mut bytes)?;
    let whole = bytes.len() as u64 == stat.size && Sha256::digest(&bytes)[..] == stat.sha256;
    Ok(whole.then(|| (stat, bytes.into())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (BlobStat, Vec<u8>) {
        let stat = BlobStat {
            size: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
            expires_at: Timestamp::from_millis(1_767_225_600_000),
        };
        let mut file = Vec::new();
        write(&mut file, &stat, bytes).unwrap();
        (stat, file)
    }

    fn read_back(file: &[u8]) -> Option<(BlobStat, Bytes)> {
        read(file, file.len() as u64).unwrap()
    }

    #[test]
    fn a_file_reads_as_it_was_written() {
        for content in [&b""[..], b"x", &[7; 10_000]] {
            let (stat, file) = file(content);
            assert_eq!(read_stat(&file[..], file.len() as u64).unwrap(), Some(stat));
            assert_eq!(read_back(&file), Some((stat, Bytes::copy_from_slice(content))));
        }
    }

    #[test]
    fn every_prefix_and_every_longer_file_is_no_blob() {
        let (_, mut file) = file(b"some bytes that matter");
        for length in 0..file.len() {
            assert_eq!(read_back(&file[..length]), None, "cut at {length}");
        }
        file.push(0);
        assert_eq!(read_back(&file), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (_, file) = file(b"some bytes that matter");
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_back(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_that_promises_more_than_there_is_reserves_nothing() {
        let (stat, _) = file(b"");
        let mut huge = Vec::new();
        write(&mut huge, &BlobStat { size: u64::MAX, ..stat }, b"").unwrap();
        assert_eq!(read_back(&huge), None);
    }
}
