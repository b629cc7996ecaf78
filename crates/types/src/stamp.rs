//! Stamps order what people see; positions order what a mailbox delivers.

use crate::{Invalid, NodeId, Timestamp, hex_text};
use std::{fmt, str::FromStr};

/// When a message was accepted, as every member of a conversation sorts it: a hybrid logical
/// clock (48 bits of milliseconds since 1970, 16 bits of counter) and the id of the accepting node.
///
/// Text form: 20 lower-case hexadecimal digits whose text order is the stamp's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    clock: u64,
    node: NodeId,
}

impl Stamp {
    /// Before every stamp that a node gives.
    pub const ZERO: Self = Self { clock: 0, node: NodeId(0) };

    /// Puts a stamp together from the hybrid clock (milliseconds << 16 | counter) and the node.
    pub const fn new(clock: u64, node: NodeId) -> Self {
        Self { clock, node }
    }

    /// The hybrid clock: milliseconds << 16 | counter.
    pub const fn clock(self) -> u64 {
        self.clock
    }

    /// The node that gave this stamp.
    pub const fn node(self) -> NodeId {
        self.node
    }

    /// The wall-clock part.
    pub const fn time(self) -> Timestamp {
        Timestamp::from_millis(self.clock >> 16)
    }

    /// Ten bytes, big-endian, in the stamp's order.
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.clock.to_be_bytes());
        bytes[8..].copy_from_slice(&self.node.0.to_be_bytes());
        bytes
    }

    /// Reads what [`Stamp::to_bytes`] wrote.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        let bytes: [u8; 10] = bytes.try_into().map_err(|_| Invalid { what: "stamp" })?;
        let [a, b, c, d, e, f, g, h, i, j] = bytes;
        Ok(Self {
            clock: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            node: NodeId(u16::from_be_bytes([i, j])),
        })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_text::write(f, &self.to_bytes())
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamp({self})")
    }
}

impl FromStr for Stamp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bytes: [u8; 10] = hex_text::read(text).ok_or(Invalid { what: "stamp" })?;
        Self::from_slice(&bytes)
    }
}

/// Where a row stands in its mailbox: given by the store when the row is written, ordered,
/// opaque outside the adapter. Never [`Position::ZERO`], which stands before every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u128);

impl Position {
    /// Before every row.
    pub const ZERO: Self = Self(0);

    /// Wraps a store's number.
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }

    /// The store's number.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}
