//! Sixteen-byte identifiers, one type for each kind, so that none can stand where another is meant.

use crate::{Invalid, hex_text};
use rand_core::RngCore;
use std::{fmt, str::FromStr};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// Text form: 32 lower-case hexadecimal digits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        id_bytes!($name, $what);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex_text::write(f, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                hex_text::read(text).map(Self).ok_or(Invalid { what: $what })
            }
        }
    };
}

macro_rules! id_bytes {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Wraps sixteen bytes; every value is a possible id.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Reads an id from a byte string of exactly sixteen bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
                bytes.try_into().map(Self).map_err(|_| Invalid { what: $what })
            }

            /// The sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

macro_rules! random_id {
    ($name:ident) => {
        impl $name {
            /// Draws a new random id.
            pub fn random(rng: &mut (impl RngCore + ?Sized)) -> Self {
                let mut bytes = [0; 16];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }
        }
    };
}

hex_id! {
    /// An account: the first 16 bytes of SHA-256 of its account key (Ed25519 public key).
    /// `signed::account_id` derives it; every party checks it.
    AccountId, "account id"
}

hex_id! {
    /// A group: the first 16 bytes of SHA-256 of its signed `create` operation.
    GroupId, "group id"
}

hex_id! {
    /// One conversation as the sealed content names it. For a direct conversation it is derived
    /// from the two sorted account ids (`signed::direct_conversation`); for a group it is the group id.
    ConversationId, "conversation id"
}

hex_id! {
    /// One send as the server sees it. Random, and never the message id inside the seal.
    EnvelopeId, "envelope id"
}
random_id!(EnvelopeId);

hex_id! {
    /// One life of a server's data: new after a restore from backup.
    IncarnationId, "incarnation id"
}
random_id!(IncarnationId);

hex_id! {
    /// One attempt to link a device: drawn by the new device, shown in its code, secret from everybody
    /// who has not seen the code.
    LinkId, "link id"
}
random_id!(LinkId);

hex_id! {
    /// One stored blob: sealed bytes that are too large for a message.
    BlobId, "blob id"
}
random_id!(BlobId);

/// Where people talk: with one other account, or in a group. Chats with accounts sort before groups.
///
/// Text form: that of the id inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChatId {
    /// With this other account.
    Direct(AccountId),
    /// In this group.
    Group(GroupId),
}

impl ChatId {
    /// The sixteen bytes of the id inside. Both kinds are hashes, so no two chats have the same.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        match self {
            Self::Direct(account) => account.as_bytes(),
            Self::Group(group) => group.as_bytes(),
        }
    }

    /// The other account of a direct chat.
    pub const fn account(self) -> Option<AccountId> {
        match self {
            Self::Direct(account) => Some(account),
            Self::Group(_) => None,
        }
    }

    /// The group.
    pub const fn group(self) -> Option<GroupId> {
        match self {
            Self::Direct(_) => None,
            Self::Group(group) => Some(group),
        }
    }
}

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_text::write(f, self.as_bytes())
    }
}

impl From<AccountId> for ChatId {
    fn from(account: AccountId) -> Self {
        Self::Direct(account)
    }
}

impl From<GroupId> for ChatId {
    fn from(group: GroupId) -> Self {
        Self::Group(group)
    }
}

/// One message as people see it: a UUID (version 7 when Waxwing makes it).
///
/// Text form: the usual 36 characters in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

id_bytes!(MessageId, "message id");

impl MessageId {
    /// A version 7 UUID (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits.
    pub fn new(now: crate::Timestamp, rng: &mut (impl RngCore + ?Sized)) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        bytes[6] = 0x70 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        Self(bytes)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
            if index > 0 {
                f.write_str("-")?;
            }
            hex_text::write(f, &self.0[range])?;
        }
        Ok(())
    }
}

impl FromStr for MessageId {
    type Err = Invalid;

    /// Reads the hyphenated form of any UUID version.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = Invalid { what: "message id (a UUID)" };
        let hyphens_in_place = text.len() == 36
            && text.char_indices().all(|(at, c)| (c == '-') == matches!(at, 8 | 13 | 18 | 23));
        if !hyphens_in_place {
            return Err(invalid);
        }
        hex_text::read(&text.replace('-', "")).map(Self).ok_or(invalid)
    }
}

/// A server node, unique within a service; part of every stamp that the node gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);
