//! Reads a message as strictly as possible before the library sees it.
//!
//! ```text
//! ratchet message = 0x44 || protobuf(ratchet_key, counter, previous_counter, ciphertext, pq_ratchet) || MAC (8 bytes)
//! prekey message  = 0x44 || protobuf(one_time, base_key, identity, ratchet message, registration, signed, kem, kem ciphertext)
//! ```
//! 0x44: version 4 (with post-quantum opening), twice. Only the ratchet message is under the MAC, so the
//! rest must be in the one form that an honest encoder gives it.

use crate::guard::{PqHeader, check_pq_field, check_public_key};
use crate::{DecryptFailure, SealKind};
use prost::Message;
use signed::IdentityKey;
use types::limits::CIPHERTEXT_BYTES_MAX;

/// How far a message may stand ahead of what was received, on each of the two ratchets. Signal's 25,000
/// would cost a forger nothing and us 50,000 hash steps; a sender stops at 2,000 by itself.
pub const FORWARD_MAX: u32 = 2_000;

/// What a ratchet message says in clear, after all its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// The sender's ratchet key, type byte first.
    pub ratchet_key: [u8; 33],
    /// Position in the chain of that key.
    pub counter: u32,
    /// Where the sender stands on the post-quantum ratchet.
    pub pq: PqHeader,
    /// Present in a message that opens a session.
    pub prekey: Option<PrekeyHeader>,
}

impl MessageHeader {
    /// Refuses a weak ratchet key. An agreement's worth of work, so only for a key that is new to a session.
    pub(crate) fn check_ratchet_key(&self) -> Result<(), DecryptFailure> {
        check_public_key(&self.ratchet_key).map_err(|_| DecryptFailure::GuardRefused)
    }
}

/// What a message that opens a session says in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrekeyHeader {
    /// The sender's registration id, as it says.
    pub registration: u32,
    /// Our one-time prekey, if one was used.
    pub one_time: Option<u32>,
    /// Our signed prekey.
    pub signed: u32,
    /// Our post-quantum prekey.
    pub kem: u32,
    /// Names the session, type byte first.
    pub base_key: [u8; 33],
    /// The sender's identity, as it says.
    pub identity: IdentityKey,
}

#[derive(Clone, PartialEq, Message)]
struct RatchetWire {
    #[prost(bytes = "vec", optional, tag = "1")]
    ratchet_key: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    counter: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    previous_counter: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    ciphertext: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pq_ratchet: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct PrekeyWire {
    #[prost(uint32, optional, tag = "1")]
    one_time: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    base_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    identity: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    message: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    registration: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    signed: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    kem: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "8")]
    kem_ciphertext: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct SenderKeyWire {
    #[prost(bytes = "vec", optional, tag = "1")]
    distribution: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    chain: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    iteration: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    ciphertext: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct DistributionWire {
    #[prost(bytes = "vec", optional, tag = "1")]
    distribution: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "2")]
    chain: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    iteration: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    chain_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    signing_key: Option<Vec<u8>>,
}

/// The version of sender keys, twice.
const SENDER_KEY_VERSION: u8 = 0x33;
const SIGNATURE_BYTES: usize = 64;
const MAC_BYTES: usize = 8;
/// A type byte, then the ciphertext of Kyber-1024.
const KEM_CIPHERTEXT_BYTES: usize = 1 + 1_568;

/// Checks everything about a message that can be checked without a key, except the ratchet key of a message
/// that does not open a session: that one is checked when no session knows it. Any bytes may be given.
pub fn inspect(kind: SealKind, bytes: &[u8]) -> Result<MessageHeader, DecryptFailure> {
    if bytes.len() > CIPHERTEXT_BYTES_MAX {
        return Err(DecryptFailure::Malformed);
    }
    match kind {
        SealKind::Prekey => inspect_prekey(bytes),
        SealKind::Ratchet => inspect_ratchet(bytes),
        SealKind::SenderKey => Err(DecryptFailure::Malformed),
    }
}

/// What a group message says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderKeyHeader {
    /// The group whose sender key it is.
    pub group: [u8; 16],
    /// Names the sender key among those of its device.
    pub chain: u32,
    /// Position in its chain.
    pub iteration: u32,
}

/// Checks everything about a group message that can be checked without a key. Any bytes may be given.
pub fn inspect_sender_key(bytes: &[u8]) -> Result<SenderKeyHeader, DecryptFailure> {
    let fields = bytes.strip_prefix(&[SENDER_KEY_VERSION]).ok_or(DecryptFailure::Malformed)?;
    if bytes.len() > CIPHERTEXT_BYTES_MAX {
        return Err(DecryptFailure::Malformed);
    }
    let wire: SenderKeyWire = canonical(without_last(fields, SIGNATURE_BYTES)?)?;
    required(wire.ciphertext)?;
    Ok(SenderKeyHeader {
        group: fixed(wire.distribution)?,
        chain: required(wire.chain)?,
        iteration: required(wire.iteration)?,
    })
}

/// Checks the form of a sender key that is distributed. Any bytes may be given.
pub fn inspect_distribution(bytes: &[u8]) -> Result<(), DecryptFailure> {
    let fields = bytes.strip_prefix(&[SENDER_KEY_VERSION]).ok_or(DecryptFailure::Malformed)?;
    let wire: DistributionWire = canonical(fields)?;
    fixed::<16>(wire.distribution)?;
    fixed::<32>(wire.chain_key)?;
    strong_key(wire.signing_key)?;
    required(wire.chain)?;
    required(wire.iteration)?;
    Ok(())
}

fn inspect_prekey(bytes: &[u8]) -> Result<MessageHeader, DecryptFailure> {
    let wire: PrekeyWire = canonical(current_version(bytes)?)?;
    let kem_ciphertext = required(wire.kem_ciphertext)?;
    if kem_ciphertext.len() != KEM_CIPHERTEXT_BYTES {
        return Err(DecryptFailure::Malformed);
    }
    let identity = strong_key(wire.identity)?;
    let prekey = PrekeyHeader {
        registration: required(wire.registration)?,
        one_time: wire.one_time,
        signed: required(wire.signed)?,
        kem: required(wire.kem)?,
        base_key: strong_key(wire.base_key)?,
        identity: IdentityKey::from_slice(&identity).map_err(|_| DecryptFailure::Malformed)?,
    };
    let header = inspect_ratchet(&required(wire.message)?)?;
    header.check_ratchet_key()?;
    if header.counter > FORWARD_MAX || header.pq.index > FORWARD_MAX {
        return Err(DecryptFailure::TooFarAhead);
    }
    Ok(MessageHeader { prekey: Some(prekey), ..header })
}

fn inspect_ratchet(bytes: &[u8]) -> Result<MessageHeader, DecryptFailure> {
    let fields = without_last(current_version(bytes)?, MAC_BYTES)?;
    let wire: RatchetWire = canonical(fields)?;
    let ratchet_key = fixed(wire.ratchet_key)?;
    let counter = required(wire.counter)?;
    required(wire.previous_counter)?;
    required(wire.ciphertext)?;
    let pq =
        check_pq_field(&wire.pq_ratchet.unwrap_or_default()).map_err(|_| DecryptFailure::GuardRefused)?;
    Ok(MessageHeader { ratchet_key, counter, pq, prekey: None })
}

fn current_version(bytes: &[u8]) -> Result<&[u8], DecryptFailure> {
    match bytes.split_first() {
        Some((0x44, fields)) => Ok(fields),
        // The high half is the message's version, the low half the newest one that the sender knows.
        Some((version, _)) if version >> 4 > 4 => Err(DecryptFailure::Unsupported),
        Some((version, _)) if version >> 4 == 3 => Err(DecryptFailure::GuardRefused),
        _ => Err(DecryptFailure::Malformed),
    }
}

/// Decodes, and refuses what an honest encoder writes differently: repeated and unordered fields, long varints.
/// Fields of a later version may follow the known ones, as that encoder would write them.
fn canonical<Wire: Message + Default>(bytes: &[u8]) -> Result<Wire, DecryptFailure> {
    let wire = Wire::decode(bytes).map_err(|_| DecryptFailure::Malformed)?;
    if bytes.starts_with(&wire.encode_to_vec()) { Ok(wire) } else { Err(DecryptFailure::Malformed) }
}

fn required<T>(field: Option<T>) -> Result<T, DecryptFailure> {
    field.ok_or(DecryptFailure::Malformed)
}

fn fixed<const N: usize>(field: Option<Vec<u8>>) -> Result<[u8; N], DecryptFailure> {
    required(field)?.try_into().map_err(|_| DecryptFailure::Malformed)
}

/// The fields without the MAC or signature that ends the message.
fn without_last(bytes: &[u8], length: usize) -> Result<&[u8], DecryptFailure> {
    let end = bytes.len().checked_sub(length).ok_or(DecryptFailure::Malformed)?;
    bytes.get(..end).ok_or(DecryptFailure::Malformed)
}

fn strong_key(field: Option<Vec<u8>>) -> Result<[u8; 33], DecryptFailure> {
    let key = fixed(field)?;
    check_public_key(&key).map_err(|_| DecryptFailure::GuardRefused)?;
    Ok(key)
}
