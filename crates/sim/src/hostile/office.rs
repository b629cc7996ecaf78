//! An honest post office in memory, small enough that a thousand schedules take seconds: accounts and their
//! device lists, prekeys, mailboxes, stamps. (Groups: [`super::groups`].)
//!
//! Owns: what an honest server would know. Every list that an account ever signed is kept, so that a liar can
//! show an old one.
//! Must not know: who lies ([`super::server`]), engines.

use super::{groups::Group, links::Link};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;
use signed::{DeviceList, SessionProof, Signature};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::{
    AccountId, DeviceNumber, EnvelopeId, GroupId, IncarnationId, LinkId, MailboxId, NodeId, PhoneNumber,
    Stamp, Timestamp,
};
use wire::{
    AccountKeys, AccountList, Authenticate, Authenticated, Bundle, Code, Envelope, FetchKeys, KemPrekey,
    KeyCounts, KeyUpload, OneTimePrekey, Refusal, Request, Response, Send, SignedPrekey, Stale,
};

/// The origin that every engine believes it dials.
pub const ORIGIN: &str = "https://waxwing.example";

/// One account.
pub struct Account {
    /// Its device lists, oldest first.
    pub lists: Vec<DeviceList>,
    /// Its devices by number.
    pub desks: BTreeMap<DeviceNumber, Desk>,
}

/// What the office keeps of one device.
#[derive(Clone)]
pub struct Desk {
    /// Authenticates the device.
    pub token: [u8; 32],
    /// Its current signed prekey.
    pub signed: SignedPrekey,
    /// Its current last-resort prekey.
    pub last_resort: KemPrekey,
    /// Its classical one-time prekeys.
    pub one_time: VecDeque<OneTimePrekey>,
    /// Its post-quantum one-time prekeys.
    pub one_time_kem: VecDeque<KemPrekey>,
    /// The number of its last connection.
    pub last_connection: u64,
}

/// What became of a request.
pub struct Served {
    /// The answer.
    pub response: Response,
    /// Rows that an honest server would write now.
    pub rows: Vec<Envelope>,
}

impl From<Response> for Served {
    fn from(response: Response) -> Self {
        Self { response, rows: Vec::new() }
    }
}

/// The office.
pub struct Office {
    /// Its clock, which is right.
    pub now: Timestamp,
    /// Accounts.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Whose number it is.
    pub numbers: BTreeMap<PhoneNumber, AccountId>,
    /// Rows by position.
    pub mailboxes: BTreeMap<MailboxId, BTreeMap<u64, Bytes>>,
    /// Groups.
    pub groups: BTreeMap<GroupId, Group>,
    /// Links.
    pub links: BTreeMap<LinkId, Link>,
    /// Devices that were removed are served as if they had not been.
    pub serves_formers: bool,
    /// Which life of its database it is.
    pub incarnation: IncarnationId,
    record: BTreeMap<(MailboxId, EnvelopeId), Stamp>,
    next_position: u64,
    stamp_clock: u64,
}

impl Account {
    /// The list in force.
    ///
    /// # Panics
    /// Never: an account begins with a list.
    pub fn list(&self) -> &DeviceList {
        self.lists.last().expect("an account begins with a list")
    }

    /// The newest list that has this device.
    fn last_list_with(&self, device: DeviceNumber) -> Option<&DeviceList> {
        self.lists.iter().rev().find(|list| list.device(device).is_some())
    }
}

impl Desk {
    /// What a device uploads when it registers.
    pub fn new(token: [u8; 32], keys: KeyUpload) -> Option<Self> {
        Some(Self {
            token,
            signed: keys.signed_prekey?,
            last_resort: keys.last_resort?,
            one_time: keys.one_time.into(),
            one_time_kem: keys.one_time_kem.into(),
            last_connection: 0,
        })
    }

    fn take(&mut self, device: &signed::ListedDevice, reset: bool) -> Bundle {
        let (one_time, kem) =
            if reset { (None, None) } else { (self.one_time.pop_front(), self.one_time_kem.pop_front()) };
        Bundle {
            device: device.number(),
            registration: device.registration(),
            signed_prekey: self.signed.clone(),
            kem_prekey: kem.unwrap_or_else(|| self.last_resort.clone()),
            one_time_prekey: one_time,
        }
    }

    fn upload(&mut self, keys: KeyUpload) {
        self.signed = keys.signed_prekey.unwrap_or_else(|| self.signed.clone());
        self.last_resort = keys.last_resort.unwrap_or_else(|| self.last_resort.clone());
        self.one_time.extend(keys.one_time);
        self.one_time_kem.extend(keys.one_time_kem);
    }

    fn counts(&self) -> KeyCounts {
        KeyCounts { one_time: self.one_time.len() as u32, one_time_kem: self.one_time_kem.len() as u32 }
    }
}

impl Office {
    /// An office without accounts.
    pub fn new(now: Timestamp, rng: &mut ChaCha20Rng) -> Self {
        Self {
            now,
            accounts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            groups: BTreeMap::new(),
            links: BTreeMap::new(),
            serves_formers: false,
            incarnation: IncarnationId::random(rng),
            record: BTreeMap::new(),
            next_position: 1,
            stamp_clock: 0,
        }
    }

    /// A nonce to be signed.
    pub fn nonce(rng: &mut ChaCha20Rng) -> [u8; 32] {
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        nonce
    }

    /// Who proves to be on the other end.
    pub fn authenticate(
        &mut self,
        proof: &Authenticate,
        nonce: [u8; 32],
    ) -> Result<(MailboxId, Response), Refusal> {
        let address = proof.address;
        let account = self.accounts.get_mut(&address.account).ok_or(Code::Unauthenticated)?;
        let on_newest = account.list().device(address.device);
        let list = match on_newest {
            None if self.serves_formers => account.last_list_with(address.device).ok_or(Code::Revoked)?,
            None => return Err(Code::Revoked.into()),
            Some(_) => account.list(),
        };
        let listed = list.device(address.device).ok_or(Code::Revoked)?;
        let claimed = SessionProof {
            version: proof.version,
            origin: &proof.origin,
            account: address.account,
            device: address.device,
            connection_number: proof.connection_number,
            nonce,
        };
        let signature = Signature::from_slice(&proof.signature).map_err(|_| Code::Unauthenticated)?;
        let is_signed = claimed.verify(listed.device_key(), &signature) && proof.origin == ORIGIN;
        let (registration, version) = (listed.registration(), list.version());
        let desk = account.desks.get_mut(&address.device).ok_or(Code::Revoked)?;
        if !is_signed || *proof.token.expose() != desk.token {
            return Err(Code::Unauthenticated.into());
        }
        if proof.connection_number <= desk.last_connection {
            return Err(Code::Cloned.into());
        }
        desk.last_connection = proof.connection_number;
        let authenticated =
            Authenticated { version: proof.version, registration, device_list_version: version };
        Ok((address.mailbox(registration), Response::Authenticated(authenticated)))
    }

    /// Serves a request as an honest server does.
    pub fn serve(&mut self, caller: MailboxId, request: Request) -> Result<Served, Refusal> {
        Ok(match request {
            Request::Send(send) => return self.send(caller, &send),
            Request::Ack(positions) => {
                let mailbox = self.mailboxes.entry(caller).or_default();
                mailbox
                    .retain(|position, _| !positions.iter().any(|at| at.as_u128() == u128::from(*position)));
                Response::Done.into()
            }
            Request::FetchKeys(fetch) => {
                let keys = fetch.accounts.iter().map(|account| self.keys(*account, &fetch)).collect();
                Response::Keys(keys).into()
            }
            Request::UploadKeys(keys) => {
                self.desk(caller)?.upload(keys);
                Response::Done.into()
            }
            Request::KeyCount => Response::KeyCounts(self.desk(caller)?.counts()).into(),
            Request::GetDeviceLists(accounts) => {
                let lists = accounts.iter().map(|account| self.list_for(caller, *account));
                Response::DeviceLists(lists.collect()).into()
            }
            Request::PutDeviceList(bytes) => self.put_list(caller, &bytes)?.into(),
            Request::Lookup { numbers, .. } => {
                let found = numbers.iter().map(|number| self.numbers.get(number).copied());
                Response::LookupResult(found.collect()).into()
            }
            Request::Sync => Response::Done.into(),
            Request::GetLink(_)
            | Request::InviteLink { .. }
            | Request::RefuseLink(_)
            | Request::CompleteLink { .. } => self.serve_link(caller, request)?.into(),
            request => return self.serve_group(caller, &request),
        })
    }

    /// The stamp of what was accepted under this id before.
    pub(super) fn recorded(&self, from: MailboxId, envelope: EnvelopeId) -> Option<Stamp> {
        self.record.get(&(from, envelope)).copied()
    }

    /// Remembers what was accepted.
    pub(super) fn note(&mut self, from: MailboxId, envelope: EnvelopeId, stamp: Stamp) {
        self.record.insert((from, envelope), stamp);
    }

    /// Writes a row.
    pub fn put(&mut self, envelope: &Envelope) {
        let position = self.next_position;
        self.next_position += 1;
        self.mailboxes.entry(envelope.to).or_default().insert(position, envelope.encode());
    }

    /// The next stamp above the clock and above what the sender has seen.
    pub fn stamp(&mut self, seen: Option<Stamp>) -> Stamp {
        let wall = self.now.as_millis() << 16;
        self.stamp_clock = wall.max(self.stamp_clock + 1).max(seen.map_or(0, Stamp::clock) + 1);
        Stamp::new(self.stamp_clock, NodeId(1))
    }

    /// An account's list, as an honest server answers.
    pub fn list(&self, account: AccountId) -> AccountList {
        let list = self.accounts.get(&account).map(|account| account.list().as_bytes().to_vec());
        AccountList { account, device_list: list.unwrap_or_default().into(), closed: false }
    }

    /// The list that a device is given of an account: one that was removed, and is served on, sees its own account's
    /// last list with itself.
    fn list_for(&self, caller: MailboxId, account: AccountId) -> AccountList {
        let own = self.accounts.get(&account).filter(|_| account == caller.account);
        match own.and_then(|own| own.last_list_with(caller.device)) {
            Some(list) => {
                AccountList { account, device_list: Bytes::copy_from_slice(list.as_bytes()), closed: false }
            }
            None => self.list(account),
        }
    }

    /// Devices that were listed once and are not any more.
    pub fn formers(&self) -> Vec<MailboxId> {
        let all = self.accounts.values().flat_map(|account| &account.lists).flat_map(DeviceList::mailboxes);
        let formers: BTreeSet<MailboxId> = all.filter(|device| self.is_former(*device)).collect();
        formers.into_iter().collect()
    }

    /// Whether a device is not on its account's list any more.
    pub fn is_former(&self, device: MailboxId) -> bool {
        let account = self.accounts.get(&device.account);
        account.is_some_and(|account| account.list().mailboxes().all(|listed| listed != device))
    }

    /// An account's keys, as an honest server answers.
    pub fn keys(&mut self, account: AccountId, fetch: &FetchKeys) -> AccountKeys {
        let device_list = self.list(account).device_list;
        let mut bundles = Vec::new();
        if let Some(of) = self.accounts.get_mut(&account) {
            let listed = of.list().devices().to_vec();
            for device in listed.iter().filter(|one| fetch.device.is_none_or(|only| only == one.number())) {
                let desk = of.desks.get_mut(&device.number());
                bundles.extend(desk.map(|desk| desk.take(device, fetch.reset)));
            }
        }
        AccountKeys { account, device_list, bundles, closed: false }
    }

    fn desk(&mut self, of: MailboxId) -> Result<&mut Desk, Refusal> {
        let account = self.accounts.get_mut(&of.account).ok_or(Code::Revoked)?;
        Ok(account.desks.get_mut(&of.device).ok_or(Code::Revoked)?)
    }

    pub(super) fn put_list(&mut self, caller: MailboxId, bytes: &[u8]) -> Result<Response, Refusal> {
        let list = DeviceList::verify(bytes).map_err(|_| Code::BadDeviceList)?;
        let account = self.accounts.get_mut(&caller.account).ok_or(Code::Revoked)?;
        if list.account() != caller.account || list.version() < account.list().version() {
            return Err(Code::VersionConflict.into());
        }
        if !self.serves_formers {
            account.desks.retain(|number, _| list.device(*number).is_some());
        }
        account.lists.push(list);
        Ok(Response::Done)
    }

    fn send(&mut self, from: MailboxId, send: &Send) -> Result<Served, Refusal> {
        if let Some(stamp) = self.recorded(from, send.envelope_id) {
            return Ok(Response::Accepted { stamp, skipped: Vec::new() }.into());
        }
        let recipient = self.accounts.get(&send.recipient).ok_or(Code::NoSuchAccount)?;
        let named: BTreeSet<MailboxId> = send.sealed.iter().map(|sealed| sealed.to).collect();
        let mut listed: BTreeSet<MailboxId> = recipient.list().mailboxes().collect();
        let own_are_named = named.iter().any(|mailbox| mailbox.account == from.account);
        if own_are_named || send.urgency != wire::Urgency::Silent {
            listed
                .extend(self.accounts.get(&from.account).into_iter().flat_map(|own| own.list().mailboxes()));
        }
        listed.remove(&from);
        if listed != named && !self.is_former(from) {
            return Err(Refusal::stale(Stale {
                missing: listed.difference(&named).copied().collect(),
                extra: named.difference(&listed).copied().collect(),
                stale: Vec::new(),
            }));
        }
        let stamp = self.stamp(send.highest_stamp);
        self.note(from, send.envelope_id, stamp);
        let row = |sealed: &wire::SealedFor| Envelope {
            envelope_id: send.envelope_id,
            from: from.address(),
            to: sealed.to,
            kind: sealed.kind,
            urgency: send.urgency,
            stamp,
            ciphertext: sealed.ciphertext.clone(),
            group: None,
        };
        let rows = send.sealed.iter().map(row).collect();
        Ok(Served { response: Response::Accepted { stamp, skipped: Vec::new() }, rows })
    }
}
