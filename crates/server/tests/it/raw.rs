//! People by hand: keys through `signed`, requests as they go over the wire, ciphertexts that seal nothing. For
//! what must be said to the server exactly, or exactly wrong.

use crate::node::{Node, http};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use client_net::{CertificatePin, Dialer, ServerUrl, Socket};
use serde_json::{Value, json};
use signed::{
    AccountSecret, DeviceCertificate, DeviceList, DeviceListDraft, DeviceSecret, IdentityKey, ListedDevice,
    SessionProof, account_id,
};
use std::{cell::Cell, time::Duration};
use types::{
    AccountId, DeviceAddress, DeviceNumber, MailboxId, PhoneNumber, Redact, RegistrationId, Timestamp,
};
use wire::{
    Authenticate, ClientFrame, Envelope, KemPrekey, KeyUpload, Push, Refusal, Request, Response, ServerFrame,
    SignedPrekey, version,
};

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody with an account key. Everything derives from a small number.
pub struct Raw {
    number: u32,
    pub account: AccountSecret,
    pub phone: PhoneNumber,
}

/// One device, in one life of its number.
pub struct Device {
    pub mailbox: MailboxId,
    pub secret: DeviceSecret,
    pub token: [u8; 32],
    connections: Cell<u64>,
}

impl Raw {
    pub fn new(number: u32) -> Self {
        let account = AccountSecret::from_bytes(&seed(number, 0, 0));
        Self { number, account, phone: format!("+1555300{number:04}").parse().unwrap() }
    }

    pub fn id(&self) -> AccountId {
        account_id(&self.account.public())
    }

    /// Device `number` in its `life`.
    pub fn device(&self, number: u32, life: u32) -> Device {
        let registration = RegistrationId::new(100 * number + life + 1).unwrap();
        let address = DeviceAddress::new(self.id(), DeviceNumber::new(number).unwrap());
        Device {
            mailbox: address.mailbox(registration),
            secret: DeviceSecret::from_bytes(&seed(self.number, number, life)),
            token: seed(self.number, number, 1_000 + life),
            connections: Cell::new(0),
        }
    }

    pub fn list(&self, version: u64, devices: &[&Device]) -> DeviceList {
        let devices = devices.iter().map(|device| device.listed()).collect();
        let issued_at = Timestamp::from_millis(1_767_225_600_000);
        DeviceListDraft { version, issued_at, devices, sealed_names: Vec::new() }.sign(&self.account).unwrap()
    }

    pub fn certificate(&self, device: &Device) -> DeviceCertificate {
        DeviceCertificate::sign(&self.account, device.mailbox.device, device.secret.public())
    }

    /// The body that finishes a registration.
    pub fn registration(&self, code: &str) -> Value {
        let primary = self.device(1, 0);
        json!({
            "code": code,
            "account_key": BASE64.encode(self.account.public().as_bytes()),
            "device_list": BASE64.encode(self.list(1, &[&primary]).as_bytes()),
            "token": BASE64.encode(primary.token),
            "keys": BASE64.encode(keys().encode()),
        })
    }

    /// Registers; answers the primary device.
    pub async fn register(&self, node: &Node) -> Device {
        let (status, begun) = post(node, "/v1/registrations", &json!({ "phone": self.phone.e164() }));
        assert_eq!(status, 201, "{begun}");
        let code = node.code(&self.phone).await;
        let path = format!("/v1/registrations/{}/account", begun["session"].as_str().unwrap());
        let (status, made) = post(node, &path, &self.registration(&code));
        assert_eq!(status, 201, "{made}");
        self.device(1, 0)
    }
}

impl Device {
    pub fn listed(&self) -> ListedDevice {
        let MailboxId { account, device, registration } = self.mailbox;
        ListedDevice::sign(account, device, registration, self.identity(), &self.secret)
    }

    pub fn identity(&self) -> IdentityKey {
        let mut key = [5; 33];
        key[1..].copy_from_slice(&self.token);
        // Canonical form: below 2^255 - 19.
        key[32] = 1;
        IdentityKey::from_slice(&key).unwrap()
    }

    /// Opens a session, or says why it was refused.
    pub async fn try_connect(&self, node: &Node) -> Result<Connection, Refusal> {
        let dialer =
            Dialer::new(node.origin().parse::<ServerUrl>().unwrap(), None::<CertificatePin>).unwrap();
        let mut socket = Socket::open(&dialer).await.unwrap();
        let hello = ServerFrame::decode(socket.receive().await.unwrap()).unwrap();
        let ServerFrame::Push(Push::Hello(hello)) = hello else { panic!("{hello:?}") };
        self.connections.set(self.connections.get() + 1);
        let (origin, connection_number) = (node.origin(), self.connections.get());
        let proof = SessionProof {
            version: version::CURRENT,
            origin: &origin,
            account: self.mailbox.account,
            device: self.mailbox.device,
            connection_number,
            nonce: hello.nonce,
        };
        let signature = *proof.sign(&self.secret).as_bytes();
        let mut connection = Connection { socket, next_id: 1, pushes: Vec::new() };
        let authenticate = Authenticate {
            version: version::CURRENT,
            origin: origin.clone(),
            address: self.mailbox.address(),
            connection_number,
            token: Redact::new(self.token),
            signature,
        };
        connection.ask(Request::Authenticate(authenticate)).await?;
        Ok(connection)
    }

    pub async fn connect(&self, node: &Node) -> Connection {
        self.try_connect(node).await.unwrap()
    }

    /// What waits in the mailbox, as a session of its own sees it. Nothing is acknowledged.
    pub async fn mail(&self, node: &Node) -> Vec<Envelope> {
        let mut connection = self.connect(node).await;
        let mut envelopes = Vec::new();
        loop {
            match connection.push().await {
                Some(Push::Deliver(rows)) => {
                    envelopes.extend(rows.into_iter().map(|row| Envelope::decode(row.envelope).unwrap()));
                }
                Some(Push::Drained) => return envelopes,
                Some(_) => {}
                None => panic!("the session ended before the mailbox was drained"),
            }
        }
    }
}

/// An open session.
pub struct Connection {
    socket: Socket,
    next_id: u64,
    pushes: Vec<Push>,
}

impl Connection {
    /// Asks and waits for the answer; pushes that come meanwhile are kept.
    pub async fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        let asked = self.say(request).await;
        loop {
            match self.frame().await.expect("the session ended before the answer") {
                ServerFrame::Answer { id, result } if id == asked => return result,
                ServerFrame::Answer { .. } => {}
                ServerFrame::Push(push) => self.pushes.push(push),
            }
        }
    }

    /// Asks without waiting.
    pub async fn say(&mut self, request: Request) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.socket.ready().await.unwrap().send(ClientFrame { id, request }.encode());
        id
    }

    /// The next answer to what was only said; none once the session is over.
    pub async fn answer(&mut self) -> Option<(u64, Result<Response, Refusal>)> {
        loop {
            match self.frame().await? {
                ServerFrame::Answer { id, result } => return Some((id, result)),
                ServerFrame::Push(push) => self.pushes.push(push),
            }
        }
    }

    /// The next push; none once the session is over.
    pub async fn push(&mut self) -> Option<Push> {
        if !self.pushes.is_empty() {
            return Some(self.pushes.remove(0));
        }
        loop {
            if let ServerFrame::Push(push) = self.frame().await? {
                return Some(push);
            }
        }
    }

    async fn frame(&mut self) -> Option<ServerFrame> {
        let message = tokio::time::timeout(PATIENCE, self.socket.receive()).await.expect("nothing came");
        message.ok().map(|message| ServerFrame::decode(message).unwrap())
    }
}

/// Posts JSON; answers status and body.
pub fn post(node: &Node, path: &str, body: &Value) -> (u16, Value) {
    let answer = http(node.public(), "POST", path, &body.to_string());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// A signed and a last-resort prekey, as far as a server can check them.
pub fn keys() -> KeyUpload {
    let signature = Bytes::from(vec![7; 64]);
    let mut point = vec![9; 33];
    point[0] = 5;
    let mut kem = vec![3; 1_569];
    kem[0] = 8;
    KeyUpload {
        signed_prekey: Some(SignedPrekey { id: 1, public_key: point.into(), signature: signature.clone() }),
        last_resort: Some(KemPrekey { id: 1, public_key: kem.into(), signature, last_resort: true }),
        one_time: Vec::new(),
        one_time_kem: Vec::new(),
    }
}

fn seed(person: u32, device: u32, use_: u32) -> [u8; 32] {
    let mut seed = [0x2b; 32];
    seed[..4].copy_from_slice(&person.to_be_bytes());
    seed[4..8].copy_from_slice(&device.to_be_bytes());
    seed[8..12].copy_from_slice(&use_.to_be_bytes());
    seed
}
