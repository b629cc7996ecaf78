//! One connection, without a socket: ciphertext in, events out, and output that waits to be written.
//!
//! Owns: the order TLS, HTTP head, WebSocket; everything of a connection that is only partly there
//! (a record, a head, a message, unwritten output).
//! Invariants: memory beyond the fixed state exists only while something is partial, and each partial
//! thing has a bound; after [`Event::Ended`] nothing is read any more; what was queued before the end
//! is written before the farewell.
//! Must not know: sockets, clocks, sessions, what a message means.

use crate::{
    tls::{CIPHERTEXT_PENDING_BYTES_MAX, Opened, Tls},
    websocket::{
        Assembly, CloseCode, HEAD_BYTES_MAX, Head, Incoming, Opcode, Violation, encode_close, encode_control,
        encode_message, read_head, switching_protocols,
    },
};
use bytes::Bytes;
use std::{io, mem};
use types::{Millis, Timestamp, limits};

/// Pings that come faster than this are not answered.
pub const PONG_INTERVAL: Millis = Millis::from_secs(1);

/// Answer to a first request that is not HTTP, or whose head is too long.
const REFUSED_HEAD: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const BAD_HEAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What a connection has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The upgrade was answered: messages may be sent.
    Opened,
    /// A whole binary message.
    Message(Bytes),
    /// The first request is ordinary HTTP: continue with [`Connection::into_handoff`].
    OtherHttp,
    /// The last event. Queued output is still to be flushed.
    Ended(Ended),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer said so.
    ByPeer,
    /// Records that are not TLS, or that do not open.
    Tls,
    /// A first request that is not HTTP, or too long.
    Head,
    /// A breach of the WebSocket protocol or its limits.
    Violation(Violation),
    /// We said so.
    ByServer(CloseCode),
}

impl Ended {
    /// The reason's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ByPeer => "peer",
            Self::Tls => "tls",
            Self::Head => "head",
            Self::Violation(Violation::TooLarge) => "too_large",
            Self::Violation(_) => "violation",
            Self::ByServer(CloseCode::GoingAway) => "going_away",
            Self::ByServer(_) => "server",
        }
    }
}

/// More output is waiting than one connection may hold: the peer does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("output bound reached")]
pub struct OutputFull;

/// Whether queued output has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything was written.
    All,
    /// The socket takes no more for now.
    Blocked,
}

/// Buffers that connections of one thread share, each for the length of one call.
#[derive(Default)]
pub struct Scratch {
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

/// What a connection leaves to whoever serves ordinary HTTP.
pub struct Handoff {
    /// Transport security, in the middle of its stream.
    pub security: Box<dyn Tls>,
    /// Received, not yet opened.
    pub ciphertext: Vec<u8>,
    /// Opened, not yet served: the request's head and what came with it.
    pub plaintext: Vec<u8>,
    /// Sealed, not yet written.
    pub output: Vec<u8>,
}

/// One connection.
pub struct Connection {
    security: Box<dyn Tls>,
    partial: Option<Box<Partial>>,
    ponged_at: Option<Timestamp>,
    phase: Phase,
    message_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the first request, and for the handshake before it.
    Head,
    Socket,
    /// Nothing is read any more; the farewell goes out with the next flush.
    Ended,
    /// The farewell is sealed.
    Finished,
    /// The request belongs to somebody else.
    OtherHttp,
}

/// What exists only while something is partial.
#[derive(Default)]
struct Partial {
    ciphertext: Vec<u8>,
    plaintext: Vec<u8>,
    assembly: Assembly,
    /// Plaintext to be sealed at the next flush.
    frames: Vec<u8>,
    /// Ciphertext that the socket did not take yet, from `written` on.
    output: Vec<u8>,
    written: usize,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.ciphertext.is_empty()
            && self.plaintext.is_empty()
            && self.assembly.is_empty()
            && self.frames.is_empty()
            && self.output.is_empty()
    }
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(security: Box<dyn Tls>) -> Self {
        Self {
            security,
            partial: None,
            ponged_at: None,
            phase: Phase::Head,
            message_max: limits::SOCKET_MESSAGE_BYTES_MAX_UNAUTHENTICATED as u32,
        }
    }

    /// Takes bytes as they came from the socket (they are changed in place) and appends what they
    /// meant to `events`.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        now: Timestamp,
        scratch: &mut Scratch,
        events: &mut Vec<Event>,
    ) {
        if !matches!(self.phase, Phase::Head | Phase::Socket) {
            return;
        }
        let mut plain = mem::take(&mut scratch.plain);
        let opened = self.open(input, &mut plain);
        self.read(&mut plain, now, events);
        plain.clear();
        scratch.plain = plain;
        match opened {
            Ok(Opened { peer_closed: false, .. }) => {}
            Ok(_) => self.ended(Ended::ByPeer, events),
            Err(reason) => self.ended(reason, events),
        }
        self.release();
    }

    /// The peer's side of the socket was closed.
    pub fn receive_end(&mut self, events: &mut Vec<Event>) {
        self.ended(Ended::ByPeer, events);
    }

    /// Raises the limit of a message to that of an authenticated session.
    pub fn authenticated(&mut self) {
        self.message_max = limits::SOCKET_MESSAGE_BYTES_MAX as u32;
    }

    /// Queues a binary message. At most `output_max` bytes may wait.
    pub fn send(&mut self, message: &[u8], output_max: usize) -> Result<(), OutputFull> {
        if self.phase != Phase::Socket {
            return Ok(());
        }
        if self.pending_output() + message.len() > output_max {
            return Err(OutputFull);
        }
        encode_message(message, self.frames());
        Ok(())
    }

    /// Ends the connection from our side, after what is already queued.
    pub fn end(&mut self, code: CloseCode, events: &mut Vec<Event>) {
        if self.phase == Phase::Socket {
            encode_close(code, self.frames());
        }
        self.ended(Ended::ByServer(code), events);
    }

    /// Bytes that wait to be written.
    pub fn pending_output(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.frames.len() + partial.output.len() - partial.written)
    }

    /// Whether a flush has something to do.
    pub fn wants_flush(&self) -> bool {
        self.pending_output() > 0 || self.phase == Phase::Ended
    }

    /// Whether the farewell has been written: the socket may be shut down for writing.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished && self.pending_output() == 0
    }

    /// Whether memory is held beyond the fixed state.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Seals what is queued, coalesced, and writes it with `write` until that would block.
    pub fn flush(
        &mut self,
        scratch: &mut Scratch,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        let mut sealed = mem::take(&mut scratch.sealed);
        let result = self.seal(&mut sealed).and_then(|()| self.write(&sealed, &mut write));
        sealed.clear();
        scratch.sealed = sealed;
        self.release();
        result
    }

    /// Gives up everything for another server of HTTP, after [`Event::OtherHttp`].
    pub fn into_handoff(self) -> Handoff {
        let partial = self.partial.map(|partial| *partial).unwrap_or_default();
        Handoff {
            security: self.security,
            ciphertext: partial.ciphertext,
            plaintext: partial.plaintext,
            output: partial.output.get(partial.written..).unwrap_or_default().to_vec(),
        }
    }

    /// Opens records, keeping an incomplete one for later.
    fn open(&mut self, input: &mut [u8], plain: &mut Vec<u8>) -> Result<Opened, Ended> {
        let mut joined;
        let mut out = Vec::new();
        let bytes = match &mut self.partial {
            Some(partial) if !partial.ciphertext.is_empty() => {
                joined = mem::take(&mut partial.ciphertext);
                joined.extend_from_slice(input);
                joined.as_mut_slice()
            }
            _ => input,
        };
        let opened = self.security.open(bytes, plain, &mut out);
        if !out.is_empty() {
            self.partial().output.append(&mut out);
        }
        let opened = opened.map_err(|_| Ended::Tls)?;
        let rest = bytes.get(opened.consumed..).unwrap_or_default();
        if rest.len() > CIPHERTEXT_PENDING_BYTES_MAX {
            return Err(Ended::Tls);
        }
        if !rest.is_empty() {
            self.partial().ciphertext = rest.to_vec();
        }
        Ok(opened)
    }

    /// Reads plaintext, keeping an incomplete head or frame for later.
    fn read(&mut self, plain: &mut Vec<u8>, now: Timestamp, events: &mut Vec<Event>) {
        if plain.is_empty() {
            return;
        }
        let mut joined = match &mut self.partial {
            Some(partial) if !partial.plaintext.is_empty() => {
                partial.plaintext.append(plain);
                mem::take(&mut partial.plaintext)
            }
            _ => mem::take(plain),
        };
        let read = self.read_phases(&mut joined, now, events);
        if let Phase::Head | Phase::Socket | Phase::OtherHttp = self.phase
            && let Some(rest) = joined.get(read..).filter(|rest| !rest.is_empty())
        {
            self.partial().plaintext = rest.to_vec();
        }
        // The shared buffer goes back with its capacity, unless this was the connection's own.
        if plain.capacity() == 0 {
            *plain = joined;
        }
    }

    fn read_phases(&mut self, bytes: &mut [u8], now: Timestamp, events: &mut Vec<Event>) -> usize {
        let mut done = 0;
        if self.phase == Phase::Head {
            done = self.read_first_head(bytes, events);
        }
        while self.phase == Phase::Socket {
            let Some(rest) = bytes.get_mut(done..) else { break };
            let mut assembly =
                self.partial.as_mut().map(|partial| mem::take(&mut partial.assembly)).unwrap_or_default();
            let next = assembly.next(rest, self.message_max as usize);
            if !assembly.is_empty() {
                self.partial().assembly = assembly;
            }
            match next {
                Ok((used, Some(incoming))) => {
                    done += used;
                    self.incoming(incoming, now, events);
                }
                Ok((used, None)) => return done + used,
                Err(violation) => self.violated(violation, events),
            }
        }
        done
    }

    fn read_first_head(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> usize {
        match read_head(bytes) {
            Head::Partial => 0,
            Head::Socket { length, key } => {
                switching_protocols(&key, self.frames());
                self.phase = Phase::Socket;
                events.push(Event::Opened);
                length
            }
            Head::Other => {
                self.phase = Phase::OtherHttp;
                events.push(Event::OtherHttp);
                0
            }
            Head::Refused => {
                let answer = if bytes.len() > HEAD_BYTES_MAX { REFUSED_HEAD } else { BAD_HEAD };
                self.frames().extend_from_slice(answer);
                self.ended(Ended::Head, events);
                bytes.len()
            }
        }
    }

    fn incoming(&mut self, incoming: Incoming, now: Timestamp, events: &mut Vec<Event>) {
        match incoming {
            Incoming::Message(message) => events.push(Event::Message(message)),
            Incoming::Ping(payload) => {
                if self.ponged_at.is_none_or(|last| now >= last + PONG_INTERVAL) {
                    self.ponged_at = Some(now);
                    encode_control(Opcode::Pong, &payload, self.frames());
                }
            }
            Incoming::Close(code) => {
                encode_close(code, self.frames());
                self.ended(Ended::ByPeer, events);
            }
        }
    }

    fn violated(&mut self, violation: Violation, events: &mut Vec<Event>) {
        encode_close(violation.close_code(), self.frames());
        self.ended(Ended::Violation(violation), events);
    }

    fn ended(&mut self, reason: Ended, events: &mut Vec<Event>) {
        if matches!(self.phase, Phase::Head | Phase::Socket) {
            self.phase = Phase::Ended;
            if let Some(partial) = &mut self.partial {
                partial.plaintext = Vec::new();
                partial.assembly = Assembly::default();
            }
            events.push(Event::Ended(reason));
        }
    }

    /// Seals queued plaintext, and the farewell after it, to `sealed`.
    fn seal(&mut self, sealed: &mut Vec<u8>) -> io::Result<()> {
        let mut nothing = Vec::new();
        let (frames, pending) = match &mut self.partial {
            Some(partial) => (mem::take(&mut partial.frames), &mut partial.ciphertext),
            None => (Vec::new(), &mut nothing),
        };
        let established = self.security.established();
        if !frames.is_empty() && established {
            self.security.seal(&frames, pending, sealed).map_err(io::Error::other)?;
        }
        if self.phase == Phase::Ended {
            if established {
                self.security.close(pending, sealed);
            }
            self.phase = Phase::Finished;
        }
        Ok(())
    }

    /// Writes older output, then `sealed`; what the socket does not take is kept.
    fn write(
        &mut self,
        sealed: &[u8],
        write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        if let Some(partial) = &mut self.partial
            && !partial.output.is_empty()
        {
            partial.output.extend_from_slice(sealed);
            partial.written +=
                write_until_blocked(partial.output.get(partial.written..).unwrap_or_default(), write)?;
            if partial.written < partial.output.len() {
                // What was written must not pile up in front of what was not.
                if partial.written > partial.output.len() / 2 {
                    partial.output.drain(..mem::take(&mut partial.written));
                }
                return Ok(Flushed::Blocked);
            }
            (partial.output, partial.written) = (Vec::new(), 0);
            return Ok(Flushed::All);
        }
        let written = write_until_blocked(sealed, write)?;
        match sealed.get(written..) {
            Some(rest) if !rest.is_empty() => {
                self.partial().output = rest.to_vec();
                Ok(Flushed::Blocked)
            }
            _ => Ok(Flushed::All),
        }
    }

    fn partial(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.partial().frames
    }

    fn release(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.is_empty()) {
            self.partial = None;
        }
    }
}

fn write_until_blocked(
    bytes: &[u8],
    write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
