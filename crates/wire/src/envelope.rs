//! One sealed envelope: what the server stores in a mailbox and delivers as it was stored.

use crate::{Malformed, convert, proto::envelope as pb};
use bytes::Bytes;
use prost::Message as _;
use types::{DeviceAddress, EnvelopeId, GroupId, MailboxId, Stamp, limits};

/// One sealed envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The send that it belongs to.
    pub envelope_id: EnvelopeId,
    /// The sending device.
    pub from: DeviceAddress,
    /// The receiving device.
    pub to: MailboxId,
    /// Which protocol opens the ciphertext.
    pub kind: EnvelopeKind,
    /// What it may wake, and what is refused first under pressure.
    pub urgency: Urgency,
    /// When it was accepted.
    pub stamp: Stamp,
    /// At most [`limits::CIPHERTEXT_BYTES_MAX`].
    pub ciphertext: Bytes,
    /// Which group's sender key opens it.
    pub group: Option<GroupId>,
}

impl Envelope {
    /// The bytes that a mailbox stores.
    pub fn encode(&self) -> Bytes {
        pb::Envelope {
            envelope_id: convert::id(self.envelope_id.as_bytes()),
            from_account: convert::id(self.from.account.as_bytes()),
            from_device: self.from.device.get().into(),
            to_account: convert::id(self.to.account.as_bytes()),
            to_device: self.to.device.get().into(),
            to_registration: self.to.registration.get(),
            kind: self.kind as i32,
            urgency: self.urgency as i32,
            stamp: convert::stamp(self.stamp),
            ciphertext: self.ciphertext.clone(),
            group_id: self.group.map(|group| convert::id(group.as_bytes())).unwrap_or_default(),
        }
        .encode_to_vec()
        .into()
    }

    /// A ciphertext as the envelopes of many rows may end with it: what [`Envelope::encode`] gives without a
    /// ciphertext, and then these bytes, are one encoding of the whole, because the fields of protobuf may
    /// come in any order.
    pub fn encode_ciphertext(ciphertext: Bytes) -> Bytes {
        pb::Envelope { ciphertext, ..pb::Envelope::default() }.encode_to_vec().into()
    }

    /// Reads a stored or delivered envelope; the ciphertext shares `bytes`.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let envelope = pb::Envelope::decode(bytes).map_err(|_| Malformed::Protobuf)?;
        if envelope.ciphertext.len() > limits::CIPHERTEXT_BYTES_MAX {
            return Err(Malformed::TooLarge("ciphertext"));
        }
        Ok(Self {
            envelope_id: EnvelopeId::from_slice(&envelope.envelope_id)?,
            from: convert::read_address(&envelope.from_account, envelope.from_device)?,
            to: convert::read_mailbox(&envelope.to_account, envelope.to_device, envelope.to_registration)?,
            kind: EnvelopeKind::from_number(envelope.kind),
            urgency: Urgency::from_number(envelope.urgency).ok_or(Malformed::Field("urgency"))?,
            stamp: Stamp::from_slice(&envelope.stamp)?,
            ciphertext: envelope.ciphertext,
            group: convert::optional(&envelope.group_id, GroupId::from_slice)?,
        })
    }
}

/// Which protocol opens a ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvelopeKind {
    /// A kind that this version does not know; kept, not opened.
    Unknown = 0,
    /// Opens a session.
    Prekey = 1,
    /// A message of an open session.
    Ratchet = 2,
    /// A group message under a sender key.
    SenderKey = 3,
    /// A signed group operation.
    GroupOperation = 4,
    /// A signed device list.
    DeviceList = 5,
}

impl EnvelopeKind {
    /// From the number on the wire.
    pub const fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Prekey,
            2 => Self::Ratchet,
            3 => Self::SenderKey,
            4 => Self::GroupOperation,
            5 => Self::DeviceList,
            _ => Self::Unknown,
        }
    }
}

/// What an envelope may wake, and the order in which a server under pressure refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Calls; may wake a device.
    Urgent = 1,
    /// Messages; may wake with one content-free push.
    Normal = 2,
    /// Receipts, transcripts, key distribution, settings.
    Silent = 3,
    /// Typing; never stored.
    OnlineOnly = 4,
}

impl Urgency {
    /// From the number on the wire.
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Urgent),
            2 => Some(Self::Normal),
            3 => Some(Self::Silent),
            4 => Some(Self::OnlineOnly),
            _ => None,
        }
    }
}
