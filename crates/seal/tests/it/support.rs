//! Two people with one device each, everything drawn from a seed.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use seal::memory::MemoryStore;
use seal::{
    Arrival, Body, Bundle, Content, DecryptError, DecryptFailure, KemPrekey, LocalDevice, NewPrekey,
    OneTimePrekey, Opened, Peer, SealError, Sealed, SignedPrekey, Text,
};
use signed::{AccountSecret, DeviceList, DeviceListDraft, DeviceSecret, IdentityKey, ListedDevice};
use types::{AccountId, DeviceAddress, DeviceNumber, MessageId, RegistrationId, Timestamp};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) account: AccountSecret,
    pub(crate) list: DeviceList,
    pub(crate) store: MemoryStore,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) now: Timestamp,
    pub(crate) local: LocalDevice,
    pub(crate) signed: NewPrekey<SignedPrekey>,
    pub(crate) last_resort: NewPrekey<KemPrekey>,
    one_time: Vec<NewPrekey<OneTimePrekey>>,
    one_time_kem: Vec<NewPrekey<KemPrekey>>,
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// The list of an account with these devices, in the order of their numbers.
pub(crate) fn list_of_all(account: &AccountSecret, version: u64, devices: &[&Party]) -> DeviceList {
    let listed = devices.iter().map(|party| {
        let DeviceAddress { account, device } = party.address();
        let secret = DeviceSecret::from_bytes(&[8 + device.get(); 32]);
        ListedDevice::sign(account, device, party.local.registration, *party.local.identity.public(), &secret)
    });
    let draft =
        DeviceListDraft { version, issued_at: NOW, devices: listed.collect(), sealed_names: Vec::new() };
    draft.sign(account).unwrap()
}

/// As many devices of one account, each with keys of its own and all on its list.
pub(crate) fn devices_of_one(seed: u64, count: u32) -> Vec<Party> {
    let account = Party::new(seed).account;
    let device = |number| {
        Party::device(
            account.clone(),
            DeviceNumber::new(number).unwrap(),
            rng(seed + 1_000 * u64::from(number)),
        )
    };
    let mut devices: Vec<Party> = (1..=count).map(device).collect();
    let list = list_of_all(&account, 1, &devices.iter().collect::<Vec<_>>());
    devices.iter_mut().for_each(|device| device.list = list.clone());
    devices
}

/// The list of an account with one device that has this identity.
pub(crate) fn list_of(
    account: &AccountSecret,
    registration: RegistrationId,
    identity: IdentityKey,
) -> DeviceList {
    let id = signed::account_id(&account.public());
    let device = DeviceSecret::from_bytes(&[9; 32]);
    let devices = vec![ListedDevice::sign(id, DeviceNumber::PRIMARY, registration, identity, &device)];
    let draft = DeviceListDraft { version: 1, issued_at: NOW, devices, sealed_names: Vec::new() };
    draft.sign(account).unwrap()
}

impl Party {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = rng(seed);
        let account = AccountSecret::random(&mut rng);
        Self::device(account, DeviceNumber::PRIMARY, rng)
    }

    /// One device of an account; its list names it as if it were the only one.
    fn device(account: AccountSecret, number: DeviceNumber, mut rng: ChaCha20Rng) -> Self {
        let secrets = seal::DeviceSecrets::generate(&mut rng);
        let id = signed::account_id(&account.public());
        let address = DeviceAddress::new(id, number);
        let list = list_of(&account, secrets.registration, *secrets.identity.public());
        let local = LocalDevice { address, registration: secrets.registration, identity: secrets.identity };
        let signed = seal::generate_signed(&local.identity, 1, NOW, &mut rng);
        let last_resort = seal::generate_last_resort(&local.identity, 1, NOW, &mut rng);
        let one_time = seal::generate_one_time(1, 8, &mut rng);
        let one_time_kem = seal::generate_kem_one_time(&local.identity, 2, 4, NOW, &mut rng);
        let mut store = MemoryStore::new(local.clone());
        store.insert_signed(&signed);
        store.insert_kem(&last_resort);
        one_time.iter().for_each(|prekey| store.insert_one_time(prekey));
        one_time_kem.iter().for_each(|prekey| store.insert_kem(prekey));
        Self { account, list, store, rng, now: NOW, local, signed, last_resort, one_time, one_time_kem }
    }

    pub(crate) fn with_store(&self, store: MemoryStore) -> Self {
        Self { store, ..self.clone() }
    }

    pub(crate) fn address(&self) -> DeviceAddress {
        self.local.address
    }

    pub(crate) fn id(&self) -> AccountId {
        self.local.address.account
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::on_list(&self.list, self.local.address.device).unwrap()
    }

    /// What a server gives to the first who asks.
    pub(crate) fn bundle(&mut self) -> Bundle {
        let (one_time, kem) = (self.one_time.pop().unwrap(), self.one_time_kem.pop().unwrap());
        Bundle { one_time: Some(one_time.public), kem: kem.public, ..self.bundle_without_one_time() }
    }

    /// What a server gives when its pool is empty, or after a broken session.
    pub(crate) fn bundle_without_one_time(&self) -> Bundle {
        Bundle {
            device: self.address(),
            registration: self.local.registration,
            signed: self.signed.public.clone(),
            kem: self.last_resort.public.clone(),
            one_time: None,
        }
    }

    /// Opens a session with another party's bundle.
    pub(crate) fn open_session(&mut self, bundle: Bundle, peer: &Peer) {
        let verified = seal::verify_bundle(peer, bundle).unwrap();
        seal::open_session(&mut self.store, &verified, self.now, &mut self.rng).unwrap();
    }

    pub(crate) fn content(&mut self, to: AccountId, text: &str) -> Content {
        Content {
            message_id: MessageId::new(self.now, &mut self.rng),
            conversation: signed::direct_conversation(self.id(), to),
            sent_at: self.now,
            sender: self.address(),
            recipient: Some(to),
            counter: 1,
            own_list: Some(seal::ListView { version: self.list.version(), hash: self.list.hash() }),
            recipient_list: None,
            group: None,
            expire_after_seconds: 0,
            sender_phone: None,
            original_stamp: None,
            body: Body::Text(Text::from(text)),
        }
    }

    pub(crate) fn seal(&mut self, to: &Peer, content: &Content) -> Result<Sealed, SealError> {
        seal::encrypt(&mut self.store, to, content, self.now, &mut self.rng)
    }

    pub(crate) fn seal_text(&mut self, to: &Peer, text: &str) -> Sealed {
        let content = self.content(to.address().account, text);
        self.seal(to, &content).unwrap()
    }

    pub(crate) fn arrival<'a>(&self, from: &Peer, sealed: &'a Sealed) -> Arrival<'a> {
        Arrival {
            from: from.address(),
            to: self.address(),
            kind: sealed.kind,
            ciphertext: &sealed.ciphertext,
            listed: Some(*from),
            group: None,
        }
    }

    /// Opens what a listed device sent; a refusal must leave no trace.
    pub(crate) fn open(&mut self, from: &Peer, sealed: &Sealed) -> Result<Opened, DecryptFailure> {
        let arrival = self.arrival(from, sealed);
        self.open_arrival(&arrival)
    }

    pub(crate) fn open_arrival(&mut self, arrival: &Arrival<'_>) -> Result<Opened, DecryptFailure> {
        let before = self.store.clone();
        match seal::decrypt(&mut self.store, arrival, &mut self.rng) {
            Ok(opened) => Ok(opened),
            Err(DecryptError::Refused(failure)) => {
                assert!(self.store.same_state(&before), "a refused message changed the state: {failure}");
                Err(failure)
            }
            Err(DecryptError::Store(error)) => panic!("the memory store does not fail: {error}"),
        }
    }

    pub(crate) fn open_text(&mut self, from: &Peer, sealed: &Sealed) -> Result<String, DecryptFailure> {
        let content = self.open(from, sealed)?.verify(Some(from))?;
        match content.body {
            Body::Text(text) => Ok(text.text),
            other => panic!("not a text: {other:?}"),
        }
    }

    pub(crate) fn draw(&mut self, below: usize) -> usize {
        (self.rng.next_u64() % below as u64) as usize
    }
}

/// Two parties, of whom the first has opened a session that was not used yet.
pub(crate) fn pair(seed: u64) -> (Party, Party) {
    let (mut alice, mut bob) = (Party::new(seed), Party::new(seed + 1_000_000));
    let bundle = bob.bundle();
    alice.open_session(bundle, &bob.peer());
    (alice, bob)
}

/// Two parties that have answered each other, so that neither sends prekey messages any more.
pub(crate) fn settled_pair(seed: u64) -> (Party, Party) {
    let (mut alice, mut bob) = pair(seed);
    exchange(&mut alice, &mut bob, "hello");
    exchange(&mut bob, &mut alice, "hello yourself");
    (alice, bob)
}

/// One message, delivered at once.
pub(crate) fn exchange(from: &mut Party, to: &mut Party, text: &str) {
    let sealed = from.seal_text(&to.peer(), text);
    assert_eq!(to.open_text(&from.peer(), &sealed).as_deref(), Ok(text));
}
