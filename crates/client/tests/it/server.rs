//! A server in memory: enough of the protocol to talk to engines, and a witness of what they do.

use crate::answers::{
    CODE, ORIGIN, answer, binary, check_named, envelope, hello, is_signed, made, next_stamp, problem, take,
};
use bytes::Bytes;
use client::{HttpAnswer, HttpRequest};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use signed::DeviceList;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Deref, DerefMut},
};
use types::{
    AccountId, DeviceAddress, DeviceNumber, EnvelopeId, IncarnationId, MailboxId, PhoneNumber, Position,
    Stamp, Timestamp,
};
use wire::{
    AccountKeys, AccountList, Authenticated, Bundle, ClientFrame, Code, Delivery, Envelope, FetchKeys,
    KemPrekey, KeyCounts, KeyUpload, OneTimePrekey, Push, Refusal, Request, Response, Send, ServerFrame,
    SignedPrekey,
};

/// Rows that a session may leave unacknowledged.
pub const WINDOW: usize = 1_000;

/// An account with its devices. What is said of the account is said of its primary device.
#[derive(Clone)]
pub struct Account {
    pub list: DeviceList,
    pub closed: bool,
    pub devices: BTreeMap<DeviceNumber, Device>,
}

impl Deref for Account {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.devices[&DeviceNumber::PRIMARY]
    }
}

impl DerefMut for Account {
    fn deref_mut(&mut self) -> &mut Device {
        self.devices.get_mut(&DeviceNumber::PRIMARY).unwrap()
    }
}

#[derive(Clone)]
pub struct Device {
    pub token: [u8; 32],
    pub signed: SignedPrekey,
    pub last_resort: KemPrekey,
    pub one_time: VecDeque<OneTimePrekey>,
    pub one_time_kem: VecDeque<KemPrekey>,
    pub mailbox: BTreeMap<u64, Bytes>,
    pub last_connection: u64,
    pub uploads: u32,
}

/// The session of one device.
pub struct Session {
    pub device: Option<DeviceAddress>,
    nonce: [u8; 32],
    /// Positions up to this one were delivered in this session.
    delivered: u64,
    drained: bool,
}

#[derive(Clone)]
pub struct Recorded {
    pub stamp: Stamp,
    pub send: Send,
}

pub struct Server {
    pub now: Timestamp,
    pub incarnation: IncarnationId,
    pub accounts: BTreeMap<AccountId, Account>,
    pub numbers: BTreeMap<PhoneNumber, AccountId>,
    pub record: BTreeMap<(DeviceAddress, EnvelopeId), Recorded>,
    /// Refusals that the next requests of this name get, before anything is done.
    pub refusals: VecDeque<(&'static str, Refusal)>,
    /// Do what is asked, and answer so: the outcome is unknown to the client.
    pub lies: VecDeque<(&'static str, Refusal)>,
    /// Drop this many envelopes silently, after accepting them.
    pub swallow: usize,
    /// Every ciphertext that ever came, by sender: none may come under two envelope ids.
    pub witnessed: BTreeMap<Bytes, EnvelopeId>,
    pub groups: crate::group_server::Groups,
    pub served_one_time: BTreeSet<(DeviceAddress, u32)>,
    pub sends: usize,
    /// How many times somebody asked for keys.
    pub key_fetches: usize,
    /// The most sends of one device that waited for an answer at a time.
    pub unanswered_max: usize,
    next_position: u64,
    clock: u64,
    registration: Option<PhoneNumber>,
    rng: ChaCha20Rng,
}

impl Server {
    pub fn new(now: Timestamp) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(99);
        Self {
            now,
            incarnation: IncarnationId::random(&mut rng),
            accounts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            record: BTreeMap::new(),
            refusals: VecDeque::new(),
            lies: VecDeque::new(),
            swallow: 0,
            witnessed: BTreeMap::new(),
            groups: crate::group_server::Groups::default(),
            served_one_time: BTreeSet::new(),
            sends: 0,
            key_fetches: 0,
            unanswered_max: 0,
            next_position: 1,
            clock: 0,
            registration: None,
            rng,
        }
    }

    pub fn restore_from_backup(&mut self) {
        self.incarnation = IncarnationId::random(&mut self.rng);
        for account in self.accounts.values_mut() {
            account.one_time.clear();
            account.one_time_kem.clear();
        }
    }

    // ---- HTTP

    pub fn http(&mut self, request: &HttpRequest) -> HttpAnswer {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(request.origin, ORIGIN);
        if request.path == "/v1/registrations" {
            self.registration = Some(body["phone"].as_str().unwrap().parse().unwrap());
            return answer(201, &serde_json::json!({ "session": "5e55107", "expires_in": 600 }));
        }
        assert_eq!(request.path, "/v1/registrations/5e55107/account");
        self.make_account(&body)
    }

    fn make_account(&mut self, body: &serde_json::Value) -> HttpAnswer {
        if body["code"] != CODE {
            return problem(403, "wrong_code");
        }
        let phone = self.registration.clone().unwrap();
        let list = DeviceList::verify(&binary(body, "device_list")).unwrap();
        assert_eq!(binary(body, "account_key"), list.account_key().as_bytes());
        let account = list.account();
        let holder = self.numbers.get(&phone).copied().filter(|holder| *holder != account);
        if let Some(holder) = holder {
            if body["replace"] != true {
                return problem(409, "number_taken");
            }
            let old = self.accounts.get_mut(&holder).unwrap();
            old.closed = true;
            for device in old.devices.values_mut() {
                device.mailbox.clear();
            }
        }
        let keys = KeyUpload::decode(binary(body, "keys").into()).unwrap();
        self.numbers.insert(phone, account);
        let registration = list.devices()[0].registration();
        let device = Device::new(binary(body, "token").try_into().unwrap(), keys);
        let devices = BTreeMap::from([(DeviceNumber::PRIMARY, device)]);
        self.accounts.entry(account).or_insert(Account { list, closed: false, devices });
        made(account, registration)
    }

    // ---- sessions

    pub fn connect(&mut self) -> (Session, ServerFrame) {
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        let session = Session { device: None, nonce, delivered: 0, drained: false };
        (session, hello(nonce, self.now, self.incarnation))
    }

    pub fn ask(&mut self, session: &mut Session, frame: ClientFrame) -> ServerFrame {
        let name = frame.request.name();
        if let Some(refusal) = take(&mut self.refusals, name) {
            return ServerFrame::Answer { id: frame.id, result: Err(refusal) };
        }
        let result = self.serve(session, frame.request);
        if let Some(refusal) = take(&mut self.lies, name) {
            return ServerFrame::Answer { id: frame.id, result: Err(refusal) };
        }
        ServerFrame::Answer { id: frame.id, result }
    }

    /// Rows that this session was not told of yet, then once that it is drained.
    pub fn deliver(&mut self, session: &mut Session) -> Vec<ServerFrame> {
        let Some(device) = session.device else { return Vec::new() };
        let devices = &self.accounts[&device.account].devices;
        let Some(mailbox) = devices.get(&device.device).map(|device| &device.mailbox) else {
            return Vec::new();
        };
        let mut frames = Vec::new();
        let unacknowledged = mailbox.range(..=session.delivered).count();
        let rows: Vec<Delivery> = mailbox
            .range(session.delivered + 1..)
            .take(WINDOW.saturating_sub(unacknowledged))
            .map(|(position, envelope)| Delivery {
                position: Position::from_u128((*position).into()),
                envelope: envelope.clone(),
            })
            .collect();
        let is_last = mailbox.range(session.delivered + 1..).count() == rows.len();
        session.delivered = rows.last().map_or(session.delivered, |row| row.position.as_u128() as u64);
        for rows in rows.chunks(3) {
            frames.push(ServerFrame::Push(Push::Deliver(rows.to_vec())));
        }
        if is_last && !session.drained {
            session.drained = true;
            frames.push(ServerFrame::Push(Push::Drained));
        }
        frames
    }

    /// Puts an envelope into a mailbox, as only a server can.
    pub fn inject(&mut self, to: AccountId, envelope: &Envelope) {
        let position = self.next_position;
        self.next_position += 1;
        let devices = &mut self.accounts.get_mut(&to).unwrap().devices;
        if let Some(device) = devices.get_mut(&envelope.to.device) {
            device.mailbox.insert(position, envelope.encode());
        }
    }

    pub fn mailbox_of(&self, account: AccountId) -> MailboxId {
        self.accounts[&account].list.mailboxes().next().unwrap()
    }

    pub fn mailboxes_of(&self, account: AccountId) -> Vec<MailboxId> {
        self.accounts[&account].list.mailboxes().collect()
    }

    fn serve(&mut self, session: &mut Session, request: Request) -> Result<Response, Refusal> {
        if let Request::Authenticate(proof) = request {
            return self.authenticate(session, &proof);
        }
        let me = session.device.ok_or(Code::Unauthenticated)?;
        let device = self.accounts.get_mut(&me.account).unwrap().devices.get_mut(&me.device);
        let device = device.ok_or(Code::Revoked)?;
        match request {
            Request::Send(send) => self.send(me, send),
            Request::Ack(positions) => {
                for position in positions {
                    device.mailbox.remove(&u64::try_from(position.as_u128()).unwrap());
                }
                Ok(Response::Done)
            }
            Request::FetchKeys(fetch) => {
                self.key_fetches += 1;
                Ok(Response::Keys(
                    fetch.accounts.iter().map(|account| self.take_keys(me, *account, &fetch)).collect(),
                ))
            }
            Request::UploadKeys(upload) => {
                device.upload(upload);
                Ok(Response::Done)
            }
            Request::KeyCount => Ok(Response::KeyCounts(device.counts())),
            Request::GetDeviceLists(accounts) => {
                Ok(Response::DeviceLists(accounts.iter().map(|account| self.list(*account)).collect()))
            }
            Request::PutDeviceList(bytes) => {
                let list = DeviceList::verify(&bytes).map_err(|_| Code::BadDeviceList)?;
                let account = self.accounts.get_mut(&me.account).unwrap();
                account.devices.retain(|number, _| list.device(*number).is_some());
                account.list = list;
                Ok(Response::Done)
            }
            Request::Lookup { numbers, .. } => Ok(Response::LookupResult(
                numbers.iter().map(|number| self.numbers.get(number).copied()).collect(),
            )),
            Request::GetBlob(blob) => {
                Ok(Response::BlobTicket(wire::BlobTicket { blob, url: "/blob".to_owned() }))
            }
            Request::SendGroup(send) => self.send_group(me, &send),
            Request::ApplyGroup { operation, highest_stamp } => {
                self.apply_group(me.account, &operation, highest_stamp)
            }
            Request::GetGroup { group, from_epoch, link_signature } => {
                self.get_group(me.account, group, from_epoch, link_signature)
            }
            Request::Sync => Ok(Response::Done),
            _ => Err(Code::Unsupported.into()),
        }
    }

    fn authenticate(
        &mut self,
        session: &mut Session,
        proof: &wire::Authenticate,
    ) -> Result<Response, Refusal> {
        let account = self.accounts.get_mut(&proof.address.account).ok_or(Code::Unauthenticated)?;
        let device = account.list.device(proof.address.device).ok_or(Code::Revoked)?;
        let valid = is_signed(proof, session.nonce, device);
        let record = account.devices.get_mut(&proof.address.device).ok_or(Code::Revoked)?;
        if !valid || *proof.token.expose() != record.token || proof.origin != ORIGIN {
            return Err(Code::Unauthenticated.into());
        }
        if account.closed {
            return Err(Code::Revoked.into());
        }
        if proof.connection_number <= record.last_connection {
            return Err(Code::Cloned.into());
        }
        record.last_connection = proof.connection_number;
        session.device = Some(proof.address);
        Ok(Response::Authenticated(Authenticated {
            version: proof.version,
            registration: device.registration(),
            device_list_version: account.list.version(),
        }))
    }

    fn send(&mut self, from: DeviceAddress, send: Send) -> Result<Response, Refusal> {
        self.sends += 1;
        for sealed in &send.sealed {
            let before = self.witnessed.insert(sealed.ciphertext.clone(), send.envelope_id);
            assert!(
                before.is_none_or(|before| before == send.envelope_id),
                "a ciphertext under two envelope ids"
            );
        }
        let key = (from, send.envelope_id);
        if let Some(recorded) = self.record.get(&key) {
            assert_eq!(recorded.send.sealed, send.sealed, "the same envelope id has the same bytes");
            return Ok(Response::Accepted { stamp: recorded.stamp, skipped: Vec::new() });
        }
        let recipient = self.accounts.get(&send.recipient).ok_or(Code::NoSuchAccount)?;
        if recipient.closed {
            return Err(Code::AccountClosed.into());
        }
        check_named(&send, from, &recipient.list, &self.accounts[&from.account].list)?;
        let stamp = self.next_stamp(send.highest_stamp);
        if self.swallow > 0 {
            self.swallow -= 1;
        } else {
            self.append(from, &send, stamp);
        }
        self.record.insert(key, Recorded { stamp, send });
        Ok(Response::Accepted { stamp, skipped: Vec::new() })
    }

    fn append(&mut self, from: DeviceAddress, send: &Send, stamp: Stamp) {
        for sealed in &send.sealed {
            self.inject(sealed.to.account, &envelope(send, sealed, from, stamp));
        }
    }

    /// The next stamp of this server's clock, above what the sender has seen.
    pub fn next_stamp(&mut self, seen: Option<Stamp>) -> Stamp {
        next_stamp(&mut self.clock, self.now, seen)
    }

    fn take_keys(&mut self, by: DeviceAddress, of: AccountId, fetch: &FetchKeys) -> AccountKeys {
        let list = self.list(of);
        let mut bundles = Vec::new();
        if let Some(account) = self.accounts.get_mut(&of).filter(|account| !account.closed) {
            for listed in account.list.devices() {
                let address = DeviceAddress::new(of, listed.number());
                if address == by || fetch.device.is_some_and(|only| only != listed.number()) {
                    continue;
                }
                let Some(device) = account.devices.get_mut(&listed.number()) else { continue };
                let (one_time, kem) = if fetch.reset {
                    (None, None)
                } else {
                    (device.one_time.pop_front(), device.one_time_kem.pop_front())
                };
                for id in one_time.iter().map(|key| key.id).chain(kem.iter().map(|key| key.id)) {
                    assert!(
                        self.served_one_time.insert((address, id)),
                        "a one-time prekey was uploaded twice"
                    );
                }
                bundles.push(Bundle {
                    device: listed.number(),
                    registration: listed.registration(),
                    signed_prekey: device.signed.clone(),
                    kem_prekey: kem.unwrap_or_else(|| device.last_resort.clone()),
                    one_time_prekey: one_time,
                });
            }
        }
        AccountKeys { account: of, device_list: list.device_list, bundles, closed: list.closed }
    }

    fn list(&self, of: AccountId) -> AccountList {
        match self.accounts.get(&of) {
            None => AccountList { account: of, device_list: Bytes::new(), closed: false },
            Some(account) if account.closed => {
                AccountList { account: of, device_list: Bytes::new(), closed: true }
            }
            Some(account) => AccountList {
                account: of,
                device_list: account.list.as_bytes().to_vec().into(),
                closed: false,
            },
        }
    }

    pub fn counts(&self, me: AccountId) -> KeyCounts {
        self.accounts[&me].counts()
    }
}

impl Device {
    pub fn new(token: [u8; 32], keys: KeyUpload) -> Self {
        Self {
            token,
            signed: keys.signed_prekey.unwrap(),
            last_resort: keys.last_resort.unwrap(),
            one_time: keys.one_time.into(),
            one_time_kem: keys.one_time_kem.into(),
            mailbox: BTreeMap::new(),
            last_connection: 0,
            uploads: 0,
        }
    }

    fn upload(&mut self, upload: KeyUpload) {
        self.uploads += 1;
        if let Some(signed) = upload.signed_prekey {
            self.signed = signed;
        }
        if let Some(last_resort) = upload.last_resort {
            self.last_resort = last_resort;
        }
        self.one_time.extend(upload.one_time);
        self.one_time_kem.extend(upload.one_time_kem);
    }

    fn counts(&self) -> KeyCounts {
        KeyCounts { one_time: self.one_time.len() as u32, one_time_kem: self.one_time_kem.len() as u32 }
    }
}
