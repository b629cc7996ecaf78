//! Proof of possession at connect: the device key signs what this one connection is, so that a stolen
//! token alone opens nothing and a proof made for one server, device or connection opens no other.

use crate::{DeviceKey, DeviceSecret, Signature, label::Label};
use types::{AccountId, DeviceNumber};

/// The protocol's name, part of every session proof.
pub const PROTOCOL: &str = "waxwing";

/// An origin (`scheme://host[:port]`) in a session proof, in bytes: a host name has at most 253.
pub const ORIGIN_BYTES_MAX: usize = 256;

/// What a device signs to open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionProof<'a> {
    /// The protocol version chosen from the server's range.
    pub version: u32,
    /// The origin that the client dialled; at most [`ORIGIN_BYTES_MAX`] bytes.
    pub origin: &'a str,
    /// The account that connects.
    pub account: AccountId,
    /// Its device.
    pub device: DeviceNumber,
    /// Greater than the number of every connection before it.
    pub connection_number: u64,
    /// The server's challenge for this connection.
    pub nonce: [u8; 32],
}

impl SessionProof<'_> {
    /// Signs the proof with the device's key.
    pub fn sign(&self, secret: &DeviceSecret) -> Signature {
        secret.sign(Label::Session, &self.to_bytes())
    }

    /// Whether `signature` is the device's, over exactly this proof.
    pub fn verify(&self, key: &DeviceKey, signature: &Signature) -> bool {
        self.origin.len() <= ORIGIN_BYTES_MAX && key.verify(Label::Session, &self.to_bytes(), signature)
    }

    /// The bytes that are signed after the label: the name (one length byte first), the version
    /// (4 bytes), the origin (two length bytes first), the account (16), the device (1), the
    /// connection number (8), the nonce (32). Integers are big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A longer origin is never verified, and a saturated length keeps the encoding injective below the limit.
        let origin_length = u16::try_from(self.origin.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(64 + PROTOCOL.len() + self.origin.len());
        bytes.push(PROTOCOL.len() as u8);
        bytes.extend_from_slice(PROTOCOL.as_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&origin_length.to_be_bytes());
        bytes.extend_from_slice(self.origin.as_bytes());
        bytes.extend_from_slice(self.account.as_bytes());
        bytes.push(self.device.get());
        bytes.extend_from_slice(&self.connection_number.to_be_bytes());
        bytes.extend_from_slice(&self.nonce);
        bytes
    }
}
