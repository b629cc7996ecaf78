//! The side of the account's primary device.

use super::body::{Answer, Completion, Invitation};
use super::digits::Digits;
use super::keys::{self, LinkKeys, Purpose};
use super::state::{Kept, State, invalid, read_message};
use super::{LinkCode, LinkError};
use crate::names::DeviceName;
use crate::proto::link as proto;
use prost::Message;
use rand_core::CryptoRng;
use signed::{LinkOffer, ListedDevice};
use types::limits::LINK_MESSAGE_BYTES_MAX;
use types::{Invalid, LinkId};
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

/// A primary that has invited a new device, until that one is in or was refused.
#[derive(Clone)]
pub struct Primary {
    link: LinkId,
    offer: LinkOffer,
    keys: LinkKeys,
    invitation: Invitation,
    message: Vec<u8>,
}

/// A new device that has agreed to its place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its entry, with its own signature: what the primary puts on the list once people have compared digits.
    pub listed: ListedDevice,
    /// What it calls itself.
    pub name: DeviceName,
    /// What people compare before anything is signed.
    pub digits: Digits,
}

impl Primary {
    /// Invites the device that showed the code, whose offer the server has given.
    pub fn invite(
        code: &LinkCode,
        offer: &[u8],
        invitation: Invitation,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, LinkError> {
        let (offer, keys, message) = seal_invitation(code, offer, &invitation.encode(), rng)?;
        Ok(Self { link: code.link, offer, keys, invitation, message })
    }

    /// Tells the device that showed the code, in the place of an invitation, that the account has as many devices
    /// as it may have: an encoded `LinkInvitation`. Only who has the code can say it.
    pub fn turn_away(
        code: &LinkCode,
        offer: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, LinkError> {
        seal_invitation(code, offer, &Invitation::turned_away(), rng).map(|(_, _, message)| message)
    }

    /// The link's id.
    pub const fn link(&self) -> LinkId {
        self.link
    }

    /// What the device was told.
    pub const fn invitation(&self) -> &Invitation {
        &self.invitation
    }

    /// The encoded `LinkInvitation`: the same bytes as often as they are needed.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Opens the device's answer. The first one that opens counts: no other device could have made it.
    pub fn open_answer(&self, answer: &[u8]) -> Result<Candidate, LinkError> {
        let message: proto::LinkAnswer = read_message(answer, LINK_MESSAGE_BYTES_MAX)?;
        let body = self.keys.open(Purpose::Answer, self.link, &message.sealed)?;
        let answer = Answer::decode(&body)?;
        if answer.nonce.commitment() != *self.offer.nonce_commitment() {
            return Err(LinkError::OtherNonce);
        }
        let listed = ListedDevice::verify(
            self.invitation.account(),
            self.invitation.device,
            self.offer.registration(),
            *self.offer.identity_key(),
            *self.offer.device_key(),
            answer.signature,
        );
        let listed = listed.map_err(|_| LinkError::NotConsented)?;
        let digits = Digits::derive(self.keys.of_digits(), &self.message, &answer.nonce);
        Ok(Candidate { listed, name: answer.name, digits })
    }

    /// The encoded `LinkCompletion`. Made after people have compared the digits, once: with the list in the same
    /// request, and kept with it.
    pub fn complete(
        &self,
        completion: &Completion,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, LinkError> {
        self.invitation.check_listed(&self.offer, &completion.list, &completion.certificate)?;
        let sealed = self.keys.seal(Purpose::Completion, self.link, &completion.encode(), rng);
        Ok(proto::LinkCompletion { sealed }.encode_to_vec())
    }

    /// To be kept until the device is in. Secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut kept = Kept::new(State::Primary, self.link, &self.offer);
        kept.keys = self.keys.as_slice().to_vec();
        kept.invitation = self.invitation.encode();
        kept.message = self.message.clone();
        kept.write()
    }

    /// Reads what [`Primary::to_bytes`] gave.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        Self::read(bytes).ok_or(invalid())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let kept = Kept::read(bytes, State::Primary)?;
        Some(Self {
            link: kept.link()?,
            offer: kept.offer()?,
            keys: kept.keys()?,
            invitation: kept.invitation()?,
            message: kept.message.clone(),
        })
    }
}

/// Checks the offer against the code, and seals what its device is told first.
fn seal_invitation(
    code: &LinkCode,
    offer: &[u8],
    body: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<(LinkOffer, LinkKeys, Vec<u8>), LinkError> {
    let offer = LinkOffer::decode(offer).map_err(|_| LinkError::Malformed)?;
    if offer.hash() != code.offer_hash {
        return Err(LinkError::OtherOffer);
    }
    let ephemeral = keys::draw(rng);
    let public = PublicKey::from(&ephemeral).to_bytes();
    let keys = LinkKeys::derive(&ephemeral, offer.ephemeral_key(), &offer, &public, &code.secret)?;
    let sealed = keys.seal(Purpose::Invitation, code.link, body, rng);
    let message = proto::LinkInvitation { ephemeral_key: public.to_vec(), sealed }.encode_to_vec();
    Ok((offer, keys, message))
}
