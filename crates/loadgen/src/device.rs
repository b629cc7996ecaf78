//! Devices that speak the protocol and seal nothing: their ciphertexts are random bytes.

use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use client::{HttpMethod, HttpRequest};
use client_net::{CertificatePin, Dialer, ServerUrl, Socket, exchange};
use rand::{Rng, RngCore, TryRngCore, rngs::OsRng};
use serde_json::{Value, json};
use signed::{
    AccountSecret, DeviceList, DeviceListDraft, DeviceSecret, IdentityKey, LinkOffer, ListedDevice,
    SessionProof,
};
use std::{
    cell::Cell,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::SystemTime,
};
use testkit::people::Person;
use types::{
    DeviceAddress, DeviceNumber, EnvelopeId, GroupId, LinkId, MailboxId, PhoneNumber, Redact, RegistrationId,
    Timestamp,
};
use wire::{
    Authenticate, ClientFrame, EnvelopeKind, GroupSend, KemPrekey, KeyUpload, Push, Request, Response,
    SealedFor, Send, ServerFrame, SignedPrekey, Urgency, version,
};

/// A service under load.
pub(crate) struct Service {
    dialer: Dialer,
    data: PathBuf,
    /// The server's process.
    pub(crate) pid: u32,
    numbers: Cell<u64>,
}

/// A registered device.
pub(crate) struct Device {
    pub(crate) mailbox: MailboxId,
    pub(crate) account: AccountSecret,
    pub(crate) secret: DeviceSecret,
    token: [u8; 32],
    connections: u64,
}

impl Service {
    pub(crate) fn new(url: ServerUrl, pin: Option<CertificatePin>, data: PathBuf, pid: u32) -> Result<Self> {
        Ok(Self { dialer: Dialer::new(url, pin)?, data, pid, numbers: Cell::new(1_000_000) })
    }

    /// Registers a new account with one device.
    pub(crate) async fn register(&self) -> Result<Device> {
        let mut rng = OsRng.unwrap_err();
        let account = AccountSecret::random(&mut rng);
        let secret = DeviceSecret::random(&mut rng);
        let id = signed::account_id(&account.public());
        let registration = RegistrationId::random(&mut rng);
        let identity = IdentityKey::from_slice(&curve_point(&mut rng))?;
        let listed = ListedDevice::sign(id, DeviceNumber::PRIMARY, registration, identity, &secret);
        let draft = DeviceListDraft {
            version: 1,
            issued_at: Timestamp::from_system_time(SystemTime::now()),
            devices: vec![listed],
            sealed_names: Vec::new(),
        };
        let token = self.create(&draft.sign(&account)?, &keys(&mut rng)).await?;
        let mailbox = DeviceAddress::new(id, DeviceNumber::PRIMARY).mailbox(registration);
        Ok(Device { mailbox, account, secret, token, connections: 0 })
    }

    /// Creates the account of a list with one device; gives the device's token.
    async fn create(&self, list: &DeviceList, keys: &KeyUpload) -> Result<[u8; 32]> {
        let phone = self.next_number()?;
        let begun = self.post("/v1/registrations", &json!({ "phone": phone.e164() })).await?;
        let session = begun["session"].as_str().context("no session")?;
        let token = draw();
        let new = json!({
            "code": self.code(&phone)?,
            "replace": true,
            "account_key": BASE64.encode(list.account_key().as_bytes()),
            "device_list": BASE64.encode(list.as_bytes()),
            "token": BASE64.encode(token),
            "keys": BASE64.encode(keys.encode()),
        });
        self.post(&format!("/v1/registrations/{session}/account"), &new).await?;
        Ok(token)
    }

    /// Registers a ready-made person and links all but the first of its devices.
    pub(crate) async fn admit(&self, person: &Person, devices: usize) -> Result<()> {
        let now = Timestamp::from_system_time(SystemTime::now());
        let primary = person.primary();
        let token = self.create(&person.list(1, 1, now), &primary.upload()).await?;
        if devices == 1 {
            return Ok(());
        }
        let mut device = Device {
            mailbox: primary.mailbox(),
            account: person.account().clone(),
            secret: primary.key().clone(),
            token,
            connections: 0,
        };
        let mut session = self.connect(&mut device).await?;
        for count in 2..=devices {
            let list = person.list(count as u64, count, now);
            let linked = person.devices(count)[count - 1];
            self.link(&mut session, linked, &list).await.context("a device was not linked")?;
        }
        Ok(())
    }

    /// Both sides of a link, whose sealed messages nobody reads.
    async fn link(
        &self,
        primary: &mut Connection,
        device: &testkit::people::Device,
        list: &DeviceList,
    ) -> Result<()> {
        let (listed, said) = (device.listed(), Bytes::from_static(b"sealed"));
        let (identity, key) = (*listed.identity_key(), *listed.device_key());
        let offer = LinkOffer::new(identity, key, listed.registration(), draw(), draw());
        let link = LinkId::from_bytes(draw());
        let token = BASE64.encode(draw::<32>());
        let new = json!({
            "link": link.to_string(),
            "token": token,
            "offer": BASE64.encode(offer.as_bytes()),
            "keys": BASE64.encode(device.upload().encode()),
        });
        self.post("/v1/links", &new).await?;
        primary.done(Request::InviteLink { link, invitation: said.clone() }).await?;
        let answer = json!({ "token": token, "answer": BASE64.encode(&said) });
        self.post(&format!("/v1/links/{link}/answer"), &answer).await?;
        let device_list = Bytes::copy_from_slice(list.as_bytes());
        primary.done(Request::CompleteLink { link, device_list, completion: said }).await
    }

    /// A phone number that nobody has.
    pub(crate) fn next_number(&self) -> Result<PhoneNumber> {
        let number = self.numbers.replace(self.numbers.get() + 1);
        Ok(format!("+1555{number:07}").parse()?)
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        self.dialer.url().authority()
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = HttpRequest {
            method: HttpMethod::Post,
            origin: self.dialer.url().to_string(),
            server_pin: None,
            path: path.to_owned(),
            body: body.to_string().into_bytes(),
        };
        let answer = exchange(&self.dialer, &request).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if !(200..300).contains(&answer.status) {
            bail!("the server answered {} to {path}: {text}", answer.status);
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// The pending code, by the operator's socket.
    pub(crate) fn code(&self, phone: &PhoneNumber) -> Result<String> {
        let mut stream =
            UnixStream::connect(self.data.join("admin.sock")).context("the server's admin socket")?;
        let question = json!({ "command": "code", "phone": phone.e164() });
        writeln!(stream, "{question}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        answer["code"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no code is pending"))
    }

    /// Opens a session.
    pub(crate) async fn connect(&self, device: &mut Device) -> Result<Connection> {
        device.connections += 1;
        let mut socket = Socket::open(&self.dialer).await?;
        let ServerFrame::Push(Push::Hello(hello)) = ServerFrame::decode(socket.receive().await?)? else {
            bail!("the server did not say hello");
        };
        let origin = self.dialer.url().to_string();
        let proof = SessionProof {
            version: version::CURRENT,
            origin: &origin,
            account: device.mailbox.account,
            device: device.mailbox.device,
            connection_number: device.connections,
            nonce: hello.nonce,
        };
        let signature = *proof.sign(&device.secret).as_bytes();
        let authenticate = Authenticate {
            version: version::CURRENT,
            origin,
            address: device.mailbox.address(),
            connection_number: device.connections,
            token: Redact::new(device.token),
            signature,
        };
        let mut connection = Connection { socket, next_id: 1 };
        connection.ask(Request::Authenticate(authenticate)).await?;
        loop {
            match connection.next().await? {
                ServerFrame::Answer { result: Ok(Response::Authenticated(_)), .. } => return Ok(connection),
                ServerFrame::Answer { result: Err(refusal), .. } => bail!("not admitted: {refusal}"),
                _ => {}
            }
        }
    }
}

/// An open session.
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    next_id: u64,
}

impl Connection {
    /// Sends a request; answers its number.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let frame = ClientFrame { id, request }.encode();
        self.socket.ready().await?.send(frame);
        Ok(id)
    }

    /// Makes a request that has nothing to tell but that it was done.
    async fn done(&mut self, request: Request) -> Result<()> {
        let asked = self.ask(request).await?;
        loop {
            match self.next().await? {
                ServerFrame::Answer { id, result } if id == asked => match result {
                    Ok(Response::Done) => return Ok(()),
                    Ok(_) => bail!("the server answered something else"),
                    Err(refusal) => bail!("refused: {refusal}"),
                },
                _ => {}
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Result<ServerFrame> {
        Ok(ServerFrame::decode(self.socket.receive().await?)?)
    }
}

/// A send of one ciphertext of about 256 bytes whose first eight bytes are `mark`.
pub(crate) fn send(to: MailboxId, mark: u64, rng: &mut impl RngCore) -> Request {
    let ciphertext = marked(mark, rng);
    Request::Send(Send {
        envelope_id: EnvelopeId::random(rng),
        recipient: to.account,
        urgency: Urgency::Normal,
        ttl: None,
        sealed: vec![SealedFor { to, kind: EnvelopeKind::Ratchet, ciphertext }],
        highest_stamp: None,
    })
}

/// The same to a group, as its sender sees it.
pub(crate) fn group_send(
    group: GroupId,
    epoch: u64,
    head: [u8; 32],
    lists_digest: [u8; 32],
    mark: u64,
    rng: &mut impl RngCore,
) -> Request {
    Request::SendGroup(GroupSend {
        envelope_id: EnvelopeId::random(rng),
        group,
        epoch,
        head,
        lists_digest,
        urgency: Urgency::Normal,
        ttl: None,
        ciphertext: marked(mark, rng),
        highest_stamp: None,
    })
}

fn marked(mark: u64, rng: &mut impl RngCore) -> Bytes {
    let mut body = vec![0; 256];
    rng.fill_bytes(&mut body);
    body[..8].copy_from_slice(&mark.to_be_bytes());
    body.into()
}

/// What [`send`] put at the front of the ciphertext.
pub(crate) fn mark(envelope: &Bytes) -> Result<u64> {
    let envelope = wire::Envelope::decode(envelope.clone())?;
    let bytes =
        envelope.ciphertext.first_chunk::<8>().context("a ciphertext that this program did not send")?;
    Ok(u64::from_be_bytes(*bytes))
}

/// Random bytes.
fn draw<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    OsRng.unwrap_err().fill_bytes(&mut bytes);
    bytes
}

fn curve_point(rng: &mut impl RngCore) -> [u8; 33] {
    let mut key = [5; 33];
    rng.fill_bytes(&mut key[1..]);
    // Canonical form: below 2^255 - 19, which a cleared top byte guarantees.
    key[32] = rng.random_range(1..0x7f);
    key
}

fn keys(rng: &mut impl RngCore) -> KeyUpload {
    let signature = Bytes::from(vec![7; 64]);
    let mut kem = vec![8; 1_569];
    rng.fill_bytes(&mut kem[1..]);
    KeyUpload {
        signed_prekey: Some(SignedPrekey {
            id: 1,
            public_key: Bytes::copy_from_slice(&curve_point(rng)),
            signature: signature.clone(),
        }),
        last_resort: Some(KemPrekey { id: 1, public_key: kem.into(), signature, last_resort: true }),
        one_time: Vec::new(),
        one_time_kem: Vec::new(),
    }
}
