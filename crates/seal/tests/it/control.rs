//! The Signal library without the guard, on a copy of a party's state: what would happen.

use crate::protobuf::{Field, decode, encode};
use crate::support::Party;
use futures_util::FutureExt;
use libsignal_protocol_syft::{
    CiphertextMessageType, DeviceId, GenericSignedPreKey, IdentityKeyPair, InMemSignalProtocolStore,
    KyberPreKeyRecord, KyberPreKeyStore, PreKeyRecord, PreKeySignalMessage, PreKeyStore, PrivateKey,
    ProtocolAddress, PublicKey, SessionRecord, SessionStore, SignalMessage, SignalProtocolError,
    SignedPreKeyRecord, SignedPreKeyStore, message_decrypt_prekey, message_decrypt_signal, message_encrypt,
};
use seal::{SealKind, Sealed, Store};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What the bare library did with a message.
#[derive(Debug)]
pub(crate) enum Bare {
    Opened { session: Vec<u8> },
    Refused,
    Panicked,
}

thread_local! {
    static PANICS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs something whose panics are the point, without their messages.
pub(crate) fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !PANICS_EXPECTED.get() {
                usual(info);
            }
        }));
    });
    PANICS_EXPECTED.set(true);
    let outcome = run();
    PANICS_EXPECTED.set(false);
    outcome
}

/// Gives a message to the bare library, with a copy of the receiver's state.
pub(crate) fn bare_open(receiver: &Party, sender: &Party, kind: SealKind, ciphertext: &[u8]) -> Bare {
    let work = || -> Result<Vec<u8>, SignalProtocolError> {
        let mut store = bare_store(receiver, sender)?;
        let peer = address();
        let mut rng = crate::support::rng(7);
        match kind {
            SealKind::Prekey => {
                let message = PreKeySignalMessage::try_from(ciphertext)?;
                load_prekeys(receiver, &message, &mut store)?;
                let InMemSignalProtocolStore {
                    session_store,
                    identity_store,
                    pre_key_store,
                    signed_pre_key_store,
                    kyber_pre_key_store,
                    ..
                } = &mut store;
                ready(message_decrypt_prekey(
                    &message,
                    &peer,
                    session_store,
                    identity_store,
                    pre_key_store,
                    signed_pre_key_store,
                    kyber_pre_key_store,
                    &mut rng,
                ))?
            }
            _ => {
                let message = SignalMessage::try_from(ciphertext)?;
                let InMemSignalProtocolStore { session_store, identity_store, .. } = &mut store;
                ready(message_decrypt_signal(&message, &peer, session_store, identity_store, &mut rng))?
            }
        };
        let session = ready(store.session_store.load_session(&peer))?.unwrap().serialize()?;
        Ok(session)
    };
    match quietly(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(session)) => Bare::Opened { session },
        Ok(Err(_)) => Bare::Refused,
        Err(_) => Bare::Panicked,
    }
}

/// Encrypts with the bare library and a session record of the caller's making.
pub(crate) fn bare_seal(sender: &Party, receiver: &Party, record: &[u8], padded: &[u8]) -> Sealed {
    let mut store = sender.store.clone();
    store.store_session(receiver.address(), record).unwrap();
    bare_seal_advancing(&sender.with_store(store), receiver, padded).0
}

/// Encrypts with the bare library and the sender's own session; returns the advanced record beside it.
pub(crate) fn bare_seal_advancing(sender: &Party, receiver: &Party, padded: &[u8]) -> (Sealed, Vec<u8>) {
    let mut store = bare_store(sender, receiver).unwrap();
    let peer = address();
    let now = sender.now.as_system_time();
    let InMemSignalProtocolStore { session_store, identity_store, .. } = &mut store;
    let mut rng = crate::support::rng(8);
    let message =
        ready(message_encrypt(padded, &peer, session_store, identity_store, now, &mut rng)).unwrap();
    let record = ready(session_store.load_session(&peer)).unwrap().unwrap().serialize().unwrap();
    let kind = match message.message_type() {
        CiphertextMessageType::PreKey => SealKind::Prekey,
        _ => SealKind::Ratchet,
    };
    (Sealed { kind, ciphertext: message.serialize().to_vec(), renew: false }, record)
}

/// A session state whose skipped message keys stand in the form of years ago, which the library asserts
/// never to meet beside a post-quantum key.
pub(crate) fn with_legacy_message_keys(state: &[u8]) -> Vec<u8> {
    let fields = decode(state).into_iter().map(|field| match field {
        Field::Bytes(7, chain) => Field::Bytes(7, with_legacy_chain(&chain)),
        other => other,
    });
    encode(&fields.collect::<Vec<_>>())
}

fn with_legacy_chain(chain: &[u8]) -> Vec<u8> {
    let fields = decode(chain).into_iter().map(|field| match field {
        Field::Bytes(4, key) => {
            let mut fields = decode(&key);
            fields.retain(|field| field.tag() == 1);
            fields
                .extend([(2, 32), (3, 32), (4, 16)].map(|(tag, length)| Field::Bytes(tag, vec![1; length])));
            Field::Bytes(4, encode(&fields))
        }
        other => other,
    });
    encode(&fields.collect::<Vec<_>>())
}

/// The agreement of any private key with a public one, as the library computes it.
pub(crate) fn agreement(point: &[u8; 32]) -> Box<[u8]> {
    let private = PrivateKey::deserialize(&[0x42; 32]).unwrap();
    private.calculate_agreement(&PublicKey::from_djb_public_key_bytes(point).unwrap()).unwrap()
}

/// A signature of the library by a party's identity key.
pub(crate) fn sign(party: &Party, message: &[u8]) -> [u8; 64] {
    let pair = identity(party);
    let signature = pair.private_key().calculate_signature(message, &mut crate::support::rng(9)).unwrap();
    signature.as_ref().try_into().unwrap()
}

fn bare_store(party: &Party, peer: &Party) -> Result<InMemSignalProtocolStore, SignalProtocolError> {
    let mut store = InMemSignalProtocolStore::new(identity(party), party.local.registration.get())?;
    if let Some(record) = party.store.session(peer.address()).unwrap() {
        ready(store.session_store.store_session(&address(), &SessionRecord::deserialize(&record)?))?;
    }
    Ok(store)
}

fn load_prekeys(
    party: &Party,
    message: &PreKeySignalMessage,
    store: &mut InMemSignalProtocolStore,
) -> Result<(), SignalProtocolError> {
    if let Some(id) = message.pre_key_id()
        && let Some(record) = party.store.one_time_prekey(id.into()).unwrap()
    {
        ready(store.pre_key_store.save_pre_key(id, &PreKeyRecord::deserialize(&record)?))?;
    }
    let signed = message.signed_pre_key_id();
    if let Some(record) = party.store.signed_prekey(signed.into()).unwrap() {
        let record = SignedPreKeyRecord::deserialize(&record)?;
        ready(store.signed_pre_key_store.save_signed_pre_key(signed, &record))?;
    }
    if let Some(id) = message.kyber_pre_key_id()
        && let Some(kem) = party.store.kem_prekey(id.into()).unwrap()
    {
        let record = KyberPreKeyRecord::deserialize(&kem.record)?;
        ready(store.kyber_pre_key_store.save_kyber_pre_key(id, &record))?;
    }
    Ok(())
}

fn identity(party: &Party) -> IdentityKeyPair {
    let bytes = party.local.identity.to_bytes();
    let public = PublicKey::deserialize(&bytes[..33]).unwrap();
    IdentityKeyPair::new(public.into(), PrivateKey::deserialize(&bytes[33..]).unwrap())
}

fn address() -> ProtocolAddress {
    ProtocolAddress::new("peer".to_owned(), DeviceId::new(1).unwrap())
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}
