//! Ordinary HTTP on the socket's port: a connection whose first request is not the upgrade leaves its
//! shard, with what was already read, and is served by hyper and the router that the server passes in.
//!
//! Owns: the stream over [`Tls`] that hyper reads and writes, and the limits of such connections.
//! Invariants: at most [`HandoffLimits::connections_max`] at once, of which one address has its share; a
//! connection that makes no progress for [`HandoffLimits::idle_timeout`] ends, whatever state it is in.
//! Must not know: sessions, what the routes do.

use crate::{
    admission::{Admission, Permit},
    connection::Handoff,
    tls::{CIPHERTEXT_PENDING_BYTES_MAX, Tls},
};
use axum::{Router, body::Body, extract::ConnectInfo};
use http_body_util::Limited;
use hyper::Method;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    future::Future,
    io, mem,
    net::{SocketAddr, TcpStream},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
    sync::{Semaphore, watch},
    time::{Instant, Sleep},
};
use tower::ServiceExt as _;

/// Ciphertext is read in pieces of this size, a TLS record's.
const READ_BYTES: usize = 16 * 1024;

/// Limits of connections that speak ordinary HTTP.
#[derive(Clone, Copy, Debug)]
pub struct HandoffLimits {
    /// At once; more are closed unanswered.
    pub connections_max: usize,
    /// Of one address (a /64 of IPv6) at once: a small share, so that the places are not those of a few addresses.
    /// `None` when quotas are switched off.
    pub per_address_max: Option<u32>,
    /// For the head of each further request, which includes the wait for it.
    pub header_timeout: Duration,
    /// Without a byte in either direction.
    pub idle_timeout: Duration,
    /// Of a whole connection, however many requests it carries: a place is not held for ever by a peer
    /// that sends a byte now and then.
    pub lifetime_max: Duration,
    /// Of one request.
    pub body_bytes_max: usize,
    /// Where a request may have a larger body.
    pub uploads: Option<Uploads>,
}

/// Paths that take large bodies, by `PUT` alone.
#[derive(Clone, Copy, Debug)]
pub struct Uploads {
    /// What they begin with.
    pub path_prefix: &'static str,
    /// Of one request.
    pub body_bytes_max: usize,
}

impl HandoffLimits {
    fn body_bytes_max_of(&self, method: &Method, path: &str) -> usize {
        let upload =
            self.uploads.filter(|uploads| method == Method::PUT && path.starts_with(uploads.path_prefix));
        upload.map_or(self.body_bytes_max, |uploads| uploads.body_bytes_max)
    }
}

impl Default for HandoffLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            per_address_max: Some(32),
            header_timeout: types::limits::HEADER_TIMEOUT.as_duration(),
            idle_timeout: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(120),
            body_bytes_max: 1024 * 1024,
            uploads: None,
        }
    }
}

/// Serves ordinary HTTP; shared by all shards.
#[derive(Clone)]
pub(crate) struct HttpServer {
    router: Router,
    runtime: Handle,
    limits: HandoffLimits,
    places: Arc<Semaphore>,
    shares: Admission,
    stopping: watch::Sender<bool>,
}

impl HttpServer {
    pub(crate) fn new(router: Router, runtime: Handle, limits: HandoffLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections_max));
        let shares = Admission::new(limits.per_address_max);
        Self { router, runtime, limits, places, shares, stopping: watch::Sender::new(false) }
    }

    /// Serves one connection until it ends. Dropped at once when too many are being served, or too many of its
    /// address.
    pub(crate) fn serve(&self, stream: TcpStream, handoff: Handoff, permit: Permit) {
        let Some(share) = self.shares.admit(permit.peer()) else {
            metrics::counter!("waxwing_edge_refused_total", "reason" => "http_address").increment(1);
            return;
        };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            metrics::counter!("waxwing_edge_refused_total", "reason" => "http_connections").increment(1);
            return;
        };
        let server = self.clone();
        self.runtime.spawn(async move {
            // A connection that fails has nobody to tell; its peer sees the socket close.
            #[expect(clippy::disallowed_methods, reason = "the shell keeps the time of its connections")]
            let served = tokio::time::timeout(
                server.limits.lifetime_max,
                server.serve_connection(stream, permit.peer(), handoff),
            );
            let _ = served.await;
            drop((place, share, permit));
        });
    }

    /// Lets requests that are being answered finish and ends every connection after them.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves when no connection is left.
    pub(crate) async fn stopped(&self) {
        let all = u32::try_from(self.limits.connections_max).unwrap_or(u32::MAX);
        // The semaphore is never closed, and all places together are free only when nobody has one.
        let _ = self.places.acquire_many(all).await;
    }

    async fn serve_connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        handoff: Handoff,
    ) -> hyper::Result<()> {
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return Ok(()) };
        let stream = SecuredStream::new(stream, handoff, self.limits.idle_timeout);
        let (router, limits) = (self.router.clone(), self.limits);
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let body_bytes_max = limits.body_bytes_max_of(request.method(), request.uri().path());
            let mut request = request.map(|body| Body::new(Limited::new(body, body_bytes_max)));
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(crate::websocket::HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            result = connection.as_mut() => return result,
            _ = stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// A byte stream over a socket and the transport security that is in use on it.
struct SecuredStream {
    stream: tokio::net::TcpStream,
    security: Box<dyn Tls>,
    ciphertext: Vec<u8>,
    plaintext: Vec<u8>,
    plaintext_read: usize,
    output: Vec<u8>,
    output_written: usize,
    peer_closed: bool,
    farewell_sent: bool,
    idle_timeout: Duration,
    idle: Pin<Box<Sleep>>,
}

impl SecuredStream {
    fn new(stream: tokio::net::TcpStream, handoff: Handoff, idle_timeout: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the shell keeps the time of its connections")]
        let idle = Box::pin(tokio::time::sleep(idle_timeout));
        Self {
            stream,
            security: handoff.security,
            ciphertext: handoff.ciphertext,
            plaintext: handoff.plaintext,
            plaintext_read: 0,
            output: handoff.output,
            output_written: 0,
            peer_closed: false,
            farewell_sent: false,
            idle_timeout,
            idle,
        }
    }

    fn progress(&mut self) {
        let until = Instant::now() + self.idle_timeout;
        self.idle.as_mut().reset(until);
    }

    /// Pending, unless the connection has been idle for too long.
    fn poll_idle<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.idle.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes all output that is sealed.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.output_written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.output_written += count;
                    self.progress();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_idle(context),
            }
        }
        self.output.clear();
        self.output_written = 0;
        Poll::Ready(Ok(()))
    }

    /// Opens `received` together with what was left before it.
    fn open(&mut self, received: &[u8]) -> io::Result<()> {
        self.ciphertext.extend_from_slice(received);
        let opened = self
            .security
            .open(&mut self.ciphertext, &mut self.plaintext, &mut self.output)
            .map_err(io::Error::other)?;
        self.ciphertext.drain(..opened.consumed);
        self.peer_closed |= opened.peer_closed;
        if self.ciphertext.len() > CIPHERTEXT_PENDING_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// Gives out plaintext that is already there.
    fn take_plaintext(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = self.plaintext.get(self.plaintext_read..).unwrap_or_default();
        let (now, later) = waiting.split_at(waiting.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.plaintext_read += now.len();
        let (any, rest) = (!now.is_empty(), later.is_empty());
        if rest {
            self.plaintext = Vec::new();
            self.plaintext_read = 0;
        }
        any
    }
}

impl AsyncRead for SecuredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.take_plaintext(buffer) || self.peer_closed || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // Answers of the protocol itself must not wait for the next response.
            if let Poll::Ready(Err(error)) = self.poll_output(context) {
                return Poll::Ready(Err(error));
            }
            let mut bytes = [mem::MaybeUninit::uninit(); READ_BYTES];
            let mut received = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut received) {
                Poll::Ready(Ok(())) if received.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    self.progress();
                    self.open(received.filled())?;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_idle(context),
            }
        }
    }
}

impl AsyncWrite for SecuredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // One sealed piece at a time: what the peer does not read stays with hyper, unsealed.
        ready!(self.poll_output(context))?;
        let piece = bytes.get(..READ_BYTES).unwrap_or(bytes);
        let stream = &mut *self;
        stream.security.seal(piece, &mut stream.ciphertext, &mut stream.output).map_err(io::Error::other)?;
        if let Poll::Ready(Err(error)) = stream.poll_output(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_output(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !mem::replace(&mut self.farewell_sent, true) {
            let stream = &mut *self;
            stream.security.close(&mut stream.ciphertext, &mut stream.output);
        }
        ready!(self.poll_output(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
