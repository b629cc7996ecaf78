//! What a group's members call it: sealed with the group's secret, so that the server, which orders the chain
//! that carries it, cannot read it.
//!
//! It is not bound to the group's id, which does not exist before the operation that carries it: the secret
//! belongs to one group, and the operation is signed.

use crate::proto::content as proto;
use crate::{GroupSecret, aead, names};
use prost::Message;
use rand_core::CryptoRng;
use types::Invalid;

/// A group's name, in characters (Unicode scalar values).
pub const GROUP_NAME_CHARS_MAX: usize = 100;
/// A group's description, in bytes of UTF-8.
pub const GROUP_DESCRIPTION_BYTES_MAX: usize = 2_048;

/// Separates this use of the group's secret from every other.
const LABEL: &[u8] = b"waxwing group info v1";

/// Name and description of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    name: String,
    description: String,
}

impl GroupInfo {
    /// The name is one line of 1 to 100 characters, none of which moves a cursor or turns the writing direction;
    /// white space around it is dropped. The description may have lines, and be empty.
    pub fn new(name: &str, description: &str) -> Result<Self, Invalid> {
        let name = name.trim();
        let length = name.chars().count();
        if !(1..=GROUP_NAME_CHARS_MAX).contains(&length) || name.contains(names::is_invisible) {
            return Err(Invalid { what: "group name" });
        }
        if description.len() > GROUP_DESCRIPTION_BYTES_MAX {
            return Err(Invalid { what: "group description" });
        }
        Ok(Self { name: name.to_owned(), description: description.to_owned() })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The description; empty if there is none.
    pub fn description(&self) -> &str {
        &self.description
    }
}

/// The info does not open: another group's secret, or damage, or a name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the group's info is not valid")]
pub struct InfoInvalid;

/// Seals the info for an operation of the group's chain, in which it fits.
pub fn seal(secret: &GroupSecret, info: &GroupInfo, rng: &mut (impl CryptoRng + ?Sized)) -> Vec<u8> {
    let body = proto::GroupInfo { name: info.name.clone(), description: info.description.clone() };
    aead::seal(&aead::derive(secret.as_bytes(), LABEL), &[], &body.encode_to_vec(), rng)
}

/// Opens what [`seal`] gave. Any bytes may be given.
pub fn open(secret: &GroupSecret, sealed: &[u8]) -> Result<GroupInfo, InfoInvalid> {
    let body = aead::open(&aead::derive(secret.as_bytes(), LABEL), &[], sealed).ok_or(InfoInvalid)?;
    let body = proto::GroupInfo::decode(body.as_slice()).map_err(|_| InfoInvalid)?;
    GroupInfo::new(&body.name, &body.description).map_err(|_| InfoInvalid)
}
