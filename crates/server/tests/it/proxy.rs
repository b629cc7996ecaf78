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

/// A proxy in front of one server.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    carried: Arc<Mutex<Vec<u8>>>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, forecast) = watch::channel(Weather::Fair);
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let carried: Arc<Mutex<Vec<u8>>> = Arc::default();
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

    /// Every byte that went through so far, in either direction.
    pub fn carried(&self) -> Vec<u8> {
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
    tap: Arc<Mutex<Vec<u8>>>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    tokio::select! {
        () = one_way(client_in, server_out, weather.clone(), tap.clone()) => {}
        () = one_way(server_in, client_out, weather, tap) => {}
    }
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    tap: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        tap.lock().unwrap().extend_from_slice(&buffer[..length]);
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
