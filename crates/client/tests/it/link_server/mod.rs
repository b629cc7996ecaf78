//! A server in memory for accounts with several devices: links, restorations, blobs, and a mailbox a device.

mod http;

use crate::answers::{check_named, envelope, hello, is_signed, next_stamp, take};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use signed::{DeviceList, LinkOffer};
use std::collections::{BTreeMap, VecDeque};
use types::{
    AccountId, BlobId, DeviceAddress, DeviceNumber, EnvelopeId, IncarnationId, LinkId, Millis, PhoneNumber,
    Position, RegistrationId, Stamp, Timestamp, limits,
};
use wire::{
    AccountKeys, AccountList, Authenticated, BlobTicket, Bundle, ClientFrame, Code, Delivery, FetchKeys,
    KemPrekey, KeyCounts, KeyUpload, LinkState, OneTimePrekey, Push, Refusal, Request, Response, Send,
    ServerFrame, SignedPrekey,
};

#[derive(Clone)]
pub struct Device {
    pub registration: RegistrationId,
    token: [u8; 32],
    signed: SignedPrekey,
    last_resort: KemPrekey,
    one_time: VecDeque<OneTimePrekey>,
    one_time_kem: VecDeque<KemPrekey>,
    pub mailbox: BTreeMap<u64, Bytes>,
    last_connection: u64,
}

impl Device {
    fn new(registration: RegistrationId, token: [u8; 32], keys: KeyUpload) -> Self {
        Self {
            registration,
            token,
            signed: keys.signed_prekey.unwrap(),
            last_resort: keys.last_resort.unwrap(),
            one_time: keys.one_time.into(),
            one_time_kem: keys.one_time_kem.into(),
            mailbox: BTreeMap::new(),
            last_connection: 0,
        }
    }
}

pub struct Account {
    pub list: DeviceList,
    pub devices: BTreeMap<DeviceNumber, Device>,
    pub closed: bool,
}

pub struct Link {
    token: [u8; 32],
    pub offer: Vec<u8>,
    keys: KeyUpload,
    begun_at: Timestamp,
    pub invited: Option<(AccountId, Bytes, Timestamp)>,
    pub answer: Option<Vec<u8>>,
    pub completion: Option<Bytes>,
    refused: bool,
}

/// The session of one device.
pub struct Session {
    device: Option<(DeviceAddress, RegistrationId)>,
    nonce: [u8; 32],
    delivered: u64,
    drained: bool,
}

pub struct Server {
    pub now: Timestamp,
    incarnation: IncarnationId,
    pub accounts: BTreeMap<AccountId, Account>,
    numbers: BTreeMap<PhoneNumber, AccountId>,
    record: BTreeMap<(DeviceAddress, EnvelopeId), (Stamp, Send)>,
    pub links: BTreeMap<LinkId, Link>,
    pub blobs: BTreeMap<BlobId, (u32, [u8; 32], Option<Bytes>)>,
    /// How often bytes were taken for a digest: nothing is uploaded again that is there.
    pub uploads: BTreeMap<[u8; 32], u32>,
    pub downloads: u32,
    /// Every list that was ever stored, by account and version: never two.
    lists: BTreeMap<(AccountId, u64), Vec<u8>>,
    /// Refusals that the next requests of this name get, before anything is done.
    pub refusals: VecDeque<(&'static str, Refusal)>,
    /// Do what is asked, and answer so: the outcome is unknown to the client.
    pub lies: VecDeque<(&'static str, Refusal)>,
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
            links: BTreeMap::new(),
            blobs: BTreeMap::new(),
            uploads: BTreeMap::new(),
            downloads: 0,
            lists: BTreeMap::new(),
            refusals: VecDeque::new(),
            lies: VecDeque::new(),
            next_position: 1,
            clock: 0,
            registration: None,
            rng,
        }
    }

    // ---- blobs

    pub fn put(&mut self, url: &str, bytes: Bytes) -> bool {
        let Some((size, digest, stored)) = self.blobs.get_mut(&blob_of(url)) else { return false };
        assert_eq!(*size as usize, bytes.len());
        assert_eq!(*digest, <[u8; 32]>::from(Sha256::digest(&bytes)));
        *self.uploads.entry(*digest).or_default() += 1;
        *stored = Some(bytes);
        true
    }

    pub fn get(&mut self, url: &str) -> Option<Bytes> {
        self.downloads += 1;
        self.blobs.get(&blob_of(url))?.2.clone()
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
        let result = take(&mut self.lies, name).map_or(result, Err);
        ServerFrame::Answer { id: frame.id, result }
    }

    /// Rows that this session was not told of yet, then once that it is drained. A device that is not listed any
    /// more is told so.
    pub fn deliver(&mut self, session: &mut Session) -> Vec<ServerFrame> {
        let Some((address, registration)) = session.device else { return Vec::new() };
        let device = self.accounts[&address.account].devices.get(&address.device);
        let Some(device) = device.filter(|device| device.registration == registration) else {
            session.device = None;
            return vec![ServerFrame::Push(Push::Closing(Code::Revoked.into()))];
        };
        let rows: Vec<Delivery> = device
            .mailbox
            .range(session.delivered + 1..)
            .map(|(position, envelope)| Delivery {
                position: Position::from_u128((*position).into()),
                envelope: envelope.clone(),
            })
            .collect();
        session.delivered = device.mailbox.keys().last().copied().unwrap_or(0).max(session.delivered);
        let mut frames: Vec<_> =
            rows.chunks(3).map(|rows| ServerFrame::Push(Push::Deliver(rows.to_vec()))).collect();
        if !session.drained {
            session.drained = true;
            frames.push(ServerFrame::Push(Push::Drained));
        }
        frames
    }

    fn serve(&mut self, session: &mut Session, request: Request) -> Result<Response, Refusal> {
        if let Request::Authenticate(proof) = request {
            return self.authenticate(session, &proof);
        }
        let (me, registration) = session.device.ok_or(Code::Unauthenticated)?;
        if self.device(me).is_none_or(|device| device.registration != registration) {
            return Err(Code::Revoked.into());
        }
        match request {
            Request::Send(send) => self.send(me, send),
            Request::Ack(positions) => {
                let device = self.device(me).unwrap();
                for position in positions {
                    device.mailbox.remove(&u64::try_from(position.as_u128()).unwrap());
                }
                Ok(Response::Done)
            }
            Request::FetchKeys(fetch) => Ok(Response::Keys(
                fetch.accounts.iter().map(|account| self.take_keys(me, *account, &fetch)).collect(),
            )),
            Request::UploadKeys(upload) => {
                let device = self.device(me).unwrap();
                device.signed = upload.signed_prekey.unwrap_or_else(|| device.signed.clone());
                device.last_resort = upload.last_resort.unwrap_or_else(|| device.last_resort.clone());
                device.one_time.extend(upload.one_time);
                device.one_time_kem.extend(upload.one_time_kem);
                Ok(Response::Done)
            }
            Request::KeyCount => {
                let device = self.device(me).unwrap();
                let (one_time, one_time_kem) =
                    (device.one_time.len() as u32, device.one_time_kem.len() as u32);
                Ok(Response::KeyCounts(KeyCounts { one_time, one_time_kem }))
            }
            Request::GetDeviceLists(accounts) => {
                Ok(Response::DeviceLists(accounts.iter().map(|account| self.list(*account)).collect()))
            }
            Request::PutDeviceList(bytes) => self.put_list(me, &bytes, None),
            Request::GetLink(link) => self.get_link(me, link),
            Request::InviteLink { link, invitation } => self.invite(me, link, invitation),
            Request::RefuseLink(link) => {
                self.live_link(me, link)?.refused = true;
                Ok(Response::Done)
            }
            Request::CompleteLink { link, device_list, completion } => {
                self.put_list(me, &device_list, Some((link, completion)))
            }
            Request::CreateBlob { size, sha256 } => {
                let mut id = [0; 16];
                self.rng.fill_bytes(&mut id);
                let blob = BlobId::from_bytes(id);
                self.blobs.insert(blob, (size, sha256, None));
                Ok(Response::BlobTicket(BlobTicket { blob, url: format!("/v1/blobs/{blob}") }))
            }
            Request::GetBlob(blob) => match self.blobs.get(&blob) {
                Some((_, _, Some(_))) => {
                    Ok(Response::BlobTicket(BlobTicket { blob, url: format!("/v1/blobs/{blob}") }))
                }
                _ => Err(Code::NoSuchBlob.into()),
            },
            Request::Lookup { numbers, .. } => Ok(Response::LookupResult(
                numbers.iter().map(|number| self.numbers.get(number).copied()).collect(),
            )),
            Request::Sync => Ok(Response::Done),
            _ => Err(Code::Unsupported.into()),
        }
    }

    fn device(&mut self, address: DeviceAddress) -> Option<&mut Device> {
        self.accounts.get_mut(&address.account)?.devices.get_mut(&address.device)
    }

    fn authenticate(
        &mut self,
        session: &mut Session,
        proof: &wire::Authenticate,
    ) -> Result<Response, Refusal> {
        let address = proof.address;
        let account = self.accounts.get_mut(&address.account).ok_or(Code::Unauthenticated)?;
        if account.closed {
            return Err(Code::Revoked.into());
        }
        let listed = account.list.device(address.device).ok_or(Code::Revoked)?;
        let device = account.devices.get_mut(&address.device).ok_or(Code::Revoked)?;
        if *proof.token.expose() != device.token || !is_signed(proof, session.nonce, listed) {
            // Somebody else has the number by now.
            return Err(Code::Revoked.into());
        }
        if proof.connection_number <= device.last_connection {
            return Err(Code::Cloned.into());
        }
        device.last_connection = proof.connection_number;
        session.device = Some((address, device.registration));
        Ok(Response::Authenticated(Authenticated {
            version: proof.version,
            registration: device.registration,
            device_list_version: account.list.version(),
        }))
    }

    // ---- lists and links

    fn put_list(
        &mut self,
        me: DeviceAddress,
        bytes: &[u8],
        link: Option<(LinkId, Bytes)>,
    ) -> Result<Response, Refusal> {
        if me.device != DeviceNumber::PRIMARY {
            return Err(Code::Forbidden.into());
        }
        let list = DeviceList::verify(bytes).map_err(|_| Code::BadDeviceList)?;
        let known = &self.accounts[&me.account].list;
        if known.as_bytes() == bytes {
            return Ok(Response::Done);
        }
        let signed = self.lists.insert((me.account, list.version()), bytes.to_vec());
        assert!(signed.is_none_or(|signed| signed == bytes), "one list a version, whatever happens");
        if list.version() <= known.version() {
            return Err(Code::VersionConflict.into());
        }
        let new: Vec<_> =
            list.devices().iter().filter(|device| !known.devices().contains(device)).cloned().collect();
        match (new.as_slice(), link) {
            ([], None) => {}
            ([added], Some((id, completion))) => {
                let link = self.live_link(me, id)?;
                let offer = LinkOffer::decode(&link.offer).unwrap();
                assert_eq!(added.identity_key(), offer.identity_key());
                let device = Device::new(added.registration(), link.token, link.keys.clone());
                link.completion = Some(completion);
                let devices = &mut self.accounts.get_mut(&me.account).unwrap().devices;
                devices.insert(added.number(), device);
            }
            _ => return Err(Code::BadDeviceList.into()),
        }
        let account = self.accounts.get_mut(&me.account).unwrap();
        account.devices.retain(|number, _| list.device(*number).is_some());
        account.list = list;
        Ok(Response::Done)
    }

    fn live_link(&mut self, me: DeviceAddress, id: LinkId) -> Result<&mut Link, Refusal> {
        let now = self.now;
        if me.device != DeviceNumber::PRIMARY {
            return Err(Code::Forbidden.into());
        }
        let link = self.links.get_mut(&id).ok_or(Code::LinkUnavailable)?;
        let foreign = link.invited.as_ref().is_some_and(|(account, ..)| *account != me.account);
        if foreign || link.refused || link.completion.is_some() || !is_alive(link, now) {
            return Err(Code::LinkUnavailable.into());
        }
        Ok(link)
    }

    fn get_link(&mut self, me: DeviceAddress, id: LinkId) -> Result<Response, Refusal> {
        let link = self.live_link(me, id)?;
        Ok(Response::LinkState(LinkState {
            offer: link.offer.clone().into(),
            answer: link.answer.clone().map(Bytes::from),
            expires_in: Millis::from_secs(60),
        }))
    }

    fn invite(&mut self, me: DeviceAddress, id: LinkId, invitation: Bytes) -> Result<Response, Refusal> {
        let now = self.now;
        let link = self.live_link(me, id)?;
        match &link.invited {
            Some((_, known, _)) if *known != invitation => Err(Code::LinkUnavailable.into()),
            Some(_) => Ok(Response::Done),
            None => {
                link.invited = Some((me.account, invitation, now));
                Ok(Response::Done)
            }
        }
    }

    // ---- messages

    fn send(&mut self, from: DeviceAddress, send: Send) -> Result<Response, Refusal> {
        if let Some((stamp, recorded)) = self.record.get(&(from, send.envelope_id)) {
            assert_eq!(recorded.sealed, send.sealed, "the same envelope id has the same bytes");
            return Ok(Response::Accepted { stamp: *stamp, skipped: Vec::new() });
        }
        let recipient = self.accounts.get(&send.recipient).ok_or(Code::NoSuchAccount)?;
        if recipient.closed {
            return Err(Code::AccountClosed.into());
        }
        check_named(&send, from, &recipient.list, &self.accounts[&from.account].list)?;
        let stamp = next_stamp(&mut self.clock, self.now, send.highest_stamp);
        for sealed in &send.sealed {
            let envelope = envelope(&send, sealed, from, stamp);
            self.next_position += 1;
            let position = self.next_position;
            self.device(sealed.to.address()).unwrap().mailbox.insert(position, envelope.encode());
        }
        self.record.insert((from, send.envelope_id), (stamp, send));
        Ok(Response::Accepted { stamp, skipped: Vec::new() })
    }

    fn take_keys(&mut self, by: DeviceAddress, of: AccountId, fetch: &FetchKeys) -> AccountKeys {
        let AccountList { device_list, closed, .. } = self.list(of);
        let mut bundles = Vec::new();
        if let Some(account) = self.accounts.get_mut(&of).filter(|account| !account.closed) {
            for (number, device) in &mut account.devices {
                if DeviceAddress::new(of, *number) == by
                    || fetch.device.is_some_and(|wanted| wanted != *number)
                {
                    continue;
                }
                let (one_time, kem) = match fetch.reset {
                    true => (None, None),
                    false => (device.one_time.pop_front(), device.one_time_kem.pop_front()),
                };
                bundles.push(Bundle {
                    device: *number,
                    registration: device.registration,
                    signed_prekey: device.signed.clone(),
                    kem_prekey: kem.unwrap_or_else(|| device.last_resort.clone()),
                    one_time_prekey: one_time,
                });
            }
        }
        AccountKeys { account: of, device_list, bundles, closed }
    }

    fn list(&self, of: AccountId) -> AccountList {
        let account = self.accounts.get(&of);
        let open = account.filter(|account| !account.closed);
        AccountList {
            account: of,
            device_list: open.map_or(Bytes::new(), |account| account.list.as_bytes().to_vec().into()),
            closed: account.is_some_and(|account| account.closed),
        }
    }
}

fn is_alive(link: &Link, now: Timestamp) -> bool {
    match &link.invited {
        Some((_, _, at)) => now.since(*at) < limits::LINK_LIFE_INVITED,
        None => now.since(link.begun_at) < limits::LINK_CODE_LIFE,
    }
}

fn blob_of(url: &str) -> BlobId {
    url.strip_prefix("/v1/blobs/").unwrap().parse().unwrap()
}
