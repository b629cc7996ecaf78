//! The names of an account's devices, which its device list carries sealed: the account's own devices read
//! them, peers and servers do not.

use crate::proto::link as proto;
use crate::{SyncKey, aead};
use prost::Message;
use rand_core::CryptoRng;
use std::fmt;
use std::str::FromStr;
use types::{AccountId, DeviceNumber, Invalid, Timestamp, limits};
use zeroize::Zeroizing;

/// A device's name, in characters (Unicode scalar values).
pub const DEVICE_NAME_CHARS_MAX: usize = 64;

/// Separates this use of the sync key from every other.
const LABEL: &[u8] = b"waxwing device names v1";

/// What a person calls a device: 1 to 64 characters, none of which moves a cursor or turns the writing
/// direction, since it is shown in terminals beside a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName(String);

impl DeviceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceName {
    type Err = Invalid;

    /// Reads a name; white space around it is dropped.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = text.trim();
        let length = name.chars().count();
        let valid = (1..=DEVICE_NAME_CHARS_MAX).contains(&length) && !name.contains(is_invisible);
        if valid { Ok(Self(name.to_owned())) } else { Err(Invalid { what: "device name" }) }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Control characters, line and paragraph separators, and the marks that turn the writing direction
/// (Unicode Standard Annex 9).
pub(crate) const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// One named device of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedDevice {
    /// Which one.
    pub device: DeviceNumber,
    /// Its name.
    pub name: DeviceName,
    /// When it was linked, by the primary's clock.
    pub added_at: Timestamp,
}

/// The names cannot be sealed, or do not open: too many, another key, another account, or damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device names are not valid")]
pub struct NamesInvalid;

/// Seals the names of an account's devices, at most five of them, for
/// [`sealed_names`](signed::DeviceListDraft::sealed_names), where they fit.
pub fn seal(
    key: &SyncKey,
    account: AccountId,
    names: &[NamedDevice],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<u8>, NamesInvalid> {
    if names.len() > limits::DEVICES_MAX {
        return Err(NamesInvalid);
    }
    let names = names.iter().map(|named| proto::DeviceName {
        number: named.device.get().into(),
        name: named.name.0.clone(),
        added_at_ms: named.added_at.as_millis(),
    });
    let body = proto::DeviceNames { names: names.collect() }.encode_to_vec();
    Ok(aead::seal(&names_key(key), account.as_bytes(), &body, rng))
}

/// Opens what [`seal`] gave to a device of the same account. Any bytes may be given.
pub fn open(key: &SyncKey, account: AccountId, sealed: &[u8]) -> Result<Vec<NamedDevice>, NamesInvalid> {
    if sealed.len() > signed::SEALED_NAMES_BYTES_MAX {
        return Err(NamesInvalid);
    }
    let body = aead::open(&names_key(key), account.as_bytes(), sealed).ok_or(NamesInvalid)?;
    let names = proto::DeviceNames::decode(body.as_slice()).map_err(|_| NamesInvalid)?.names;
    if names.len() > limits::DEVICES_MAX {
        return Err(NamesInvalid);
    }
    names.iter().map(|named| read_name(named).map_err(|_| NamesInvalid)).collect()
}

fn read_name(named: &proto::DeviceName) -> Result<NamedDevice, Invalid> {
    Ok(NamedDevice {
        device: DeviceNumber::new(named.number)?,
        name: named.name.parse()?,
        added_at: Timestamp::from_millis(named.added_at_ms),
    })
}

fn names_key(key: &SyncKey) -> Zeroizing<[u8; 32]> {
    aead::derive(key.as_bytes(), LABEL)
}
