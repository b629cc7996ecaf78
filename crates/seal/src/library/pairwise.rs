//! One-to-one operations on a single session state.

use super::desk::{Identity, Kem, OneTime, Session, Signed};
use super::keys::{identity_pair, public_key};
use super::{Trouble, anybody, contained};
use crate::{LocalDevice, SealKind, VerifiedBundle};
use futures_util::FutureExt;
use libsignal_protocol_syft::{
    CiphertextMessage, DeviceId, GenericSignedPreKey, KyberPreKeyRecord, PreKeyBundle, PreKeyRecord,
    PreKeySignalMessage, SessionRecord, SessionUsabilityRequirements, SignalMessage, SignalProtocolError,
    SignedPreKeyRecord, kem, message_decrypt_prekey, message_decrypt_signal, message_encrypt,
    process_prekey_bundle,
};
use rand_core::CryptoRng;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// A message that was made.
pub(crate) struct Encrypted {
    /// The advanced state, alone in a record.
    pub(crate) advanced: Zeroizing<Vec<u8>>,
    pub(crate) kind: SealKind,
    pub(crate) ciphertext: Vec<u8>,
}

/// A message that opened.
pub(crate) struct Opening {
    /// The advanced state, alone in a record.
    pub(crate) advanced: Zeroizing<Vec<u8>>,
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    /// True if the prekeys were used: the message opened a new session.
    pub(crate) used_prekeys: bool,
}

/// The private halves that a prekey message names, as far as they are here.
#[derive(Default)]
pub(crate) struct Prekeys {
    pub(crate) one_time: Option<Zeroizing<Vec<u8>>>,
    pub(crate) signed: Option<Zeroizing<Vec<u8>>>,
    pub(crate) kem: Option<Zeroizing<Vec<u8>>>,
}

/// Makes a new state with a verified bundle; returns it alone in a record.
pub(crate) fn initiate(
    local: &LocalDevice,
    verified: &VerifiedBundle,
    now: SystemTime,
    mut rng: &mut dyn CryptoRng,
) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    contained(|| {
        let mut session = Session(None);
        let bundle = library_bundle(verified)?;
        ready(process_prekey_bundle(&anybody(), &mut session, &mut identity(local), &bundle, now, &mut rng))?;
        advanced(session)
    })
}

/// Whether a state may encrypt.
pub(crate) enum Usability {
    Usable,
    /// We opened the session more than 30 days ago, and it was never answered.
    Stale,
    /// Not opened with PQXDH, or not on the post-quantum ratchet.
    Unusable,
}

pub(crate) fn usability(state: &[u8], now: SystemTime) -> Result<Usability, Trouble> {
    use SessionUsabilityRequirements as Required;
    contained(|| {
        let record = SessionRecord::deserialize(state)?;
        if !record.has_usable_sender_chain(now, Required::EstablishedWithPqxdh | Required::Spqr)? {
            return Ok(Usability::Unusable);
        }
        let fresh = record.has_usable_sender_chain(now, Required::NotStale)?;
        Ok(if fresh { Usability::Usable } else { Usability::Stale })
    })
}

/// Encrypts with a state; returns it advanced, with the message.
pub(crate) fn encrypt(
    local: &LocalDevice,
    state: &[u8],
    plaintext: &[u8],
    now: SystemTime,
    mut rng: &mut dyn CryptoRng,
) -> Result<Encrypted, Trouble> {
    contained(|| {
        let mut session = Session(Some(SessionRecord::deserialize(state)?));
        let mut identity = identity(local);
        let message =
            ready(message_encrypt(plaintext, &anybody(), &mut session, &mut identity, now, &mut rng))?;
        let kind = match message {
            CiphertextMessage::PreKeySignalMessage(_) => SealKind::Prekey,
            _ => SealKind::Ratchet,
        };
        Ok(Encrypted { advanced: advanced(session)?, kind, ciphertext: message.serialize().to_vec() })
    })
}

/// Opens a message of an open session.
pub(crate) fn open_ratchet(
    local: &LocalDevice,
    state: &[u8],
    ciphertext: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Result<Opening, Trouble> {
    contained(|| {
        let message = SignalMessage::try_from(ciphertext)?;
        let mut session = Session(Some(SessionRecord::deserialize(state)?));
        let opened = ready(message_decrypt_signal(
            &message,
            &anybody(),
            &mut session,
            &mut identity(local),
            &mut rng,
        ))?;
        let plaintext = Zeroizing::new(opened);
        Ok(Opening { advanced: advanced(session)?, plaintext, used_prekeys: false })
    })
}

/// Opens a message that opens a session, or repeats the opening of the one given.
pub(crate) fn open_prekey(
    local: &LocalDevice,
    state: Option<&[u8]>,
    prekeys: &Prekeys,
    ciphertext: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Result<Opening, Trouble> {
    contained(|| {
        let message = PreKeySignalMessage::try_from(ciphertext)?;
        let mut session = Session(state.map(SessionRecord::deserialize).transpose()?);
        let mut one_time = OneTime {
            record: prekeys.one_time.as_deref().map(|r| PreKeyRecord::deserialize(r)).transpose()?,
        };
        let signed =
            Signed(prekeys.signed.as_deref().map(|r| SignedPreKeyRecord::deserialize(r)).transpose()?);
        let kem = prekeys.kem.as_deref().map(|r| KyberPreKeyRecord::deserialize(r)).transpose()?;
        let mut kem = Kem { record: kem, used: false };
        let opened = ready(message_decrypt_prekey(
            &message,
            &anybody(),
            &mut session,
            &mut identity(local),
            &mut one_time,
            &signed,
            &mut kem,
            &mut rng,
        ))?;
        let plaintext = Zeroizing::new(opened);
        Ok(Opening { advanced: advanced(session)?, plaintext, used_prekeys: kem.used })
    })
}

fn library_bundle(verified: &VerifiedBundle) -> Result<PreKeyBundle, SignalProtocolError> {
    let (peer, bundle) = (&verified.peer, &verified.bundle);
    PreKeyBundle::new(
        peer.registration().get(),
        DeviceId::new(peer.address().device.get()).expect("device numbers are in the library's range"),
        bundle.one_time.as_ref().map(|prekey| (prekey.id.into(), public_key(&prekey.public_key))),
        bundle.signed.id.into(),
        public_key(&bundle.signed.public_key),
        bundle.signed.signature.to_vec(),
        bundle.kem.id.into(),
        kem::PublicKey::deserialize(&bundle.kem.public_key)?,
        bundle.kem.signature.to_vec(),
        public_key(peer.identity().as_bytes()).into(),
    )
}

fn identity(local: &LocalDevice) -> Identity {
    Identity { pair: identity_pair(&local.identity), registration: local.registration.get() }
}

fn advanced(session: Session) -> Result<Zeroizing<Vec<u8>>, SignalProtocolError> {
    let record = session.0.ok_or(SignalProtocolError::InvalidProtobufEncoding)?;
    Ok(Zeroizing::new(record.serialize()?))
}

/// The stores answer at once, so the library's futures never wait.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("no store here ever waits")
}
