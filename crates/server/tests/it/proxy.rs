//! A network that a test can break: a TCP proxy that cuts, freezes and delays.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What the network does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Carries everything at once.
    Fair,
    /// Takes bytes and carries none: half-open connections.
    Frozen,
    /// Carries everything after this long.
    Slow(Duration),
    /// Connections end as soon as they begin.
    Down,
}

/// What one connection carried in one direction.
#[derive(Clone)]
pub struct Carried {
    from_client: bool,
    bytes: Vec<u8>,
}

impl Carried {
    /// What was said: the payloads of frames. A client's frames are masked on the wire, so that nothing could be
    /// found in them as they are.
    pub fn said(&self) -> Vec<u8> {
        let head = self.bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4);
        let is_socket =
            self.bytes[..head].to_ascii_lowercase().windows(18).any(|at| at == b"upgrade: websocket");
        if self.from_client && is_socket {
            [&self.bytes[..head], &unmasked(&self.bytes[head..])].concat()
        } else {
            self.bytes.clone()
        }
    }
}

/// The payloads of a client's frames (RFC 6455, 5.2), the last of which may be cut off.
fn unmasked(mut frames: &[u8]) -> Vec<u8> {
    let mut payloads = Vec::new();
    while let [_, second, rest @ ..] = frames {
        assert!(second & 0x80 != 0, "a client masks every frame");
        let length_bytes = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < length_bytes + 4 {
            break;
        }
        let length = match length_bytes {
            0 => usize::from(second & 0x7f),
            count => rest[..count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        let (mask, payload) = rest[length_bytes..].split_at(4);
        let payload = &payload[..length.min(payload.len())];
        payloads.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frames = &rest[length_bytes + 4 + payload.len()..];
    }
    payloads
}

/// A proxy in front of one server.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    carried: Arc<Mutex<Vec<Carried>>>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, forecast) = watch::channel(Weather::Fair);
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let carried: Arc<Mutex<Vec<Carried>>> = Arc::default();
        let (ours, tap) = (connections.clone(), carried.clone());
        let acceptor = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *forecast.borrow() == Weather::Down {
                    continue;
                }
                let task = tokio::spawn(carry(client, server, forecast.clone(), tap.clone()));
                ours.lock().unwrap().push(task);
            }
        });
        Self { address, weather, connections, carried, acceptor }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Ends every connection now, in the middle of whatever is under way.
    pub fn cut(&self) -> usize {
        let tasks = std::mem::take(&mut *self.connections.lock().unwrap());
        tasks.iter().for_each(JoinHandle::abort);
        tasks.len()
    }

    /// Every byte that went through so far, for each connection and direction.
    pub fn carried(&self) -> Vec<Carried> {
        self.carried.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    weather: watch::Receiver<Weather>,
    tap: Arc<Mutex<Vec<Carried>>>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    tokio::select! {
        () = one_way(client_in, server_out, weather.clone(), Tap::new(&tap, true)) => {}
        () = one_way(server_in, client_out, weather, Tap::new(&tap, false)) => {}
    }
}

/// Where the bytes of one connection in one direction are noted.
struct Tap {
    all: Arc<Mutex<Vec<Carried>>>,
    own: usize,
}

impl Tap {
    fn new(all: &Arc<Mutex<Vec<Carried>>>, from_client: bool) -> Self {
        let mut carried = all.lock().unwrap();
        carried.push(Carried { from_client, bytes: Vec::new() });
        Self { all: all.clone(), own: carried.len() - 1 }
    }

    fn note(&self, bytes: &[u8]) {
        self.all.lock().unwrap()[self.own].bytes.extend_from_slice(bytes);
    }
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    tap: Tap,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        tap.note(&buffer[..length]);
        let now = *weather.borrow();
        if let Weather::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        let thawed = weather.wait_for(|weather| *weather != Weather::Frozen).await.is_ok();
        if !thawed {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
