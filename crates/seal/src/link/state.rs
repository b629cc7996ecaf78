//! How the two sides keep a link between two steps: private to this crate and to one device's disk.

use super::digits::{Digits, Nonce};
use super::keys::LinkKeys;
use super::{Invitation, LinkError};
use prost::Message;
use signed::LinkOffer;
use types::{Invalid, LinkId};
use zeroize::{Zeroize, Zeroizing};

/// All that a link may have to remember; what a state does not use is empty. Wiped on drop.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Kept {
    #[prost(uint32, tag = "1")]
    pub(super) state: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) link: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) offer: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) secret: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) ephemeral: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) keys: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) invitation: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) message: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) nonce: Vec<u8>,
    #[prost(uint32, tag = "10")]
    pub(super) digits: u32,
}

/// Which state it is; the number is kept.
#[derive(Clone, Copy)]
pub(super) enum State {
    NewDevice = 1,
    InvitedDevice = 2,
    Primary = 3,
}

impl Kept {
    pub(super) fn read(bytes: &[u8], state: State) -> Option<Self> {
        Self::decode(bytes).ok().filter(|kept| kept.state == state as u32)
    }

    /// Begins the form of a state; its other fields are the caller's to fill in.
    pub(super) fn new(state: State, link: LinkId, offer: &LinkOffer) -> Self {
        let mut kept = Self::default();
        kept.state = state as u32;
        kept.link = link.as_bytes().to_vec();
        kept.offer = offer.as_bytes().to_vec();
        kept
    }

    /// The bytes to keep.
    pub(super) fn write(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.encode_to_vec())
    }

    pub(super) fn link(&self) -> Option<LinkId> {
        LinkId::from_slice(&self.link).ok()
    }

    pub(super) fn offer(&self) -> Option<LinkOffer> {
        LinkOffer::decode(&self.offer).ok()
    }

    pub(super) fn keys(&self) -> Option<LinkKeys> {
        LinkKeys::from_slice(&self.keys)
    }

    pub(super) fn invitation(&self) -> Option<Invitation> {
        Invitation::decode(&self.invitation).ok()
    }

    pub(super) fn nonce(&self) -> Option<Nonce> {
        Nonce::from_slice(&self.nonce)
    }

    pub(super) fn digits(&self) -> Option<Digits> {
        Digits::from_number(self.digits)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.ephemeral.zeroize();
        self.keys.zeroize();
        self.nonce.zeroize();
    }
}

/// What is kept was damaged, or is another state.
pub(super) const fn invalid() -> Invalid {
    Invalid { what: "state of a link" }
}

/// Reads a message with its limit.
pub(super) fn read_message<T: Message + Default>(bytes: &[u8], max: usize) -> Result<T, LinkError> {
    if bytes.len() > max {
        return Err(LinkError::Malformed);
    }
    T::decode(bytes).map_err(|_| LinkError::Malformed)
}
