//! Transport security of one connection, as a transformation between byte slices.
//!
//! Owns: the choice between plaintext and TLS, record processing, orderly closing.
//! Invariant: an implementation keeps keys and handshake state, never a read or write buffer; all
//! buffers belong to the caller, which is what lets ten thousand idle connections share one.
//! Must not know: sockets, HTTP, WebSocket.

mod config;
mod lean_aead;

pub use config::{TlsConfigError, server_config, server_config_from_pem};
pub use lean_aead::lean_provider;

use rustls::{
    ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};
use std::sync::Arc;

/// Ciphertext that may wait for its missing rest: one record of the largest size (RFC 8446,
/// section 5.2) together with a handshake message that is spread over several records.
pub const CIPHERTEXT_PENDING_BYTES_MAX: usize = 48 * 1024;

/// Room that a record needs beside its plaintext: header, content type, authentication tag.
const RECORD_OVERHEAD: usize = 32;
/// Plaintext of one record (RFC 8446, section 5.1).
const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;
/// Handshake flights are at most this large for common certificates; a larger one costs one retry.
const FLIGHT_BYTES: usize = 4 * 1024;

/// The transport security of one connection.
pub trait Tls: Send {
    /// Consumes whole records from the front of `input`, appends what they carried to `plain` and
    /// what the protocol itself has to answer to `out`.
    ///
    /// What was not consumed must be passed again, as it is now (records are decrypted in place),
    /// in front of the bytes that follow. After an error `out` may hold an alert for the peer, and
    /// the connection is good for nothing else.
    fn open(&mut self, input: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Opened, TlsError>;

    /// Appends `plain` to `out` as records.
    ///
    /// `pending` is what the last [`Tls::open`] left unconsumed: a half-received handshake message
    /// is remembered as offsets into it.
    fn seal(&mut self, plain: &[u8], pending: &mut [u8], out: &mut Vec<u8>) -> Result<(), TlsError>;

    /// Appends the farewell that tells the peer that nothing was cut off.
    fn close(&mut self, pending: &mut [u8], out: &mut Vec<u8>);

    /// Whether plaintext may be sealed.
    fn established(&self) -> bool;
}

/// What [`Tls::open`] did with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Bytes to discard from the front of the input.
    pub consumed: usize,
    /// The peer has said that it sends nothing more.
    pub peer_closed: bool,
}

/// The records of a peer, or our own state, cannot be processed.
#[derive(Debug, thiserror::Error)]
#[error("transport security failed")]
pub struct TlsError;

impl From<rustls::Error> for TlsError {
    fn from(_: rustls::Error) -> Self {
        Self
    }
}

/// How a listener secures the connections it accepts.
#[derive(Clone)]
pub enum Security {
    /// No transport security: only for loopback, or behind something that terminates TLS.
    Plaintext,
    /// TLS with this configuration, best made by [`server_config`].
    Tls(Arc<ServerConfig>),
}

impl Security {
    /// The state of a new connection.
    pub fn accept(&self) -> Result<Box<dyn Tls>, TlsError> {
        match self {
            Self::Plaintext => Ok(Box::new(Plaintext)),
            Self::Tls(config) => Ok(Box::new(Rustls::new(config.clone())?)),
        }
    }
}

/// No security: bytes pass as they are.
struct Plaintext;

impl Tls for Plaintext {
    fn open(&mut self, input: &mut [u8], plain: &mut Vec<u8>, _: &mut Vec<u8>) -> Result<Opened, TlsError> {
        plain.extend_from_slice(input);
        Ok(Opened { consumed: input.len(), peer_closed: false })
    }

    fn seal(&mut self, plain: &[u8], _: &mut [u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        out.extend_from_slice(plain);
        Ok(())
    }

    fn close(&mut self, _: &mut [u8], _: &mut Vec<u8>) {}

    fn established(&self) -> bool {
        true
    }
}

/// TLS through the unbuffered interface of rustls.
///
/// That interface exists only in rustls 0.23; later versions take the caller's buffer on ordinary
/// connections, and this type is the only one that will notice.
struct Rustls(UnbufferedServerConnection);

/// What one step of the state machine asks for.
enum Step {
    Again,
    Blocked,
    PeerClosed,
}

impl Rustls {
    fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self(UnbufferedServerConnection::new(config)?))
    }

    /// Takes one step over `input`; returns how much of it is done with.
    fn step(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Step), TlsError> {
        let UnbufferedStatus { mut discard, state, .. } = self.0.process_tls_records(input);
        let step = match state? {
            ConnectionState::EncodeTlsData(encoder) => {
                encode(encoder, out)?;
                Step::Again
            }
            ConnectionState::TransmitTlsData(transmit) => {
                transmit.done();
                Step::Again
            }
            ConnectionState::ReadTraffic(mut records) => {
                while let Some(record) = records.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                Step::Again
            }
            ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake => Step::Blocked,
            ConnectionState::PeerClosed | ConnectionState::Closed => Step::PeerClosed,
            // Early data is never enabled, and a state of a later version is nothing we can serve.
            _ => return Err(TlsError),
        };
        Ok((discard, step))
    }

    /// Appends the alert that rustls has prepared after an error over `input`.
    fn alert(&mut self, input: &mut [u8], out: &mut Vec<u8>) {
        while let Ok((_, Step::Again)) = self.step(input, &mut Vec::new(), out) {}
    }

    /// Runs `write` in the state in which the connection accepts plaintext.
    fn write<T>(
        &mut self,
        pending: &mut [u8],
        out: &mut Vec<u8>,
        write: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<T, TlsError>,
    ) -> Result<T, TlsError> {
        loop {
            let status = self.0.process_tls_records(pending);
            match status.state? {
                ConnectionState::EncodeTlsData(encoder) => encode(encoder, out)?,
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::WriteTraffic(traffic) => return write(traffic, out),
                _ => return Err(TlsError),
            }
        }
    }
}

impl Tls for Rustls {
    fn open(&mut self, input: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Opened, TlsError> {
        let mut consumed = 0;
        loop {
            let rest = input.get_mut(consumed..).ok_or(TlsError)?;
            let stepped = self.step(rest, plain, out);
            if stepped.is_err() {
                self.alert(rest, out);
            }
            let (discard, step) = stepped?;
            consumed += discard;
            match step {
                Step::Again => {}
                Step::Blocked => return Ok(Opened { consumed, peer_closed: false }),
                Step::PeerClosed => return Ok(Opened { consumed, peer_closed: true }),
            }
        }
    }

    fn seal(&mut self, plain: &[u8], pending: &mut [u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        if plain.is_empty() {
            return Ok(());
        }
        let records = plain.len() / RECORD_PLAINTEXT_MAX + 1;
        self.write(pending, out, |mut traffic, out| {
            append(out, plain.len() + records * RECORD_OVERHEAD, |room| traffic.encrypt(plain, room))
        })
    }

    fn close(&mut self, pending: &mut [u8], out: &mut Vec<u8>) {
        // A connection that is still in its handshake, or broken, has no farewell to send.
        let _ = self.write(pending, out, |mut traffic, out| {
            append(out, 2 * RECORD_OVERHEAD, |room| traffic.queue_close_notify(room))
        });
    }

    fn established(&self) -> bool {
        !self.0.is_handshaking()
    }
}

/// Appends one encoded handshake message to `out`.
fn encode(mut encoder: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> Result<(), TlsError> {
    let start = out.len();
    let mut room = FLIGHT_BYTES;
    loop {
        out.resize(start + room, 0);
        match encoder.encode(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => {
                room = size.required_size
            }
            Err(_) => {
                out.truncate(start);
                return Err(TlsError);
            }
        }
    }
}

/// Lets `write` fill the end of `out`, with more room if the estimate was too small.
fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsError> {
    let start = out.len();
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) if size.required_size > room => {
                room = size.required_size
            }
            Err(_) => {
                out.truncate(start);
                return Err(TlsError);
            }
        }
    }
}
