//! The public listener: accepts connections and gives them to shards, starts and stops all of it.

use crate::{
    admission::Admission,
    budget::Budget,
    commands::Commands,
    config::EdgeLimits,
    handoff::HttpServer,
    inbox::{Accepted, Inbox},
    registry::Registry,
    shard::{Shard, Shared},
    tls::Security,
};
use axum::Router;
use mio::{Events, Interest, Poll, Token, Waker};
use server_ports::{Clock, Entropy};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch};
use types::{IncarnationId, Millis};

/// Connections that the kernel completes before they are accepted (Linux cuts it to `somaxconn`).
const BACKLOG: i32 = 4_096;
/// The wait after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const LISTENER: Token = Token(0);
const STOP: Token = Token(1);

/// What the edge is made of.
pub struct Wiring {
    /// The core.
    pub commands: Arc<dyn Commands>,
    /// Where the exchange delivers this node's signals.
    pub registry: Arc<Registry>,
    /// Serves HTTP other than the socket.
    pub router: Router,
    /// The wall clock, for hello.
    pub clock: Arc<dyn Clock>,
    /// For nonces.
    pub entropy: Arc<dyn Entropy>,
    /// Which life of the data this is.
    pub incarnation: IncarnationId,
    /// The runtime in whose context the core's calls are polled and HTTP is served.
    pub runtime: Handle,
}

/// Binds the listener's socket. The port can be bound again at once after the process was killed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Not SO_REUSEPORT: a second server on the same port must fail.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A running listener.
pub struct Edge {
    address: SocketAddr,
    inboxes: Vec<Arc<Inbox>>,
    acceptor: Arc<Acceptor>,
    http: HttpServer,
    shared: Arc<Shared>,
    /// Shards that run; each takes itself off the count when it ends, in whatever way.
    running: watch::Receiver<usize>,
    stopping: Arc<AtomicBool>,
}

impl Edge {
    /// Serves `listener` with `shards` threads. Metrics go to the recorder that is installed by now.
    pub fn start(
        listener: TcpListener,
        security: Security,
        shards: usize,
        limits: EdgeLimits,
        wiring: Wiring,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shards = shards.max(1);
        let admission = Admission::new(limits.per_address_max);
        let http = HttpServer::new(wiring.router, wiring.runtime.clone(), limits.http);
        let shared = Arc::new(Shared {
            security,
            unauthenticated_max: limits.unauthenticated_max.div_ceil(shards).max(1),
            budget: Budget::new(limits.answering_bytes_max_of_node),
            limits,
            commands: wiring.commands,
            registry: wiring.registry,
            http: http.clone(),
            runtime: wiring.runtime,
            clock: wiring.clock,
            entropy: wiring.entropy,
            incarnation: wiring.incarnation,
            connections: AtomicUsize::new(0),
        });
        let shards = (0..shards).map(|_| Shard::new(shared.clone())).collect::<io::Result<Vec<_>>>()?;
        let inboxes: Vec<_> = shards.iter().map(Shard::inbox).collect();
        let (sender, running) = watch::channel(0);
        for (number, shard) in shards.into_iter().enumerate() {
            run_shard(number, shard, sender.clone())?;
        }
        let acceptor = Acceptor::start(listener, inboxes.clone(), admission)?;
        Ok(Self { address, inboxes, acceptor, http, shared, running, stopping: Arc::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that shards hold; those that speak ordinary HTTP are not among them.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Resolves if a shard ends although nobody stopped it: the node should leave service.
    pub async fn failed(&self) {
        let shards = self.inboxes.len();
        // The count only falls; an error means that the last shard has gone.
        let _ = self.running.clone().wait_for(|running| *running < shards).await;
        if self.stopping.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Stops: accepts nothing more, tells every session to come back within a random part of
    /// `reconnect_within`, lets what is under way finish, and after `grace` drops what is left.
    pub async fn stop(&self, reconnect_within: Millis, grace: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        self.acceptor.stop();
        self.http.stop();
        self.inboxes.iter().for_each(|inbox| inbox.stop(reconnect_within));
        #[expect(clippy::disallowed_methods, reason = "the shell keeps the time of a stop")]
        let stopped = tokio::time::timeout(grace, self.idle()).await;
        if stopped.is_err() {
            self.inboxes.iter().for_each(|inbox| inbox.abort());
            self.shards_ended().await;
        }
    }

    async fn idle(&self) {
        self.shards_ended().await;
        self.http.stopped().await;
    }

    async fn shards_ended(&self) {
        // An error means that the last shard has gone.
        let _ = self.running.clone().wait_for(|running| *running == 0).await;
    }
}

impl Drop for Edge {
    /// An edge that nobody stopped stops at once.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.acceptor.stop();
        self.http.stop();
        self.inboxes.iter().for_each(|inbox| inbox.abort());
    }
}

/// Runs a shard on a thread of its own, counted as long as it runs.
fn run_shard(number: usize, shard: Shard, running: watch::Sender<usize>) -> io::Result<()> {
    struct Running(watch::Sender<usize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.send_modify(|count| *count -= 1);
        }
    }
    running.send_modify(|count| *count += 1);
    let running = Running(running);
    thread::Builder::new().name(format!("edge-{number}")).spawn(move || {
        let _running = running;
        if let Err(error) = shard.run() {
            tracing::error!(%error, "a shard failed");
        }
    })?;
    Ok(())
}

/// The thread that accepts.
struct Acceptor {
    stopping: AtomicBool,
    waker: Waker,
}

impl Acceptor {
    fn start(listener: TcpListener, inboxes: Vec<Arc<Inbox>>, admission: Admission) -> io::Result<Arc<Self>> {
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), STOP)?;
        let acceptor = Arc::new(Self { stopping: AtomicBool::new(false), waker });
        let this = acceptor.clone();
        thread::Builder::new().name("edge-accept".into()).spawn(move || {
            if let Err(error) = this.run(poll, &listener, &inboxes, &admission) {
                tracing::error!(%error, "the listener failed");
            }
        })?;
        Ok(acceptor)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Without its waker the thread ends with the process.
        let _ = self.waker.wake();
    }

    fn run(
        &self,
        mut poll: Poll,
        listener: &mio::net::TcpListener,
        inboxes: &[Arc<Inbox>],
        admission: &Admission,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(2);
        // In turn: shards share the bound of unauthenticated connections evenly.
        let mut turn = inboxes.iter().cycle();
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            while !self.stopping.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, peer)) => admit(stream.into(), peer, turn.next(), admission),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_of_the_peer(&error) => {}
                    Err(_) => {
                        metrics::counter!("waxwing_edge_refused_total", "reason" => "descriptors")
                            .increment(1);
                        pause();
                    }
                }
            }
            if self.stopping.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
    }
}

/// The connection failed before it was accepted; the listener is well.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

#[expect(clippy::disallowed_methods, reason = "the thread that accepts has nothing else to do")]
fn pause() {
    thread::sleep(ACCEPT_PAUSE);
}

fn admit(stream: std::net::TcpStream, peer: SocketAddr, inbox: Option<&Arc<Inbox>>, admission: &Admission) {
    let Some(permit) = admission.admit(peer) else {
        metrics::counter!("waxwing_edge_refused_total", "reason" => "address").increment(1);
        return;
    };
    // Answers are small and coalesced already: waiting to fill a segment only adds latency.
    let _ = stream.set_nodelay(true);
    let accepted = Accepted { stream, permit };
    let placed = inbox.map(|inbox| inbox.accepted(accepted));
    if let Some(Ok(())) = placed {
        metrics::counter!("waxwing_edge_accepted_total").increment(1);
    } else {
        metrics::counter!("waxwing_edge_refused_total", "reason" => "backlog").increment(1);
    }
}
