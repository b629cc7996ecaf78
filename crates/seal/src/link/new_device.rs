//! The side of the device that wants to be linked.

use super::body::{Answer, Completion, Invitation};
use super::digits::{Digits, Nonce};
use super::keys::{self, LinkKeys, Purpose};
use super::state::{Kept, State, invalid, read_message};
use super::{LinkCode, LinkError};
use crate::DeviceSecrets;
use crate::names::DeviceName;
use crate::proto::link as proto;
use prost::Message;
use rand_core::CryptoRng;
use signed::{DeviceSecret, LinkOffer, ListedDevice};
use types::limits::{LINK_COMPLETION_BYTES_MAX, LINK_MESSAGE_BYTES_MAX};
use types::{Invalid, LinkId};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// A device that shows its code and waits for an invitation.
#[derive(Clone)]
pub struct NewDevice {
    link: LinkId,
    offer: LinkOffer,
    secret: Zeroizing<[u8; 16]>,
    ephemeral: StaticSecret,
    nonce: Nonce,
}

impl NewDevice {
    /// Begins a link for a device that has just drawn its keys.
    pub fn begin(device: &DeviceSecrets, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut link = [0; 16];
        rng.fill_bytes(&mut link);
        let mut secret = Zeroizing::new([0; 16]);
        rng.fill_bytes(secret.as_mut());
        let (ephemeral, nonce) = (keys::draw(rng), Nonce::draw(rng));
        let device_key = DeviceSecret::from_bytes(device.device_key_seed.expose()).public();
        let offer = LinkOffer::new(
            *device.identity.public(),
            device_key,
            device.registration,
            PublicKey::from(&ephemeral).to_bytes(),
            nonce.commitment(),
        );
        Self { link: LinkId::from_bytes(link), offer, secret, ephemeral, nonce }
    }

    /// The link's id.
    pub const fn link(&self) -> LinkId {
        self.link
    }

    /// What the server gets.
    pub const fn offer(&self) -> &LinkOffer {
        &self.offer
    }

    /// What the primary gets, and nobody else.
    pub fn code(&self) -> LinkCode {
        LinkCode { link: self.link, offer_hash: self.offer.hash(), secret: self.secret.clone() }
    }

    /// Opens a primary's invitation, as it was carried, and answers it. `device` has the secrets that [`NewDevice::begin`] got.
    /// Until people have compared the digits, the account may be anybody's who saw the code.
    ///
    /// One link takes one invitation: the answer tells the nonce, and whoever knows it could make another invitation
    /// that leads to the digits of their choice. Keep what comes of this before the answer leaves, and refuse every
    /// other invitation from then on.
    pub fn accept(
        &self,
        carried: &[u8],
        device: &DeviceSecrets,
        name: &DeviceName,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<InvitedDevice, LinkError> {
        let message: proto::LinkInvitation = read_message(carried, LINK_MESSAGE_BYTES_MAX)?;
        let theirs = message.ephemeral_key.try_into().map_err(|_| LinkError::Malformed)?;
        let keys = LinkKeys::derive(&self.ephemeral, &theirs, &self.offer, &theirs, &self.secret)?;
        let invitation = keys.open(Purpose::Invitation, self.link, &message.sealed)?;
        let invitation = Invitation::decode(&invitation)?;
        let signature = self.consent(&invitation, device)?;
        let answer = Answer { signature, name: name.clone(), nonce: self.nonce.clone() };
        let sealed = keys.seal(Purpose::Answer, self.link, &answer.encode(), rng);
        let answer = proto::LinkAnswer { sealed }.encode_to_vec();
        let digits = Digits::derive(keys.of_digits(), carried, &self.nonce);
        Ok(InvitedDevice { link: self.link, offer: self.offer.clone(), keys, invitation, answer, digits })
    }

    /// The device's signature over the entry that it will have in the list.
    fn consent(
        &self,
        invitation: &Invitation,
        device: &DeviceSecrets,
    ) -> Result<signed::Signature, LinkError> {
        let secret = DeviceSecret::from_bytes(device.device_key_seed.expose());
        let (identity, registration) = (*self.offer.identity_key(), self.offer.registration());
        if secret.public() != *self.offer.device_key() {
            return Err(LinkError::OtherDevice);
        }
        let account = invitation.account();
        let listed = ListedDevice::sign(account, invitation.device, registration, identity, &secret);
        Ok(*listed.signature())
    }

    /// To be kept until the invitation comes. Secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut kept = Kept::new(State::NewDevice, self.link, &self.offer);
        kept.secret = self.secret.to_vec();
        kept.ephemeral = self.ephemeral.as_bytes().to_vec();
        kept.nonce = self.nonce.as_bytes().to_vec();
        kept.write()
    }

    /// Reads what [`NewDevice::to_bytes`] gave.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        Self::read(bytes).ok_or(invalid())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let kept = Kept::read(bytes, State::NewDevice)?;
        let (link, offer) = (kept.link()?, kept.offer()?);
        let secret = Zeroizing::new(kept.secret.as_slice().try_into().ok()?);
        let ephemeral = Zeroizing::new(<[u8; 32]>::try_from(kept.ephemeral.as_slice()).ok()?);
        let nonce = kept.nonce().filter(|nonce| nonce.commitment() == *offer.nonce_commitment())?;
        Some(Self { link, offer, secret, ephemeral: StaticSecret::from(*ephemeral), nonce })
    }
}

/// A device that was invited, has answered, and shows its digits until it is in.
#[derive(Clone)]
pub struct InvitedDevice {
    link: LinkId,
    offer: LinkOffer,
    keys: LinkKeys,
    invitation: Invitation,
    answer: Vec<u8>,
    digits: Digits,
}

impl InvitedDevice {
    /// The link's id.
    pub const fn link(&self) -> LinkId {
        self.link
    }

    /// Whose device it will be.
    pub const fn invitation(&self) -> &Invitation {
        &self.invitation
    }

    /// What people compare.
    pub const fn digits(&self) -> Digits {
        self.digits
    }

    /// The encoded `LinkAnswer`: the same bytes as often as they are needed.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// Opens the completion. Afterwards this is a device of the inviting account.
    pub fn complete(&self, completion: &[u8]) -> Result<Completion, LinkError> {
        let message: proto::LinkCompletion = read_message(completion, LINK_COMPLETION_BYTES_MAX)?;
        let body = self.keys.open(Purpose::Completion, self.link, &message.sealed)?;
        let completion = Completion::decode(&body, &self.invitation.account_key)?;
        self.invitation.check_listed(&self.offer, &completion.list, &completion.certificate)?;
        Ok(completion)
    }

    /// To be kept until the completion comes. Secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut kept = Kept::new(State::InvitedDevice, self.link, &self.offer);
        kept.keys = self.keys.as_slice().to_vec();
        kept.invitation = self.invitation.encode();
        kept.message = self.answer.clone();
        kept.digits = self.digits.number();
        kept.write()
    }

    /// Reads what [`InvitedDevice::to_bytes`] gave.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        Self::read(bytes).ok_or(invalid())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let kept = Kept::read(bytes, State::InvitedDevice)?;
        Some(Self {
            link: kept.link()?,
            offer: kept.offer()?,
            keys: kept.keys()?,
            invitation: kept.invitation()?,
            answer: kept.message.clone(),
            digits: kept.digits()?,
        })
    }
}
