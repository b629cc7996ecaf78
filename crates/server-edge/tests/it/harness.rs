//! A node's edge on a loopback port with a core made of memory, and clients for it.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use server_edge::{
    Admitted, Commands, Edge, EdgeLimits, Registry, Wiring, bind,
    drain::Read,
    tls::{Security, server_config},
};
use server_ports::{
    Caller, Clock, Entropy, NodeInbox as _, Signal, StoreError,
    mailboxes::{Page, Row},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    sync::Semaphore,
};
use tokio_rustls::TlsConnector;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};
use types::{
    AccountId, DeviceAddress, DeviceNumber, EnvelopeId, IncarnationId, MailboxId, Millis, NodeId, Position,
    Redact, RegistrationId, Stamp, Timestamp,
};
use wire::{
    Authenticate, ClientFrame, Code, Delivery, EnvelopeKind, Push, Refusal, Request, Response, SealedFor,
    Send, ServerFrame, Urgency,
};

/// Longer than anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The token that the core accepts.
pub const TOKEN: [u8; 32] = [7; 32];

/// Limits with which nothing ends by itself during a test.
pub fn patient() -> EdgeLimits {
    EdgeLimits { per_address_max: None, timer_resolution: Millis(20), ..EdgeLimits::default() }
}

/// The core: mailboxes in memory, every proof with the right token accepted.
#[derive(Default)]
pub struct Core {
    mailboxes: Mutex<BTreeMap<MailboxId, Vec<(Position, Bytes)>>>,
    next: AtomicU64,
    pub opened: AtomicUsize,
    pub closed: AtomicUsize,
    pub calls: AtomicUsize,
    pub reads: AtomicUsize,
    /// While set, sends wait for permits.
    pub gate: Mutex<Option<Arc<Semaphore>>>,
    /// What a send does beside being answered, on the shard's own thread.
    pub on_send: Mutex<Option<Box<dyn FnOnce() + core::marker::Send>>>,
    /// While set, claims of a route wait for permits.
    pub claim_gate: Mutex<Option<Arc<Semaphore>>>,
    /// What happened to routes, in order.
    pub routes: Mutex<Vec<&'static str>>,
    /// What `opened` answers, if not yes.
    pub refuse_open: Mutex<Option<Code>>,
}

impl Core {
    /// Writes a row and returns the hint that goes with it.
    pub fn append(&self, mailbox: MailboxId, envelope: impl Into<Bytes>) -> Signal {
        let envelope = envelope.into();
        let mut mailboxes = self.mailboxes.lock().unwrap();
        let position = Position::from_u128(u128::from(self.next.fetch_add(1, Ordering::SeqCst)) + 1);
        let rows = mailboxes.entry(mailbox).or_default();
        let previous = rows.last().map_or(Position::ZERO, |(position, _)| *position);
        rows.push((position, envelope.clone()));
        Signal::Hint { position, previous: Some(previous), envelope }
    }

    pub fn rows(&self, mailbox: MailboxId) -> usize {
        self.mailboxes.lock().unwrap().get(&mailbox).map_or(0, Vec::len)
    }
}

#[async_trait::async_trait]
impl Commands for Core {
    async fn authenticate(&self, _: IpAddr, proof: Authenticate, _: [u8; 32]) -> Result<Admitted, Refusal> {
        if *proof.token.expose() != TOKEN {
            return Err(Code::Unauthenticated.into());
        }
        let mailbox = proof.address.mailbox(RegistrationId::new(1).unwrap());
        Ok(Admitted {
            caller: Caller { mailbox, connection: proof.connection_number },
            device_list_version: 3,
        })
    }

    async fn opened(&self, _: Caller) -> Result<(), Refusal> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let gate = self.claim_gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        self.routes.lock().unwrap().push("claimed");
        self.refuse_open.lock().unwrap().map_or(Ok(()), |code| Err(code.into()))
    }

    async fn call(&self, caller: Caller, request: Request) -> Result<Response, Refusal> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match request {
            Request::Send(_) => {
                let gate = self.gate.lock().unwrap().clone();
                if let Some(gate) = gate {
                    gate.acquire().await.unwrap().forget();
                }
                let also = self.on_send.lock().unwrap().take();
                if let Some(also) = also {
                    also();
                }
                let stamp = Stamp::new(self.next.fetch_add(1, Ordering::SeqCst), NodeId(1));
                Ok(Response::Accepted { stamp, skipped: Vec::new() })
            }
            Request::Ack(positions) => {
                let mut mailboxes = self.mailboxes.lock().unwrap();
                let rows = mailboxes.entry(caller.mailbox).or_default();
                rows.retain(|(position, _)| !positions.contains(position));
                Ok(Response::Done)
            }
            Request::KeyCount => panic!("a call that panics"),
            // An answer much larger than the question.
            Request::FetchKeys(_) => {
                Ok(Response::GroupState { operations: vec![Bytes::from(vec![0; 200_000])], more: false })
            }
            _ => Ok(Response::Done),
        }
    }

    async fn read_mailbox(&self, caller: Caller, read: Read) -> Result<Page, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mailboxes = self.mailboxes.lock().unwrap();
        let all = mailboxes.get(&caller.mailbox).cloned().unwrap_or_default();
        let mut rest = all.into_iter().filter(|(position, _)| *position > read.after).peekable();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some((position, envelope)) = rest.next_if(|(_, envelope)| {
            rows.is_empty() || rows.len() < read.rows && bytes + envelope.len() <= read.bytes
        }) {
            bytes += envelope.len();
            rows.push(Row { position, envelope });
        }
        let cursor = rows.last().map_or(read.after, |row| row.position);
        Ok(Page { rows, cursor, complete: rest.peek().is_none() })
    }

    async fn closed(&self, _: Caller) {
        self.routes.lock().unwrap().push("released");
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

struct WallClock;

#[async_trait::async_trait]
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(SystemTime::now())
    }

    async fn sleep(&self, length: Millis) {
        tokio::time::sleep(length.as_duration()).await;
    }
}

/// Different bytes at every call.
#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

/// An edge that runs.
pub struct Node {
    pub edge: Arc<Edge>,
    pub core: Arc<Core>,
    pub registry: Arc<Registry>,
    /// Trusts the node's certificate.
    pub connector: TlsConnector,
}

impl Node {
    pub fn plain(limits: EdgeLimits) -> Self {
        Self::start(limits, false, axum::Router::new())
    }

    pub fn tls(limits: EdgeLimits) -> Self {
        Self::start(limits, true, axum::Router::new())
    }

    pub fn start(limits: EdgeLimits, tls: bool, router: axum::Router) -> Self {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = CertificateDer::from(issued.cert.der().to_vec());
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let security = if tls {
            Security::Tls(server_config(vec![certificate.clone()], key).unwrap())
        } else {
            Security::Plaintext
        };
        let (core, registry) = (Arc::new(Core::default()), Registry::new());
        let wiring = Wiring {
            commands: core.clone(),
            registry: registry.clone(),
            router,
            clock: Arc::new(WallClock),
            entropy: Arc::new(Counting::default()),
            incarnation: IncarnationId::from_bytes([1; 16]),
            runtime: Handle::current(),
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let edge = Edge::start(listener, security, 2, limits, wiring).unwrap();
        Self { edge: Arc::new(edge), core, registry, connector: connector(certificate) }
    }

    pub fn address(&self) -> SocketAddr {
        self.edge.address()
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// A TCP connection with small kernel buffers, so that a reader that stops is felt soon.
    pub async fn narrow_tcp(&self) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket.connect(self.address()).await.unwrap()
    }

    pub async fn secured(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, self.tcp().await).await.unwrap()
    }

    /// A WebSocket that has not said anything.
    pub async fn socket(&self) -> Client<TcpStream> {
        Client::upgrade(self.tcp().await).await
    }

    /// An open session of device `account`.
    pub async fn session(&self, account: u8, connection: u64) -> Client<TcpStream> {
        let mut client = self.socket().await;
        client.authenticate(account, connection).await;
        client
    }

    pub async fn session_over_tls(&self, account: u8) -> Client<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut client = Client::upgrade(self.secured().await).await;
        client.authenticate(account, 1).await;
        client
    }

    pub fn signal(&self, account: u8, connection: u64, signal: Signal) {
        self.registry.deliver(mailbox(account), connection, signal);
    }
}

pub fn connector(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

pub fn address(account: u8) -> DeviceAddress {
    DeviceAddress::new(AccountId::from_bytes([account; 16]), DeviceNumber::PRIMARY)
}

pub fn mailbox(account: u8) -> MailboxId {
    address(account).mailbox(RegistrationId::new(1).unwrap())
}

pub fn proof(account: u8, connection_number: u64) -> Request {
    Request::Authenticate(Authenticate {
        version: wire::version::CURRENT,
        origin: "http://localhost".into(),
        address: address(account),
        connection_number,
        token: Redact::new(TOKEN),
        signature: [0; 64],
    })
}

pub fn send() -> Request {
    Request::Send(Send {
        envelope_id: EnvelopeId::from_bytes([3; 16]),
        recipient: AccountId::from_bytes([9; 16]),
        urgency: Urgency::Normal,
        ttl: None,
        sealed: Vec::new(),
        highest_stamp: None,
    })
}

/// A send with a ciphertext of this size.
pub fn large_send(bytes: usize) -> Request {
    let Request::Send(send) = send() else { unreachable!("it is a send") };
    let ciphertext = vec![1; bytes].into();
    let sealed = vec![SealedFor { to: mailbox(9), kind: EnvelopeKind::Ratchet, ciphertext }];
    Request::Send(Send { sealed, ..send })
}

/// A client of the socket.
pub struct Client<S> {
    pub socket: WebSocketStream<S>,
    next: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn upgrade(stream: S) -> Self {
        let uri = "ws://localhost/v1/socket".parse().unwrap();
        let (socket, _) = ClientBuilder::from_uri(uri).connect_on(stream).await.unwrap();
        Self { socket, next: 0 }
    }

    /// Sends a request and returns its number.
    pub async fn request(&mut self, request: Request) -> u64 {
        self.next += 1;
        self.frame(ClientFrame { id: self.next, request }).await;
        self.next
    }

    pub async fn frame(&mut self, frame: ClientFrame) {
        self.socket.send(Message::binary(frame.encode())).await.unwrap();
    }

    /// The next frame; `None` when the server has closed.
    pub async fn try_next(&mut self) -> Option<ServerFrame> {
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server says nothing")?;
            match message {
                Ok(message) if message.is_binary() => {
                    return Some(ServerFrame::decode(Bytes::copy_from_slice(message.as_payload())).unwrap());
                }
                Ok(message) if message.is_close() => return None,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    pub async fn next(&mut self) -> ServerFrame {
        self.try_next().await.expect("the server has closed")
    }

    pub async fn push(&mut self) -> Push {
        match self.next().await {
            ServerFrame::Push(push) => push,
            answer => panic!("not a push: {answer:?}"),
        }
    }

    pub async fn answer(&mut self) -> (u64, Result<Response, Refusal>) {
        match self.next().await {
            ServerFrame::Answer { id, result } => (id, result),
            push => panic!("not an answer: {push:?}"),
        }
    }

    /// The refusal with which the server closes.
    pub async fn closing(&mut self) -> Code {
        let mut last = None;
        while let Some(frame) = self.try_next().await {
            last = match frame {
                ServerFrame::Push(Push::Closing(refusal)) => Some(refusal.code),
                ServerFrame::Answer { result: Err(refusal), .. } => Some(refusal.code),
                _ => last,
            };
        }
        last.expect("closed without a reason")
    }

    pub async fn deliveries(&mut self) -> Vec<Delivery> {
        match self.push().await {
            Push::Deliver(deliveries) => deliveries,
            push => panic!("not a delivery: {push:?}"),
        }
    }

    /// Proves itself, and reads up to and including the answer.
    pub async fn authenticate(&mut self, account: u8, connection: u64) {
        assert!(matches!(self.push().await, Push::Hello(_)));
        self.request(proof(account, connection)).await;
        let (_, result) = self.answer().await;
        assert!(matches!(result, Ok(Response::Authenticated(_))), "{result:?}");
    }

    /// Reads deliveries until `Drained`.
    pub async fn drained(&mut self) -> Vec<Delivery> {
        let mut all = Vec::new();
        loop {
            match self.push().await {
                Push::Deliver(deliveries) => all.extend(deliveries),
                Push::Drained => return all,
                push => panic!("not a delivery: {push:?}"),
            }
        }
    }
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}
