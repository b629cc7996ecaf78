//! A world of fakes, with as many nodes as a test starts, and people who register in it.

use server_core::{
    Config, Core, Finish, NewDevice, Ports, Registered, RegistrationError, Restoration, RestoreError,
};
use server_ports::{
    Caller, Clock, NodeInbox, Signal,
    fake::{
        FakeBlobs, FakeClock, FakeDirectory, FakeEntropy, FakeExchange, FakeGroupLog, FakeMailboxes,
        FakePusher, FakeTexter, FaultPlan, Mode, Setup,
    },
};
use signed::{
    AccountSecret, DeviceList, DeviceListDraft, DeviceSecret, IdentityKey, LinkOffer, ListedDevice,
    SessionProof, account_id,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake},
};
use types::{
    AccountId, DeviceAddress, DeviceNumber, EnvelopeId, LinkId, MailboxId, Millis, NodeId, PhoneNumber,
    Position, Redact, RegistrationId, Stamp, Timestamp,
};
use wire::{
    Authenticate, Code, EnvelopeKind, KemPrekey, KeyUpload, OneTimePrekey, Refusal, Request, Response,
    SealedFor, Send, SignedPrekey, Stale, Urgency, version,
};

pub const ORIGIN: &str = "https://chat.example.org";
pub const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

pub struct World {
    pub clock: FakeClock,
    pub directory: Arc<FakeDirectory>,
    pub groups: Arc<FakeGroupLog>,
    pub blobs: Arc<FakeBlobs>,
    pub mailboxes: Arc<FakeMailboxes>,
    pub exchange: Arc<FakeExchange>,
    pub pusher: Arc<FakePusher>,
    pub texter: Arc<FakeTexter>,
    pub core: Core,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// One node, with settings of its own.
    pub fn with(settings: impl FnOnce(&mut Config)) -> Self {
        Self::in_setup(Setup::default(), settings)
    }

    /// Stores that take up to so long, so that calls overlap.
    pub fn slow(seed: u64, delay: Millis) -> Self {
        let plan = FaultPlan { seed, store_delay_max: delay, ..FaultPlan::default() };
        Self::in_setup(Setup { plan, ..Setup::default() }, |_| ())
    }

    pub fn in_setup(setup: Setup, settings: impl FnOnce(&mut Config)) -> Self {
        let directory = Arc::new(FakeDirectory::new(&setup));
        let (groups, blobs) = (Arc::new(FakeGroupLog::new(&setup)), Arc::new(FakeBlobs::new(&setup)));
        let mailboxes = Arc::new(FakeMailboxes::new(Mode::Solo, &setup));
        let exchange = Arc::new(FakeExchange::new(&setup));
        let (pusher, texter) = (Arc::new(FakePusher::new()), Arc::new(FakeTexter::new(&setup)));
        let ports = Ports {
            directory: directory.clone(),
            groups: groups.clone(),
            blobs: blobs.clone(),
            mailboxes: mailboxes.clone(),
            exchange: exchange.clone(),
            pusher: pusher.clone(),
            texter: texter.clone(),
            clock: Arc::new(setup.clock.clone()),
            entropy: Arc::new(FakeEntropy::new(1)),
        };
        let mut config = Config::new(NodeId(1));
        settings(&mut config);
        let core = run_on(&setup.clock, Core::start(ports, config)).unwrap();
        Self { clock: setup.clock, directory, groups, blobs, mailboxes, exchange, pusher, texter, core }
    }

    /// Another node of the same service, whose clock shows `skew_ms` more.
    pub fn node(&self, number: u16, skew_ms: i64) -> Core {
        self.node_with(number, skew_ms, |_| ())
    }

    pub fn node_with(&self, number: u16, skew_ms: i64, settings: impl FnOnce(&mut Config)) -> Core {
        let ports = Ports {
            directory: self.directory.clone(),
            groups: self.groups.clone(),
            blobs: self.blobs.clone(),
            mailboxes: self.mailboxes.clone(),
            exchange: self.exchange.clone(),
            pusher: self.pusher.clone(),
            texter: self.texter.clone(),
            clock: Arc::new(self.clock.skewed(skew_ms)),
            entropy: Arc::new(FakeEntropy::new(number.into())),
        };
        let mut config = Config::new(NodeId(number));
        settings(&mut config);
        self.run(Core::start(ports, config)).unwrap()
    }

    /// Runs a future to its end, moving time whenever it waits for it.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        run_on(&self.clock, future)
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn ask(&self, caller: &Caller, request: Request) -> Result<Response, Refusal> {
        self.run(self.core.handle(caller, request))
    }

    pub fn register(&self, number: u32) -> Person {
        let person = Person::new(number);
        let registered = self.finish(&person, self.begin(&person), |_| ()).unwrap();
        assert_eq!(registered.account, person.id());
        person
    }

    /// Asks for a code; answers session and code.
    pub fn begin(&self, person: &Person) -> ([u8; 16], String) {
        let sent = self.run(self.core.registration_begin(person.phone.e164(), HOME)).unwrap();
        (sent.session, self.texter.newest_code(&person.phone).unwrap())
    }

    pub fn finish(
        &self,
        person: &Person,
        (session, code): ([u8; 16], String),
        change: impl FnOnce(&mut Finish),
    ) -> Result<Registered, RegistrationError> {
        let mut finish = person.finishing(session, &code);
        change(&mut finish);
        self.run(self.core.registration_finish(finish, HOME))
    }

    /// Adds the last of these devices to the account, by a link.
    pub fn link(&self, person: &Person, version: u64, numbers: &[u32]) {
        let list = person.list(version, numbers);
        let device = person.linked(*numbers.last().unwrap());
        self.link_as(person, &list, device).unwrap();
    }

    /// Links a device with a list of this form.
    pub fn link_as(
        &self,
        person: &Person,
        list: &DeviceList,
        device: MailboxId,
    ) -> Result<Response, Refusal> {
        let link = person.begun_link(self, device);
        self.ask(&person.caller(), invite(link))?;
        self.run(self.core.link_answer(link, &person.token_of(device), b"answer"[..].into())).unwrap();
        self.ask(&person.caller(), complete(link, list))
    }

    /// Restores the account with a list that names a new device 1.
    pub fn restore(&self, person: &Person, list: &DeviceList) -> Result<MailboxId, RestoreError> {
        let restoration = Restoration {
            device_list: list.as_bytes().to_vec().into(),
            token: person.token.clone(),
            keys: keys(1..=5),
        };
        self.run(self.core.restore(restoration, HOME))
    }

    pub fn send(&self, from: &Person, send: Send) -> Result<Stamp, Refusal> {
        accepted(self.ask(&from.caller(), Request::Send(send)))
    }

    /// The envelopes in a mailbox, in the order of positions.
    pub fn mailbox(&self, mailbox: MailboxId) -> Vec<(Position, wire::Envelope)> {
        let caller = Caller { mailbox, connection: 1 };
        let page = self.run(self.core.read_mailbox(&caller, Position::ZERO, 1_000, 1 << 30)).unwrap();
        let row =
            |row: server_ports::mailboxes::Row| (row.position, wire::Envelope::decode(row.envelope).unwrap());
        page.rows.into_iter().map(row).collect()
    }

    /// What reaches the sessions of node 1 from now on.
    pub fn listen(&self) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        server_ports::Exchange::subscribe(&*self.exchange, NodeId(1), inbox.clone());
        inbox
    }

    /// The person's device has a socket on node 1.
    pub fn connect(&self, person: &Person, number: u64) -> Caller {
        let nonce = [7; 32];
        let admitted = self.run(self.core.authenticate(&person.proof(number, nonce), nonce)).unwrap();
        self.run(self.core.opened(&admitted.caller)).unwrap();
        admitted.caller
    }
}

pub fn run_on<T>(clock: &FakeClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = woken.clone().into();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        // One part of it may have made way for another.
        if woken.0.swap(false, Ordering::Relaxed) {
            continue;
        }
        clock.advance_to(clock.next_timer().expect("a future that waits, waits for time"));
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn accepted(answer: Result<Response, Refusal>) -> Result<Stamp, Refusal> {
    match answer? {
        Response::Accepted { stamp, skipped } => {
            assert_eq!(skipped, []);
            Ok(stamp)
        }
        other => panic!("a send was answered {other:?}"),
    }
}

pub fn refused<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> Code {
    answer.unwrap_err().code
}

pub fn stale<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> Stale {
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.code, Code::StaleDevices);
    *refusal.stale.unwrap()
}

/// Signals with the device that each reached.
#[derive(Default)]
pub struct Inbox(Mutex<Vec<(MailboxId, u64, Signal)>>);

impl Inbox {
    pub fn take(&self) -> Vec<(MailboxId, u64, Signal)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl NodeInbox for Inbox {
    fn deliver(&self, device: MailboxId, connection: u64, signal: Signal) {
        self.0.lock().unwrap().push((device, connection, signal));
    }
}

/// Somebody with an account key and a primary device; linked devices derive from it.
pub struct Person {
    pub account: AccountSecret,
    pub device: DeviceSecret,
    pub phone: PhoneNumber,
    pub token: Redact<[u8; 32]>,
}

impl Person {
    /// Keys and phone number derive from a small number.
    pub fn new(number: u32) -> Self {
        let mut seed = [0x31; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let account = AccountSecret::from_bytes(&seed);
        seed[4] = 0x32;
        Self {
            account,
            device: DeviceSecret::from_bytes(&seed),
            phone: format!("+1555200{:04}", number % 10_000).parse().unwrap(),
            token: Redact::new(seed),
        }
    }

    pub fn id(&self) -> AccountId {
        account_id(&self.account.public())
    }

    pub fn mailbox(&self) -> MailboxId {
        self.linked(1)
    }

    /// The mailbox of device `number`.
    pub fn linked(&self, number: u32) -> MailboxId {
        self.linked_as(number, 1_000 + number)
    }

    pub fn linked_as(&self, number: u32, registration: u32) -> MailboxId {
        DeviceAddress::new(self.id(), DeviceNumber::new(number).unwrap())
            .mailbox(RegistrationId::new(registration).unwrap())
    }

    pub fn caller(&self) -> Caller {
        Caller { mailbox: self.mailbox(), connection: 1 }
    }

    pub fn listed(&self, mailbox: MailboxId) -> ListedDevice {
        let secret = self.secret_of(mailbox);
        ListedDevice::sign(self.id(), mailbox.device, mailbox.registration, identity(mailbox), &secret)
    }

    pub fn secret_of(&self, mailbox: MailboxId) -> DeviceSecret {
        match mailbox.device {
            DeviceNumber::PRIMARY => self.device.clone(),
            device => DeviceSecret::from_bytes(&[device.get(); 32]),
        }
    }

    pub fn token_of(&self, mailbox: MailboxId) -> Redact<[u8; 32]> {
        match mailbox.device {
            DeviceNumber::PRIMARY => self.token.clone(),
            device => Redact::new([device.get() ^ 0x80; 32]),
        }
    }

    /// What a device offers that wants to be linked.
    pub fn offer(&self, device: MailboxId) -> NewDevice {
        let mut seed = *self.id().as_bytes();
        seed[0] = device.device.get();
        seed[1..5].copy_from_slice(&device.registration.get().to_be_bytes());
        let mut ephemeral_key = [0; 32];
        ephemeral_key.copy_from_slice(&point([77; 32])[1..]);
        let device_key = self.secret_of(device).public();
        let offer =
            LinkOffer::new(identity(device), device_key, device.registration, ephemeral_key, [78; 32]);
        NewDevice {
            link: LinkId::from_bytes(seed),
            token: self.token_of(device),
            offer: offer.as_bytes().to_vec().into(),
            keys: keys(1..=5),
        }
    }

    /// The device shows its code.
    pub fn begun_link(&self, world: &World, device: MailboxId) -> LinkId {
        let offer = self.offer(device);
        let link = offer.link;
        world.run(world.core.link_begin(offer, HOME)).unwrap();
        link
    }

    pub fn list_of(&self, version: u64, mailboxes: &[MailboxId]) -> DeviceList {
        let devices = mailboxes.iter().map(|mailbox| self.listed(*mailbox)).collect();
        let issued_at = Timestamp::from_millis(1_767_225_600_000);
        DeviceListDraft { version, issued_at, devices, sealed_names: Vec::new() }.sign(&self.account).unwrap()
    }

    /// A list of the devices with these numbers.
    pub fn list(&self, version: u64, numbers: &[u32]) -> DeviceList {
        let mailboxes: Vec<_> = numbers.iter().map(|number| self.linked(*number)).collect();
        self.list_of(version, &mailboxes)
    }

    pub fn put_list(&self, version: u64, numbers: &[u32]) -> Request {
        Request::PutDeviceList(self.list(version, numbers).as_bytes().to_vec().into())
    }

    pub fn finishing(&self, session: [u8; 16], code: &str) -> Finish {
        Finish {
            session,
            code: Redact::new(code.to_owned()),
            device_list: self.list(1, &[1]).as_bytes().to_vec().into(),
            keys: keys(1..=5),
            token: self.token.clone(),
            replace: false,
        }
    }

    pub fn proof(&self, connection_number: u64, nonce: [u8; 32]) -> Authenticate {
        self.proof_of(self.mailbox(), connection_number, nonce)
    }

    pub fn proof_of(&self, mailbox: MailboxId, connection_number: u64, nonce: [u8; 32]) -> Authenticate {
        let address = mailbox.address();
        let proof = SessionProof {
            version: version::CURRENT,
            origin: ORIGIN,
            account: address.account,
            device: address.device,
            connection_number,
            nonce,
        };
        Authenticate {
            version: version::CURRENT,
            origin: ORIGIN.to_owned(),
            address,
            connection_number,
            token: self.token_of(mailbox),
            signature: *proof.sign(&self.secret_of(mailbox)).as_bytes(),
        }
    }

    /// A normal message to the primary device of somebody.
    pub fn message(&self, to: &Person, id: u8) -> Send {
        send_to(to.id(), id, &[to.mailbox()])
    }
}

pub fn invite(link: LinkId) -> Request {
    Request::InviteLink { link, invitation: b"invitation"[..].into() }
}

pub fn complete(link: LinkId, list: &DeviceList) -> Request {
    let device_list = list.as_bytes().to_vec().into();
    Request::CompleteLink { link, device_list, completion: b"completion"[..].into() }
}

pub fn send_to(recipient: AccountId, id: u8, devices: &[MailboxId]) -> Send {
    let sealed =
        |to: &MailboxId| SealedFor { to: *to, kind: EnvelopeKind::Ratchet, ciphertext: vec![id; 40].into() };
    Send {
        // A high first byte keeps it clear of the planted fault that loses some ids.
        envelope_id: EnvelopeId::from_bytes([id | 0x80; 16]),
        recipient,
        urgency: Urgency::Normal,
        ttl: None,
        sealed: devices.iter().map(sealed).collect(),
        highest_stamp: None,
    }
}

fn identity(mailbox: MailboxId) -> IdentityKey {
    let mut seed = [mailbox.device.get(); 32];
    seed[..16].copy_from_slice(mailbox.account.as_bytes());
    seed[16..20].copy_from_slice(&mailbox.registration.get().to_be_bytes());
    IdentityKey::from_slice(&point(seed)).unwrap()
}

pub fn point(seed: [u8; 32]) -> [u8; 33] {
    let mut key = [5; 33];
    key[1..].copy_from_slice(&x25519_dalek::x25519(seed, x25519_dalek::X25519_BASEPOINT_BYTES));
    key
}

/// Signed and last-resort prekeys, and one-time keys of both kinds with these ids.
pub fn keys(ids: std::ops::RangeInclusive<u32>) -> KeyUpload {
    KeyUpload {
        signed_prekey: Some(SignedPrekey {
            id: 1,
            public_key: point([200; 32]).to_vec().into(),
            signature: vec![9; 64].into(),
        }),
        last_resort: Some(kem(900_000, true)),
        one_time: ids.clone().map(one_time).collect(),
        one_time_kem: ids.map(|id| kem(id, false)).collect(),
    }
}

pub fn one_time(id: u32) -> OneTimePrekey {
    let mut seed = [1; 32];
    seed[..4].copy_from_slice(&id.to_be_bytes());
    OneTimePrekey { id, public_key: point(seed).to_vec().into() }
}

pub fn kem(id: u32, last_resort: bool) -> KemPrekey {
    let mut public_key = vec![0x08; 1_569];
    public_key[1..5].copy_from_slice(&id.to_be_bytes());
    KemPrekey { id, public_key: public_key.into(), signature: vec![9; 64].into(), last_resort }
}
