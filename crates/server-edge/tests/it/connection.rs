//! The connection without a socket: bytes in any pieces, output in any pieces, bounded memory.

use crate::websocket::frame;
use proptest::prelude::*;
use server_edge::{
    connection::{Connection, Ended, Event, Flushed, OutputFull, Scratch},
    tls::Security,
    websocket::{CloseCode, Violation},
};
use std::io;
use types::{Millis, Timestamp};

const UPGRADE: &[u8] = b"GET /v1/socket HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// A plain connection and what has come out of it.
struct Harness {
    connection: Connection,
    scratch: Scratch,
    events: Vec<Event>,
    written: Vec<u8>,
}

impl Harness {
    fn new() -> Self {
        let connection = Connection::new(Security::Plaintext.accept().unwrap());
        Self { connection, scratch: Scratch::default(), events: Vec::new(), written: Vec::new() }
    }

    /// A socket that is open, with its answer written.
    fn open() -> Self {
        let mut harness = Self::new();
        harness.receive(UPGRADE);
        assert_eq!(harness.flush(usize::MAX), Flushed::All);
        harness.events.clear();
        harness.written.clear();
        harness
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.receive_at(bytes, NOW);
    }

    fn receive_at(&mut self, bytes: &[u8], now: Timestamp) {
        self.connection.receive(&mut bytes.to_vec(), now, &mut self.scratch, &mut self.events);
    }

    /// Flushes into a socket that takes this many bytes.
    fn flush(&mut self, mut room: usize) -> Flushed {
        let written = &mut self.written;
        let write = |bytes: &[u8]| {
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(room);
            written.extend_from_slice(&bytes[..count]);
            room -= count;
            Ok(count)
        };
        self.connection.flush(&mut self.scratch, write).unwrap()
    }
}

proptest! {
    /// The pieces in which bytes arrive change nothing.
    #[test]
    fn pieces_do_not_matter(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2_000), 0..5),
        cuts in prop::collection::vec(1_usize..300, 1..200),
        end in prop_oneof![Just(vec![]), Just(frame(true, 8, b"", [1; 4])), Just(frame(true, 1, b"text", [1; 4]))],
    ) {
        let mut bytes = UPGRADE.to_vec();
        for message in &messages {
            let (first, second) = message.split_at(message.len() / 2);
            bytes.extend(frame(false, 2, first, [1, 2, 3, 4]));
            bytes.extend(frame(true, 9, b"!", [5; 4]));
            bytes.extend(frame(true, 0, second, [5, 6, 7, 8]));
        }
        bytes.extend(end);
        let mut whole = Harness::new();
        whole.receive(&bytes);
        let mut pieces = Harness::new();
        let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            pieces.receive(now);
            rest = later;
        }
        prop_assert_eq!(&pieces.events, &whole.events);
        whole.flush(usize::MAX);
        pieces.flush(usize::MAX);
        prop_assert_eq!(&pieces.written, &whole.written);
        let received = whole.events.iter().filter(|event| matches!(event, Event::Message(_))).count();
        prop_assert_eq!(received, messages.len());
        prop_assert!(!pieces.connection.is_partial(), "nothing is kept when nothing is partial");
    }

    /// The pieces in which a socket takes output change nothing.
    #[test]
    fn output_leaves_in_order(
        steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..500), 0_usize..700), 0..60),
    ) {
        let mut harness = Harness::open();
        let mut expected = Vec::new();
        for (message, room) in steps {
            harness.connection.send(&message, usize::MAX).unwrap();
            server_edge::websocket::encode_message(&message, &mut expected);
            harness.flush(room);
            prop_assert_eq!(harness.connection.pending_output(), expected.len() - harness.written.len());
        }
        prop_assert_eq!(harness.flush(usize::MAX), Flushed::All);
        prop_assert_eq!(harness.written, expected);
        prop_assert!(!harness.connection.is_partial());
    }
}

#[test]
fn an_idle_socket_keeps_nothing() {
    let harness = Harness::open();
    assert!(!harness.connection.is_partial());
    // Besides the state of TLS: a connection in the slab is this large.
    assert!(size_of::<Connection>() <= 64, "{}", size_of::<Connection>());
}

#[test]
fn output_has_a_bound() {
    let mut harness = Harness::open();
    assert_eq!(harness.connection.send(&[0; 600], 1_000), Ok(()));
    assert_eq!(harness.connection.send(&[0; 600], 1_000), Err(OutputFull));
    assert_eq!(harness.flush(usize::MAX), Flushed::All);
    assert_eq!(harness.connection.send(&[0; 600], 1_000), Ok(()), "what was written does not count");
}

#[test]
fn what_was_queued_is_written_before_the_farewell() {
    let mut harness = Harness::open();
    harness.connection.send(b"last", usize::MAX).unwrap();
    harness.connection.end(CloseCode::GoingAway, &mut harness.events);
    assert!(!harness.connection.is_finished());
    assert_eq!(harness.flush(3), Flushed::Blocked);
    assert!(!harness.connection.is_finished());
    assert_eq!(harness.flush(usize::MAX), Flushed::All);
    assert!(harness.connection.is_finished());
    assert_eq!(harness.written, b"\x82\x04last\x88\x02\x03\xe9");
    assert_eq!(harness.events, [Event::Ended(Ended::ByServer(CloseCode::GoingAway))]);
}

#[test]
fn after_the_end_nothing_is_read_or_written() {
    let mut harness = Harness::open();
    harness.receive(&[frame(true, 1, b"", [0; 4]), frame(true, 2, b"late", [0; 4])].concat());
    harness.receive(&frame(true, 2, b"later", [0; 4]));
    harness.connection.end(CloseCode::Normal, &mut harness.events);
    assert_eq!(harness.events, [Event::Ended(Ended::Violation(Violation::Text))]);
    harness.flush(usize::MAX);
    harness.connection.send(b"late", usize::MAX).unwrap();
    assert_eq!(harness.flush(usize::MAX), Flushed::All);
    assert_eq!(harness.written, b"\x88\x02\x03\xeb", "one farewell");
}

#[test]
fn one_ping_a_second_is_answered() {
    let mut harness = Harness::open();
    let ping = |text: &[u8]| frame(true, 9, text, [0; 4]);
    harness.receive(&[ping(b"1"), ping(b"2"), ping(b"3")].concat());
    harness.receive_at(&ping(b"4"), NOW + Millis(999));
    harness.receive_at(&ping(b"5"), NOW + Millis(1_000));
    harness.flush(usize::MAX);
    assert_eq!(harness.written, b"\x8a\x011\x8a\x015");
}

#[test]
fn a_message_may_be_larger_once_authenticated() {
    let large = frame(true, 2, &[0; 20_000], [0; 4]);
    let mut stranger = Harness::open();
    stranger.receive(&large);
    assert_eq!(stranger.events, [Event::Ended(Ended::Violation(Violation::TooLarge))]);
    let mut device = Harness::open();
    device.connection.authenticated();
    device.receive(&large);
    assert!(matches!(&device.events[..], [Event::Message(message)] if message.len() == 20_000));
}

#[test]
fn a_handoff_has_every_byte_that_was_read() {
    let request = b"POST /v1/register HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo";
    let mut harness = Harness::new();
    let (first, second) = request.split_at(10);
    harness.receive(first);
    assert_eq!(harness.events, []);
    harness.receive(second);
    assert_eq!(harness.events, [Event::OtherHttp]);
    assert_eq!(harness.connection.into_handoff().plaintext, request);
}
