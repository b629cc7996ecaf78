//! One WebSocket to the server: whole messages in and out, kept alive, closed politely.
//!
//! Reading and writing are two tasks, so that neither a server that does not read nor a process that
//! is slow to write can stop the other direction. What is between them and the caller is bounded.

use crate::dial::{ByteStream, Dialer, Unreachable};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::Uri;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, Permit},
    task::AbortHandle,
    time::{Instant, interval_at, timeout},
};
use tokio_websockets::{ClientBuilder, Config, Error, Limits, Message, WebSocketStream, upgrade};
use types::limits;

/// Time for the upgrade, as long as the server gives us for authentication.
const UPGRADE_TIMEOUT: Duration = limits::AUTHENTICATION_TIMEOUT.as_duration();
/// Outgoing frames; half of what the server accepts in one.
const FRAME_BYTES: usize = 32 * 1024;
/// Messages in each direction that are on their way between the socket and its owner.
const QUEUED_MAX: usize = 16;
/// Pings without any answer after which the session is given up.
const PINGS_MISSED_MAX: u32 = 2;
/// Time for the close handshake; the server forgets the session either way.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why an open socket ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// Nothing came for two pings.
    #[error("the server fell silent")]
    Silent,
    /// The network or the protocol failed.
    #[error("the connection failed: {0}")]
    Failed(Error),
    /// A text message, which the protocol does not have.
    #[error("the server sent something that is not a frame")]
    NotBinary,
}

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    incoming: mpsc::Receiver<Result<Bytes, Lost>>,
    outgoing: mpsc::Sender<Message>,
    writer: tokio::task::JoinHandle<()>,
    reader: AbortHandle,
}

impl Socket {
    /// Dials the server and opens `/v1/socket`.
    pub async fn open(dialer: &Dialer) -> Result<Self, Unreachable> {
        let stream = dialer.dial().await?;
        let uri: Uri = format!("{}/v1/socket", dialer.url())
            .parse()
            .expect("a server's address followed by a path is a URI");
        let upgrade = async {
            ClientBuilder::from_uri(uri)
                .config(Config::default().frame_size(FRAME_BYTES))
                .limits(Limits::default().max_payload_len(Some(limits::SOCKET_MESSAGE_BYTES_MAX)))
                .connect_on(stream)
                .await
        };
        let (socket, _response) = timeout(UPGRADE_TIMEOUT, upgrade)
            .await
            .map_err(|_| Unreachable::TimedOut)?
            .map_err(upgrade_error)?;
        Ok(Self::start(socket, limits::KEEP_ALIVE_INTERVAL.as_duration()))
    }

    fn start(socket: WebSocketStream<ByteStream>, keep_alive: Duration) -> Self {
        let (sink, stream) = socket.split();
        let (incoming_in, incoming) = mpsc::channel(QUEUED_MAX);
        let (outgoing, outgoing_out) = mpsc::channel(QUEUED_MAX);
        let pings = Arc::new(AtomicU32::new(0));
        let writer = tokio::spawn(write(sink, outgoing_out, Arc::clone(&pings), keep_alive));
        let reader = tokio::spawn(read(stream, incoming_in, pings, keep_alive)).abort_handle();
        Self { incoming, outgoing, writer, reader }
    }

    /// The next message. After an error there is nothing more to read.
    pub async fn receive(&mut self) -> Result<Bytes, Lost> {
        self.incoming.recv().await.unwrap_or(Err(Lost::Closed))
    }

    /// Waits until one more message can be queued for writing. Cancellation loses nothing.
    pub async fn ready(&self) -> Result<SendSlot<'_>, Lost> {
        self.outgoing.reserve().await.map(SendSlot).map_err(|_| Lost::Closed)
    }

    /// The message that comes next or the room for one more, whichever is first.
    /// `wants_to_send` says whether the room is of any use.
    pub async fn turn(&mut self, wants_to_send: bool) -> Result<Turn<'_>, Lost> {
        tokio::select! {
            biased;
            message = self.incoming.recv() => message.unwrap_or(Err(Lost::Closed)).map(Turn::Received),
            slot = self.outgoing.reserve(), if wants_to_send => {
                slot.map(|permit| Turn::Sendable(SendSlot(permit))).map_err(|_| Lost::Closed)
            }
        }
    }

    /// Writes what is queued, says goodbye and waits a moment for the answer.
    pub async fn close(mut self) {
        let goodbye = async {
            if self.outgoing.send(Message::close(None, "")).await.is_ok() {
                while let Some(Ok(_)) = self.incoming.recv().await {}
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.writer.abort();
        self.reader.abort();
    }
}

/// What a socket can do next.
#[derive(Debug)]
pub enum Turn<'a> {
    /// A message came.
    Received(Bytes),
    /// A message can be queued.
    Sendable(SendSlot<'a>),
}

/// Room for one message.
#[derive(Debug)]
pub struct SendSlot<'a>(Permit<'a, Message>);

impl SendSlot<'_> {
    /// Queues a message for writing.
    pub fn send(self, message: Bytes) {
        self.0.send(Message::binary(message));
    }
}

/// Writes messages, and a ping whenever it is time.
async fn write(
    mut sink: SplitSink<WebSocketStream<ByteStream>, Message>,
    mut outgoing: mpsc::Receiver<Message>,
    pings_unanswered: Arc<AtomicU32>,
    period: Duration,
) {
    let mut keep_alive = interval_at(Instant::now() + period, period);
    loop {
        let message = tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => message,
                None => return,
            },
            _ = keep_alive.tick() => {
                pings_unanswered.fetch_add(1, Ordering::Relaxed);
                Message::ping(Bytes::new())
            }
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// Reads messages; any sign of life answers the pings.
async fn read(
    mut stream: SplitStream<WebSocketStream<ByteStream>>,
    incoming: mpsc::Sender<Result<Bytes, Lost>>,
    pings_unanswered: Arc<AtomicU32>,
    period: Duration,
) {
    loop {
        let message = match timeout(period, stream.next()).await {
            Err(_elapsed) if pings_unanswered.load(Ordering::Relaxed) >= PINGS_MISSED_MAX => {
                Err(Lost::Silent)
            }
            Err(_elapsed) => continue,
            Ok(None) => Err(Lost::Closed),
            Ok(Some(Err(error))) => Err(Lost::Failed(error)),
            Ok(Some(Ok(message))) => {
                pings_unanswered.store(0, Ordering::Relaxed);
                match message {
                    message if message.is_binary() => Ok(message.into_payload().into()),
                    message if message.is_close() => Err(Lost::Closed),
                    message if message.is_text() => Err(Lost::NotBinary),
                    _ping_or_pong => continue,
                }
            }
        };
        let over = message.is_err();
        if incoming.send(message).await.is_err() || over {
            // One more turn lets the library write its answer to a close frame.
            let _ = timeout(CLOSE_TIMEOUT, stream.next()).await;
            return;
        }
    }
}

fn upgrade_error(error: Error) -> Unreachable {
    match error {
        Error::Io(error) => Unreachable::Network(error),
        Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status)) => Unreachable::Status(status),
        other => Unreachable::Protocol(other.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_websockets::ServerBuilder;

    const PERIOD: Duration = Duration::from_millis(20);

    /// A socket with a short keep-alive, and the other end as the library serves it.
    async fn connected() -> (Socket, WebSocketStream<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let client = ClientBuilder::new().take_over(ByteStream::Plain(stream));
        (Socket::start(client, PERIOD), ServerBuilder::new().serve(server))
    }

    #[tokio::test]
    async fn a_server_that_answers_no_ping_is_given_up() {
        let (mut socket, _server_that_never_reads) = connected().await;
        assert!(matches!(socket.receive().await, Err(Lost::Silent)));
    }

    #[tokio::test]
    async fn pongs_keep_an_idle_socket_open() {
        let (mut socket, mut server) = connected().await;
        let mut pings = 0;
        while pings < 3 * PINGS_MISSED_MAX {
            // The library answers a ping when it is polled next.
            let message = tokio::select! {
                message = server.next() => message.unwrap().unwrap(),
                ended = socket.receive() => panic!("{ended:?}"),
            };
            pings += u32::from(message.is_ping());
        }
        server.send(Message::binary(Bytes::from_static(b"still there"))).await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), "still there");
    }
}
