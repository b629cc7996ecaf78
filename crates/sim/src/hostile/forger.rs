//! Keys that no account ever signed: what a server can make by itself.
//!
//! Owns: a device of the server's own, that claims to be any device it likes; lists that it signs with an
//! account key of its own; bundles with its own prekeys.

mod links;

use bytes::Bytes;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use rand_core::RngCore as _;
use seal::{
    Arrival, Body, Content, DeviceSecrets, GroupSecret, GroupView, LocalDevice, NewPrekey, Peer, SealKind,
    SenderKeyDistribution, Store as _, Text, memory::MemoryStore,
};
use signed::{
    AccountSecret, DeviceCertificate, DeviceList, DeviceListDraft, DeviceSecret, GroupChange, GroupState,
    ListedDevice, SignedOperation,
    group::{OperationDraft, OperationId},
};
use std::sync::OnceLock;
use types::{
    ConversationId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, MailboxId, MessageId, RegistrationId,
    Stamp, Timestamp,
};
use wire::{Bundle, Envelope, EnvelopeKind, KemPrekey, KeyUpload, OneTimePrekey, SignedPrekey, Urgency};

pub use links::{GhostLink, GhostPrimary, guessed_code, nonce_of};

/// Every text that the forger writes begins so.
pub const FORGED: &str = "forged";
/// The device number under which a ghost is slipped into a list.
const GHOST_DEVICE: u32 = 5;

/// What takes long to make, made once in a process.
struct Keys {
    account: AccountSecret,
    device: DeviceSecrets,
    signed: NewPrekey<seal::SignedPrekey>,
    last_resort: NewPrekey<seal::KemPrekey>,
    one_time: NewPrekey<seal::OneTimePrekey>,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut rng = ChaCha20Rng::seed_from_u64(0xbad);
        let device = DeviceSecrets::generate(&mut rng);
        let now = testkit::fixture::EPOCH;
        Keys {
            account: AccountSecret::random(&mut rng),
            signed: seal::generate_signed(&device.identity, 1, now, &mut rng),
            last_resort: seal::generate_last_resort(&device.identity, 2, now, &mut rng),
            one_time: seal::generate_one_time(3, 1, &mut rng).remove(0),
            device,
        }
    })
}

/// The number of the device that a forger adds to a list.
///
/// # Panics
/// Never: 5 is a device number.
pub fn ghost_number() -> DeviceNumber {
    DeviceNumber::new(GHOST_DEVICE).expect("5 is a device number")
}

/// The mailbox of a ghost of an account.
pub fn ghost_of(account: types::AccountId) -> MailboxId {
    DeviceAddress::new(account, ghost_number()).mailbox(keys().device.registration)
}

/// Prekeys of the forger's own, as if they were those of a device.
pub fn bundle(device: DeviceNumber, registration: RegistrationId) -> Bundle {
    let keys = keys();
    Bundle {
        device,
        registration,
        signed_prekey: SignedPrekey {
            id: keys.signed.public.id,
            public_key: Bytes::copy_from_slice(&keys.signed.public.public_key),
            signature: Bytes::copy_from_slice(&keys.signed.public.signature),
        },
        kem_prekey: KemPrekey {
            id: keys.last_resort.public.id,
            public_key: keys.last_resort.public.public_key.clone().into(),
            signature: Bytes::copy_from_slice(&keys.last_resort.public.signature),
            last_resort: true,
        },
        one_time_prekey: Some(OneTimePrekey {
            id: keys.one_time.public.id,
            public_key: Bytes::copy_from_slice(&keys.one_time.public.public_key),
        }),
    }
}

/// The devices of a list and a ghost, signed with this account key: the forger's own, or a stolen one.
pub fn list_with_ghost(
    list: &DeviceList,
    version: u64,
    stolen: Option<&AccountSecret>,
) -> Option<DeviceList> {
    let keys = keys();
    let secret = stolen.unwrap_or(&keys.account);
    let ghost = ListedDevice::sign(
        signed::account_id(&secret.public()),
        ghost_number(),
        keys.device.registration,
        *keys.device.identity.public(),
        &DeviceSecret::from_bytes(keys.device.device_key_seed.expose()),
    );
    let own = if stolen.is_some() { list.devices().to_vec() } else { Vec::new() };
    let primary = ListedDevice::sign(
        signed::account_id(&secret.public()),
        DeviceNumber::PRIMARY,
        keys.device.registration,
        *keys.device.identity.public(),
        &DeviceSecret::from_bytes(keys.device.device_key_seed.expose()),
    );
    let devices = if own.is_empty() { vec![primary] } else { [own, vec![ghost]].concat() };
    let draft = DeviceListDraft { version, issued_at: list.issued_at(), devices, sealed_names: Vec::new() };
    draft.sign(secret).ok()
}

/// An operation that adds an account of the forger's own to a group, signed in the name of that account or of
/// another one whose key it has.
pub fn operation(
    follows: &GroupState,
    actor: Option<&AccountSecret>,
    at: Timestamp,
    rng: &mut ChaCha20Rng,
) -> Option<SignedOperation> {
    let keys = keys();
    let secret = actor.unwrap_or(&keys.account);
    let device = DeviceSecret::from_bytes(keys.device.device_key_seed.expose());
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let draft = OperationDraft {
        follows: Some(follows.follows()),
        id: OperationId(id),
        actor_key: secret.public(),
        certificate: DeviceCertificate::sign(secret, ghost_number(), device.public()),
        at,
        change: GroupChange::Add([signed::account_id(&keys.account.public())].into()),
    };
    draft.sign(&device).ok()
}

/// The prekeys of a new device of the server's own.
pub fn key_upload() -> KeyUpload {
    let bundle = bundle(ghost_number(), keys().device.registration);
    KeyUpload {
        signed_prekey: Some(bundle.signed_prekey),
        last_resort: Some(bundle.kem_prekey),
        ..KeyUpload::default()
    }
}

/// Whether somebody who has this sender key opens a message of a group.
pub fn opens_with(sender_key: &[u8], row: &Arrival<'_>) -> bool {
    let Some(group) = row.group else { return false };
    let mut holder = Ghost::claiming(row.to);
    holder.store.store_sender_key(group, row.from, sender_key).is_ok()
        && seal::decrypt(&mut holder.store, row, &mut ChaCha20Rng::seed_from_u64(2)).is_ok()
}

/// A device of the server's own that claims an address.
pub struct Ghost {
    store: MemoryStore,
    address: DeviceAddress,
}

impl Ghost {
    /// Claims an address.
    pub fn claiming(address: DeviceAddress) -> Self {
        let keys = keys();
        let mut store = MemoryStore::new(LocalDevice {
            address,
            registration: keys.device.registration,
            identity: keys.device.identity.clone(),
        });
        store.insert_signed(&keys.signed);
        store.insert_kem(&keys.last_resort);
        store.insert_one_time(&keys.one_time);
        Self { store, address }
    }

    /// Writes to a device, with keys that the server took from its pool. None if the target's keys do not
    /// lead to a session.
    pub fn write(
        &mut self,
        to: &Peer,
        bundle: &Bundle,
        at: (Timestamp, Stamp),
        counter: u64,
        rng: &mut ChaCha20Rng,
    ) -> Option<Envelope> {
        let text = format!("{FORGED} {}", MessageId::new(at.0, rng));
        self.say(to, bundle, at, counter, Body::Text(Text::from(text.as_str())), rng)
    }

    /// Gives a device a sender key for a group, and writes to the group with it.
    pub fn write_in_group(
        &mut self,
        to: &Peer,
        bundle: &Bundle,
        at: (Timestamp, Stamp),
        view: (GroupId, GroupView),
        rng: &mut ChaCha20Rng,
    ) -> Option<[Envelope; 2]> {
        let (group, view) = view;
        let distribution = seal::rotate_sender_key(&mut self.store, group, rng).ok()?;
        let secret = GroupSecret::random(rng);
        let body = SenderKeyDistribution { group, distribution, secret, counter: 0 };
        let key = self.say(to, bundle, at, 0, Body::SenderKeyDistribution(body), rng)?;
        let message_id = MessageId::new(at.0, rng);
        let text = format!("{FORGED} {message_id}");
        let content = Content {
            conversation: ConversationId::from_bytes(*group.as_bytes()),
            recipient: None,
            group: Some(view),
            ..self.content(message_id, to.address().account, at.0, 1, Body::Text(Text::from(text.as_str())))
        };
        let sealed = seal::group_encrypt(&mut self.store, group, &content, rng).ok()?;
        let message = Envelope {
            envelope_id: EnvelopeId::random(rng),
            kind: EnvelopeKind::SenderKey,
            ciphertext: sealed.ciphertext.into(),
            group: Some(group),
            ..key.clone()
        };
        Some([key, message])
    }

    fn say(
        &mut self,
        to: &Peer,
        bundle: &Bundle,
        (now, stamp): (Timestamp, Stamp),
        counter: u64,
        body: Body,
        rng: &mut ChaCha20Rng,
    ) -> Option<Envelope> {
        let verified = seal::verify_bundle(to, to_seal(to.address(), bundle)?).ok()?;
        seal::open_session(&mut self.store, &verified, now, rng).ok()?;
        let message_id = MessageId::new(now, rng);
        let content = self.content(message_id, to.address().account, now, counter, body);
        let sealed = seal::encrypt(&mut self.store, to, &content, now, rng).ok()?;
        Some(Envelope {
            envelope_id: EnvelopeId::random(rng),
            from: self.address,
            to: to.address().mailbox(to.registration()),
            kind: EnvelopeKind::Prekey,
            urgency: Urgency::Normal,
            stamp,
            ciphertext: sealed.ciphertext.into(),
            group: None,
        })
    }

    fn content(
        &self,
        message_id: MessageId,
        account: types::AccountId,
        now: Timestamp,
        counter: u64,
        body: Body,
    ) -> Content {
        Content {
            message_id,
            conversation: signed::direct_conversation(self.address.account, account),
            sent_at: now,
            sender: self.address,
            recipient: Some(account),
            counter,
            own_list: None,
            recipient_list: None,
            group: None,
            expire_after_seconds: 0,
            sender_phone: None,
            original_stamp: None,
            body,
        }
    }
}

/// Whether the forger's keys open what was sealed for a device.
pub fn opens(from: DeviceAddress, to: DeviceAddress, ciphertext: &[u8], rng: &mut ChaCha20Rng) -> bool {
    let mut ghost = Ghost::claiming(to);
    let arrival = Arrival { from, to, kind: SealKind::Prekey, ciphertext, listed: None, group: None };
    seal::decrypt(&mut ghost.store, &arrival, rng).is_ok()
}

fn to_seal(device: DeviceAddress, bundle: &Bundle) -> Option<seal::Bundle> {
    let one_time = match &bundle.one_time_prekey {
        None => None,
        Some(key) => {
            Some(seal::OneTimePrekey { id: key.id, public_key: key.public_key.as_ref().try_into().ok()? })
        }
    };
    Some(seal::Bundle {
        device,
        registration: bundle.registration,
        signed: seal::SignedPrekey {
            id: bundle.signed_prekey.id,
            public_key: bundle.signed_prekey.public_key.as_ref().try_into().ok()?,
            signature: bundle.signed_prekey.signature.as_ref().try_into().ok()?,
        },
        kem: seal::KemPrekey {
            id: bundle.kem_prekey.id,
            public_key: bundle.kem_prekey.public_key.to_vec(),
            signature: bundle.kem_prekey.signature.as_ref().try_into().ok()?,
            last_resort: bundle.kem_prekey.last_resort,
        },
        one_time,
    })
}
