//! A server that keeps its promises, or breaks them as a test wants: what the program does with a real one
//! is in `real_server`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_websockets::{Message, ServerBuilder};
use types::{AccountId, DeviceAddress, IncarnationId, NodeId, Position, Stamp, Timestamp};
use wire::{
    AccountKeys, AccountList, Authenticated, Bundle, ClientFrame, Code, Delivery, Envelope, Hello, KeyCounts,
    KeyUpload, Push, Refusal, Request, Response, Send, ServerFrame, version,
};

/// The code that every registration gets.
pub const CODE: &str = "123456";

/// How the server behaves to whoever connects next.
#[derive(Clone, Debug)]
pub enum Mood {
    /// As it should.
    Honest,
    /// Takes connections and says nothing.
    Silent,
    /// Lets devices in and then answers nothing.
    Deaf,
    /// Sends random bytes as frames.
    Garbage,
    /// Speaks only later versions.
    Newer,
    /// Refuses every device.
    Refusing(Code),
    /// Refuses every send.
    RefusingSends(Code),
}

#[derive(Debug)]
struct Account {
    phone: String,
    list: Bytes,
    keys: KeyUpload,
    closed: bool,
    mailbox: VecDeque<(u128, Bytes)>,
    session: Option<mpsc::Sender<ServerFrame>>,
}

#[derive(Debug)]
struct Inner {
    mood: Mood,
    accounts: BTreeMap<AccountId, Account>,
    registering: BTreeMap<String, String>,
    accepted: BTreeMap<types::EnvelopeId, Stamp>,
    connections: u64,
    clock: u64,
}

/// The server, running until it is dropped.
#[derive(Clone, Debug)]
pub struct PostOffice {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    _stop: Arc<tokio::sync::oneshot::Sender<()>>,
}

impl PostOffice {
    pub fn open() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner {
            mood: Mood::Honest,
            accounts: BTreeMap::new(),
            registering: BTreeMap::new(),
            accepted: BTreeMap::new(),
            connections: 0,
            clock: 0,
        }));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let office = Self { address, inner: Arc::clone(&inner), _stop: Arc::new(stop) };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, inner) => {}
                    _ = stopped => {}
                }
            });
        });
        office
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_mood(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// How many sockets have been opened.
    pub fn connections(&self) -> u64 {
        self.lock().connections
    }

    /// Messages that wait for a number's device.
    pub fn waiting_for(&self, phone: &str) -> usize {
        self.lock().accounts.values().find(|account| account.phone == phone).unwrap().mailbox.len()
    }

    /// Makes an account by the program itself.
    pub fn register(&self, profile: &Path, phone: &str) {
        let (url, common) = (self.url(), ["--json", "register", "--phone", phone, "--server"]);
        let asked = crate::run(profile, [&common[..], &[&url]].concat());
        assert_eq!(asked.stdout, "{\"state\":\"code_sent\",\"expires_in\":600}\n", "{asked:?}");
        let done = crate::run(profile, [&common[..], &[&url, "--code", CODE]].concat());
        assert_eq!(done.exit, 0, "{done:?}");
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

async fn accept(listener: TcpListener, inner: Arc<Mutex<Inner>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let mut head = [0; 14];
            while stream.peek(&mut head).await.is_ok_and(|peeked| (1..14).contains(&peeked)) {
                tokio::task::yield_now().await;
            }
            // Whoever hangs up hangs up.
            let _ = match head.starts_with(b"GET /v1/socket") {
                true => serve_socket(stream, inner).await,
                false => serve_http(stream, inner).await,
            };
        });
    }
}

async fn serve_http(mut stream: TcpStream, inner: Arc<Mutex<Inner>>) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_none_or(|length| body.len() >= length.parse().unwrap_or(0)) {
                break (head.to_owned(), body.to_owned());
            }
        }
    };
    if matches!(inner.lock().unwrap().mood, Mood::Silent) {
        return std::future::pending().await;
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let body: Value = serde_json::from_str(&body).ok()?;
    let (status, answer) = match path.strip_prefix("/v1/registrations")? {
        "" => begin(&mut inner.lock().unwrap(), &body),
        rest => finish(&mut inner.lock().unwrap(), rest.strip_prefix('/')?.strip_suffix("/account")?, &body)?,
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", answer.len());
    stream.write_all((head + &answer).as_bytes()).await.ok()
}

fn begin(inner: &mut Inner, body: &Value) -> (u16, Value) {
    let phone = body["phone"].as_str().unwrap().to_owned();
    let session = format!("{:032x}", inner.registering.len());
    inner.registering.insert(session.clone(), phone);
    (201, json!({"session": session, "expires_in": 600}))
}

fn finish(inner: &mut Inner, session: &str, body: &Value) -> Option<(u16, Value)> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(body[name].as_str()?).ok().map(Bytes::from);
    let phone = inner.registering.get(session)?.clone();
    if body["code"] != CODE {
        return Some((403, json!({"code": "wrong_code"})));
    }
    let taken = inner.accounts.values_mut().find(|account| account.phone == phone && !account.closed);
    match taken {
        Some(_) if body["replace"] != true => return Some((409, json!({"code": "number_taken"}))),
        Some(taken) => taken.closed = true,
        None => {}
    }
    let list = signed::DeviceList::verify(&bytes("device_list")?).ok()?;
    let device = list.mailboxes().next()?;
    let account = Account {
        phone,
        list: bytes("device_list")?,
        keys: KeyUpload::decode(bytes("keys")?).ok()?,
        closed: false,
        mailbox: VecDeque::new(),
        session: None,
    };
    inner.accounts.insert(device.account, account);
    let registration = device.registration.get();
    Some((201, json!({"account": device.account.to_string(), "device": 1, "registration": registration})))
}

async fn serve_socket(stream: TcpStream, inner: Arc<Mutex<Inner>>) -> Option<()> {
    inner.lock().unwrap().connections += 1;
    let mood = inner.lock().unwrap().mood.clone();
    if matches!(mood, Mood::Silent) {
        return std::future::pending().await;
    }
    let (_, mut socket) = ServerBuilder::new().accept(stream).await.ok()?;
    if matches!(mood, Mood::Garbage) {
        socket.send(Message::binary(Bytes::from_static(b"\xff\xfe garbage"))).await.ok()?;
    }
    let newer = version::CURRENT + 5;
    let versions = match mood {
        Mood::Newer => version::Range { min: newer, max: newer + 2 },
        _ => version::SUPPORTED,
    };
    let hello =
        Hello { versions, nonce: [7; 32], time: now(), incarnation: IncarnationId::from_bytes([1; 16]) };
    socket.send(binary(&ServerFrame::Push(Push::Hello(hello)))).await.ok()?;
    let (pushes, mut pushes_out) = mpsc::channel(10_000);
    let mut me = None;
    loop {
        let frame = tokio::select! {
            Some(push) = pushes_out.recv() => {
                socket.send(binary(&push)).await.ok()?;
                continue;
            }
            message = socket.next() => message?.ok()?,
        };
        if !frame.is_binary() {
            continue;
        }
        let frame = ClientFrame::decode(frame.into_payload().into()).unwrap();
        if matches!(mood, Mood::Deaf) && !matches!(frame.request, Request::Authenticate(_)) {
            continue;
        }
        let id = frame.id;
        let (result, then) = answer(&mut inner.lock().unwrap(), &mood, &mut me, frame.request, &pushes);
        socket.send(binary(&ServerFrame::Answer { id, result })).await.ok()?;
        for push in then {
            socket.send(binary(&ServerFrame::Push(push))).await.ok()?;
        }
    }
}

fn answer(
    inner: &mut Inner,
    mood: &Mood,
    me: &mut Option<AccountId>,
    request: Request,
    pushes: &mpsc::Sender<ServerFrame>,
) -> (Result<Response, Refusal>, Vec<Push>) {
    let response = match request {
        Request::Authenticate(asked) => return authenticate(inner, mood, me, &asked, pushes),
        Request::Send(send) => match mood {
            Mood::RefusingSends(code) => Err((*code).into()),
            _ => take_in(inner, DeviceAddress::new(me.unwrap(), types::DeviceNumber::PRIMARY), send),
        },
        Request::Ack(positions) => {
            let mailbox = &mut inner.accounts.get_mut(&me.unwrap()).unwrap().mailbox;
            mailbox.retain(|(position, _)| !positions.contains(&Position::from_u128(*position)));
            Ok(Response::Done)
        }
        Request::FetchKeys(asked) => {
            Ok(Response::Keys(asked.accounts.iter().map(|account| keys(inner, *account)).collect()))
        }
        Request::GetDeviceLists(accounts) => {
            let list = |account: AccountId| {
                let keys = keys(inner, account);
                AccountList { account, device_list: keys.device_list, closed: keys.closed }
            };
            Ok(Response::DeviceLists(accounts.into_iter().map(list).collect()))
        }
        Request::Lookup { numbers, .. } => {
            let found = |number: &types::PhoneNumber| {
                let mut accounts = inner.accounts.iter();
                accounts
                    .find(|(_, account)| account.phone == number.e164() && !account.closed)
                    .map(|(id, _)| *id)
            };
            Ok(Response::LookupResult(numbers.iter().map(found).collect()))
        }
        Request::KeyCount => Ok(Response::KeyCounts(KeyCounts { one_time: 100, one_time_kem: 100 })),
        Request::UploadKeys(_) | Request::PutDeviceList(_) | Request::Sync => Ok(Response::Done),
        _ => Err(Code::Unsupported.into()),
    };
    (response, Vec::new())
}

fn authenticate(
    inner: &mut Inner,
    mood: &Mood,
    me: &mut Option<AccountId>,
    asked: &wire::Authenticate,
    pushes: &mpsc::Sender<ServerFrame>,
) -> (Result<Response, Refusal>, Vec<Push>) {
    if let Mood::Refusing(code) = mood {
        return (Err((*code).into()), Vec::new());
    }
    let account = inner.accounts.get_mut(&asked.address.account).unwrap();
    if account.closed {
        return (Err(Code::Revoked.into()), Vec::new());
    }
    *me = Some(asked.address.account);
    account.session = Some(pushes.clone());
    let list = signed::DeviceList::verify(&account.list).unwrap();
    let registration = list.mailboxes().next().unwrap().registration;
    let answer = Authenticated { version: asked.version, registration, device_list_version: list.version() };
    let rows: Vec<Push> = account.mailbox.iter().map(delivery).collect();
    let drained = (!matches!(mood, Mood::Deaf)).then_some(Push::Drained);
    (Ok(Response::Authenticated(answer)), rows.into_iter().chain(drained).collect())
}

/// Stores a send and hands it to whoever is there.
fn take_in(inner: &mut Inner, from: DeviceAddress, send: Send) -> Result<Response, Refusal> {
    let recipient = inner.accounts.get(&send.recipient).ok_or(Code::NoSuchAccount)?;
    if recipient.closed {
        return Err(Code::AccountClosed.into());
    }
    if let Some(stamp) = inner.accepted.get(&send.envelope_id) {
        return Ok(Response::Accepted { stamp: *stamp, skipped: Vec::new() });
    }
    inner.clock = (inner.clock + 1).max(now().as_millis() << 16);
    let stamp = Stamp::new(inner.clock, NodeId(1));
    inner.accepted.insert(send.envelope_id, stamp);
    let position = u128::from(inner.clock);
    for sealed in send.sealed {
        let envelope = Envelope {
            envelope_id: send.envelope_id,
            from,
            to: sealed.to,
            kind: sealed.kind,
            urgency: send.urgency,
            stamp,
            ciphertext: sealed.ciphertext,
            group: None,
        };
        let account = inner.accounts.get_mut(&sealed.to.account).unwrap();
        let row = (position, envelope.encode());
        if let Some(session) = &account.session {
            let _ = session.try_send(ServerFrame::Push(delivery(&row)));
        }
        account.mailbox.push_back(row);
    }
    Ok(Response::Accepted { stamp, skipped: Vec::new() })
}

fn delivery((position, envelope): &(u128, Bytes)) -> Push {
    Push::Deliver(vec![Delivery { position: Position::from_u128(*position), envelope: envelope.clone() }])
}

/// What a stranger needs, always with the last-resort key.
fn keys(inner: &Inner, account: AccountId) -> AccountKeys {
    let nobody = AccountKeys { account, device_list: Bytes::new(), bundles: Vec::new(), closed: false };
    let Some(known) = inner.accounts.get(&account) else { return nobody };
    if known.closed {
        return AccountKeys { closed: true, ..nobody };
    }
    let device = signed::DeviceList::verify(&known.list).unwrap().mailboxes().next().unwrap();
    let bundle = Bundle {
        device: device.device,
        registration: device.registration,
        signed_prekey: known.keys.signed_prekey.clone().unwrap(),
        kem_prekey: known.keys.last_resort.clone().unwrap(),
        one_time_prekey: None,
    };
    AccountKeys { device_list: known.list.clone(), bundles: vec![bundle], ..nobody }
}

fn binary(frame: &ServerFrame) -> Message {
    Message::binary(frame.encode())
}

fn now() -> Timestamp {
    Timestamp::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}
