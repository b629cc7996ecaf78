//! A guest: an account whose devices are made by hand and never connect, so that it can have a second
//! one. People write to it; what its device list says changes under their hands.
//!
//! Owns: the guest's secrets and the version of its list.
//! Must not know: what people write.

use bytes::Bytes;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rand_core::RngCore as _;
use seal::DeviceSecrets;
use server_core::{Core, Finish, NewDevice};
use server_ports::Caller;
use signed::{
    AccountSecret, DeviceCertificate, DeviceList, DeviceListDraft, DeviceSecret, GroupChange, LinkOffer,
    ListedDevice, SignedOperation,
    group::{OperationDraft, OperationId},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use types::{
    AccountId, DeviceAddress, DeviceNumber, GroupId, LinkId, MailboxId, PhoneNumber, Redact, Timestamp,
};
use wire::{KemPrekey, KeyUpload, OneTimePrekey, Request, SignedPrekey};

/// Where the guest calls from.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// One-time keys of each kind that each device uploads: few, because they are costly to make, and the
/// pool may well run dry.
const ONE_TIME_KEYS: u32 = 3;

/// A public key for links whose messages nobody opens (RFC 7748, 4.1).
const BASE_POINT: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};

/// One guest.
pub struct Guest {
    secret: AccountSecret,
    primary: DeviceSecrets,
    second: Option<DeviceSecrets>,
    version: u64,
    rng: ChaCha20Rng,
}

/// What a guest asks a node for.
#[derive(Clone)]
pub struct Ask {
    list: Bytes,
    keys: KeyUpload,
    of: MailboxId,
    primary: MailboxId,
}

impl Guest {
    /// A guest with one device.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (secret, primary) = (AccountSecret::random(&mut rng), DeviceSecrets::generate(&mut rng));
        Self { secret, primary, second: None, version: 1, rng }
    }

    /// The guest's account.
    pub fn account(&self) -> AccountId {
        signed::account_id(&self.secret.public())
    }

    /// The mailbox of the second device, while there is one.
    pub fn second(&self) -> Option<MailboxId> {
        let device = self.second.as_ref()?;
        Some(self.address(second()).mailbox(device.registration))
    }

    /// The mailbox of the primary device.
    pub fn primary(&self) -> MailboxId {
        self.address(DeviceNumber::PRIMARY).mailbox(self.primary.registration)
    }

    /// A new second device, or none any more: what to ask a node for until it has answered.
    pub fn relink(&mut self, now: Timestamp) -> Ask {
        self.version += 1;
        self.second = match self.second {
            Some(_) => None,
            None => Some(DeviceSecrets::generate(&mut self.rng)),
        };
        let of = self.second().unwrap_or_else(|| self.primary());
        self.ask(of, now)
    }

    /// The version of the list that was signed last.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Signs a change of a group, on the primary device.
    ///
    /// # Panics
    /// Never: the guest's keys belong together.
    pub fn sign(
        &mut self,
        follows: Option<(GroupId, u64, [u8; 32])>,
        change: GroupChange,
        at: Timestamp,
    ) -> SignedOperation {
        let device = DeviceSecret::from_bytes(self.primary.device_key_seed.expose());
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let draft = OperationDraft {
            follows,
            id: OperationId(id),
            actor_key: self.secret.public(),
            certificate: DeviceCertificate::sign(&self.secret, DeviceNumber::PRIMARY, device.public()),
            at,
            change,
        };
        draft.sign(&device).expect("account, device and certificate belong together")
    }

    /// What the guest registers with.
    pub fn registration(&mut self, now: Timestamp) -> Ask {
        self.ask(self.primary(), now)
    }

    fn ask(&mut self, of: MailboxId, now: Timestamp) -> Ask {
        let listed = |number, device: &DeviceSecrets| {
            let key = DeviceSecret::from_bytes(device.device_key_seed.expose());
            ListedDevice::sign(self.account(), number, device.registration, *device.identity.public(), &key)
        };
        let primary = listed(DeviceNumber::PRIMARY, &self.primary);
        let linked = self.second.as_ref().map(|device| listed(second(), device));
        let draft = DeviceListDraft {
            version: self.version,
            issued_at: now,
            devices: std::iter::once(primary).chain(linked).collect(),
            sealed_names: Vec::new(),
        };
        let list = draft.sign(&self.secret).expect("a list of one or two devices keeps every rule");
        let keys = self.keys(now);
        Ask { list: Bytes::copy_from_slice(list.as_bytes()), keys, of, primary: self.primary() }
    }

    /// Keys of the newest device.
    fn keys(&mut self, now: Timestamp) -> KeyUpload {
        let identity = &self.second.as_ref().unwrap_or(&self.primary).identity;
        let signed = seal::generate_signed(identity, 1, now, &mut self.rng).public;
        let last_resort = seal::generate_last_resort(identity, 1, now, &mut self.rng).public;
        let one_time = seal::generate_one_time(2, ONE_TIME_KEYS, &mut self.rng);
        let kem = seal::generate_kem_one_time(identity, 2, ONE_TIME_KEYS, now, &mut self.rng);
        KeyUpload {
            signed_prekey: Some(SignedPrekey {
                id: signed.id,
                public_key: Bytes::copy_from_slice(&signed.public_key),
                signature: Bytes::copy_from_slice(&signed.signature),
            }),
            last_resort: Some(kem_prekey(last_resort)),
            one_time: one_time
                .into_iter()
                .map(|key| OneTimePrekey {
                    id: key.public.id,
                    public_key: Bytes::copy_from_slice(&key.public.public_key),
                })
                .collect(),
            one_time_kem: kem.into_iter().map(|key| kem_prekey(key.public)).collect(),
        }
    }

    fn address(&self, number: DeviceNumber) -> DeviceAddress {
        DeviceAddress::new(self.account(), number)
    }

    /// A token; the guest never connects with it.
    pub fn token(&mut self) -> Redact<[u8; 32]> {
        let mut token = [0; 32];
        self.rng.fill_bytes(&mut token);
        Redact::new(token)
    }
}

fn second() -> DeviceNumber {
    DeviceNumber::new(2).expect("2 is a device number")
}

fn kem_prekey(key: seal::KemPrekey) -> KemPrekey {
    KemPrekey {
        id: key.id,
        public_key: key.public_key.into(),
        signature: Bytes::copy_from_slice(&key.signature),
        last_resort: key.last_resort,
    }
}

impl Ask {
    /// The device whose keys are uploaded.
    pub const fn of(&self) -> MailboxId {
        self.of
    }

    /// The device list.
    pub const fn list(&self) -> &Bytes {
        &self.list
    }

    /// The keys.
    pub const fn keys(&self) -> &KeyUpload {
        &self.keys
    }

    /// Asks for a code.
    pub async fn begin(core: Arc<Core>, phone: PhoneNumber) -> Option<[u8; 16]> {
        Some(core.registration_begin(phone.e164(), PEER).await.ok()?.session)
    }

    /// Finishes the registration. Says whether it is done.
    pub async fn register(
        self,
        core: Arc<Core>,
        session: [u8; 16],
        code: String,
        token: Redact<[u8; 32]>,
    ) -> bool {
        let finish = Finish {
            session,
            code: Redact::new(code),
            device_list: self.list,
            keys: self.keys,
            token,
            replace: false,
        };
        core.registration_finish(finish, PEER).await.is_ok()
    }

    /// Stores the list, by a link if it has a second device, and uploads the keys. Says whether both are
    /// done. A link lives for minutes: each attempt has its own.
    pub async fn apply(self, core: Arc<Core>, attempt: u64) -> bool {
        let caller = |mailbox| Caller { mailbox, connection: 0 };
        let stored = match self.of == self.primary {
            true => core.handle(&caller(self.primary), Request::PutDeviceList(self.list)).await.is_ok(),
            false => self.clone().link(&core, attempt).await.is_some(),
        };
        let uploaded = core.handle(&caller(self.of), Request::UploadKeys(self.keys)).await;
        stored && uploaded.is_ok()
    }

    async fn link(self, core: &Core, attempt: u64) -> Option<()> {
        let list = DeviceList::verify(&self.list).expect("a list that the guest signed");
        let device = list.device(self.of.device).expect("the list of a link has its device");
        let (identity, key) = (*device.identity_key(), *device.device_key());
        let offer = LinkOffer::new(identity, key, self.of.registration, BASE_POINT, [1; 32]);
        let mut id = *self.of.account.as_bytes();
        id[..2].copy_from_slice(&self.of.registration.get().to_be_bytes()[2..]);
        id[2..10].copy_from_slice(&attempt.to_be_bytes());
        let (link, token) = (LinkId::from_bytes(id), Redact::new([1; 32]));
        let offer = Bytes::copy_from_slice(offer.as_bytes());
        let new = NewDevice { link, token: token.clone(), offer, keys: self.keys };
        core.link_begin(new, PEER).await.ok()?;
        let (caller, said) = (Caller { mailbox: self.primary, connection: 0 }, Bytes::from_static(b"sealed"));
        core.handle(&caller, Request::InviteLink { link, invitation: said.clone() }).await.ok()?;
        core.link_answer(link, &token, said.clone()).await.ok()?;
        let complete = Request::CompleteLink { link, device_list: self.list, completion: said };
        core.handle(&caller, complete).await.ok().map(drop)
    }
}
