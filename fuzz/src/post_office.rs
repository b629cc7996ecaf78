//! A server in memory that believes everything: what engines need to get to know each other, so that what it said to
//! one of them can be changed and said again.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use client::{HttpAnswer, HttpRequest};
use serde_json::{Value, json};
use signed::DeviceList;
use std::collections::BTreeMap;
use types::{
    AccountId, DeviceAddress, DeviceNumber, IncarnationId, MailboxId, NodeId, PhoneNumber, Position, Stamp,
};
use wire::{
    AccountKeys, AccountList, Authenticated, Bundle, ClientFrame, Code, Delivery, Envelope, Hello, KeyCounts,
    KeyUpload, Push, Request, Response, Send, ServerFrame, version,
};

use crate::people::NOW;

/// What engines are told that the server is called.
pub(crate) const ORIGIN: &str = "http://127.0.0.1:4000";
/// The name of every registration.
pub(crate) const SESSION: &str = "5e55107";

/// Accounts, keys and mailboxes.
#[derive(Default)]
pub(crate) struct PostOffice {
    accounts: BTreeMap<AccountId, Account>,
    numbers: BTreeMap<String, AccountId>,
    registering: String,
    rows: u64,
}

struct Account {
    list: DeviceList,
    keys: KeyUpload,
    mailbox: Vec<Delivery>,
}

impl PostOffice {
    /// Answers a request of a registration.
    pub(crate) fn http(&mut self, request: &HttpRequest) -> HttpAnswer {
        let body: Value = serde_json::from_slice(&request.body).expect("an engine writes JSON");
        let answer = if request.path == "/v1/registrations" {
            self.registering = text(&body, "phone").to_owned();
            json!({ "session": SESSION, "expires_in": 600 })
        } else {
            self.register(&body)
        };
        HttpAnswer { status: 201, body: answer.to_string().into_bytes() }
    }

    fn register(&mut self, body: &Value) -> Value {
        let list = DeviceList::verify(&binary(body, "device_list")).expect("an engine signs its list");
        let keys = KeyUpload::decode(binary(body, "keys").into()).expect("an engine encodes its keys");
        let mailbox = mailbox(&list);
        self.numbers.insert(self.registering.clone(), mailbox.account);
        self.accounts.insert(mailbox.account, Account { list, keys, mailbox: Vec::new() });
        json!({
            "account": mailbox.account.to_string(),
            "device": mailbox.device.get(),
            "registration": mailbox.registration.get(),
        })
    }

    /// The first frame of every connection.
    pub(crate) fn hello() -> Bytes {
        let incarnation = IncarnationId::from_bytes([2; 16]);
        let hello = Hello { versions: version::SUPPORTED, nonce: [1; 32], time: NOW, incarnation };
        ServerFrame::Push(Push::Hello(hello)).encode()
    }

    /// Answers a frame of an engine; after what it has proved comes what waits for it.
    pub(crate) fn answer(&mut self, me: AccountId, frame: Bytes) -> Vec<Bytes> {
        let frame = ClientFrame::decode(frame).expect("an engine encodes its frames");
        let proved = matches!(frame.request, Request::Authenticate(_));
        let result = self.serve(me, frame.request);
        let mut frames =
            vec![ServerFrame::Answer { id: frame.id, result: result.map_err(Into::into) }.encode()];
        if proved {
            frames.extend(self.deliver(me));
            frames.push(ServerFrame::Push(Push::Drained).encode());
        }
        frames
    }

    /// What came for an account since it was last asked.
    pub(crate) fn deliver(&mut self, me: AccountId) -> Option<Bytes> {
        let rows = std::mem::take(&mut self.account(me).mailbox);
        (!rows.is_empty()).then(|| ServerFrame::Push(Push::Deliver(rows)).encode())
    }

    fn serve(&mut self, me: AccountId, request: Request) -> Result<Response, Code> {
        Ok(match request {
            Request::Authenticate(proof) => {
                let list = &self.account(me).list;
                Response::Authenticated(Authenticated {
                    version: proof.version,
                    registration: mailbox(list).registration,
                    device_list_version: list.version(),
                })
            }
            Request::Send(send) => Response::Accepted { stamp: self.append(me, &send), skipped: Vec::new() },
            Request::FetchKeys(fetch) => {
                Response::Keys(fetch.accounts.iter().map(|account| self.keys(*account)).collect())
            }
            Request::GetDeviceLists(accounts) => {
                Response::DeviceLists(accounts.iter().map(|account| self.list(*account)).collect())
            }
            Request::Lookup { numbers, .. } => {
                Response::LookupResult(numbers.iter().map(|number| self.find(number)).collect())
            }
            Request::KeyCount => Response::KeyCounts(KeyCounts { one_time: 100, one_time_kem: 100 }),
            Request::Ack(_) | Request::UploadKeys(_) | Request::PutDeviceList(_) | Request::Sync => {
                Response::Done
            }
            _ => return Err(Code::Unsupported),
        })
    }

    fn append(&mut self, from: AccountId, send: &Send) -> Stamp {
        self.rows += 1;
        let stamp = Stamp::new((NOW.as_millis() << 16) + self.rows, NodeId(1));
        for sealed in &send.sealed {
            let envelope = Envelope {
                envelope_id: send.envelope_id,
                from: DeviceAddress::new(from, DeviceNumber::PRIMARY),
                to: sealed.to,
                kind: sealed.kind,
                urgency: send.urgency,
                stamp,
                ciphertext: sealed.ciphertext.clone(),
                group: None,
            };
            let row =
                Delivery { position: Position::from_u128(self.rows.into()), envelope: envelope.encode() };
            self.account(sealed.to.account).mailbox.push(row);
        }
        stamp
    }

    fn keys(&mut self, of: AccountId) -> AccountKeys {
        let account = self.account(of);
        let mailbox = mailbox(&account.list);
        let bundle = Bundle {
            device: mailbox.device,
            registration: mailbox.registration,
            signed_prekey: account.keys.signed_prekey.clone().expect("an engine uploads a signed prekey"),
            kem_prekey: account.keys.one_time_kem.pop().expect("few sessions are opened here"),
            one_time_prekey: account.keys.one_time.pop(),
        };
        let device_list = Bytes::copy_from_slice(account.list.as_bytes());
        AccountKeys { account: of, device_list, bundles: vec![bundle], closed: false }
    }

    fn list(&mut self, of: AccountId) -> AccountList {
        let device_list = Bytes::copy_from_slice(self.account(of).list.as_bytes());
        AccountList { account: of, device_list, closed: false }
    }

    fn find(&self, number: &PhoneNumber) -> Option<AccountId> {
        self.numbers.get(number.e164()).copied()
    }

    fn account(&mut self, of: AccountId) -> &mut Account {
        self.accounts.get_mut(&of).expect("engines here know only each other")
    }
}

fn mailbox(list: &DeviceList) -> MailboxId {
    list.mailboxes().next().expect("a list has its primary device")
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().expect("an engine writes all fields")
}

fn binary(body: &Value, field: &str) -> Vec<u8> {
    BASE64.decode(text(body, field)).expect("an engine writes base64")
}
