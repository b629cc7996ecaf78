//! The bytes of a socket, before anybody has proved anything. Bytes in pieces mean what they mean in one.

use crate::{Outcome, Sample, Target};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rustls::{ClientConfig, ServerConfig, client::ClientConnection, crypto::aws_lc_rs};
use server_edge::{
    connection::{Connection, Ended, Event, Scratch},
    tls::{Security, server_config},
    websocket::{Assembly, HEAD_BYTES_MAX, Head, Incoming, Violation, encode_message, read_head},
};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use types::{Timestamp, limits};

/// The head of the first request.
pub(super) const HTTP_HEAD: Target = Target {
    name: "edge_http_head",
    run: http_head,
    samples: || vec![Sample::new("upgrade", upgrade()), Sample::new("browser", browser_upgrade())],
    short_runs: 20_000,
    input_bytes_max: HEAD_BYTES_MAX + 64,
};

/// Frames and fragments after the upgrade.
pub(super) const WEBSOCKET: Target = Target {
    name: "edge_websocket",
    run: websocket,
    samples: || {
        vec![
            Sample::new("message", frame(0x82, b"hello")),
            Sample::new("medium_length", frame(0x82, &[7; 300])),
            Sample::new("fragments", fragments()),
            Sample::new(
                "ping_in_message",
                [frame(0x02, b"he"), frame(0x89, b"?"), frame(0x80, b"y")].concat(),
            ),
            Sample::new("close", frame(0x88, &1000_u16.to_be_bytes())),
        ]
    },
    short_runs: 10_000,
    input_bytes_max: 32 * 1024,
};

/// A whole connection without TLS.
pub(super) const CONNECTION: Target = Target {
    name: "edge_connection",
    run: |bytes| connection(&Security::Plaintext, bytes),
    samples: || {
        let with = |frames: Vec<u8>| [upgrade(), frames].concat();
        vec![
            Sample::new("message", with(frame(0x82, b"hello"))),
            Sample::new("fragments", with(fragments())),
            Sample::new("close", with(frame(0x88, &[]))),
            Sample::new("other_http", *b"GET /v1/server HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ]
    },
    short_runs: 10_000,
    input_bytes_max: 32 * 1024,
};

/// A whole connection with TLS, before its keys are agreed.
pub(super) const TLS: Target = Target {
    name: "edge_tls",
    run: |bytes| connection(&Security::Tls(Arc::clone(tls_config())), bytes),
    samples: || vec![Sample::new("client_hello", client_hello())],
    short_runs: 1_000,
    input_bytes_max: 64 * 1024,
};

/// Tests run at one moment.
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn http_head(bytes: &[u8]) -> Outcome {
    match read_head(bytes) {
        Head::Partial => {
            assert!(bytes.len() <= HEAD_BYTES_MAX, "a head over its limit is refused");
            Outcome::Refused("partial".to_owned())
        }
        Head::Other => Outcome::Refused("other".to_owned()),
        Head::Refused => Outcome::Refused("refused".to_owned()),
        Head::Socket { length, key } => {
            assert!(length <= HEAD_BYTES_MAX, "a head over its limit is refused");
            assert_eq!(
                read_head(&bytes[..length]),
                Head::Socket { length, key },
                "what follows changes nothing"
            );
            assert_eq!(read_head(&bytes[..length - 1]), Head::Partial, "a head ends where it says");
            Outcome::Accepted
        }
    }
}

fn websocket(bytes: &[u8]) -> Outcome {
    let (whole, end) = messages(&[bytes]);
    let (pieces, pieces_end) = messages(&cut(bytes));
    assert_eq!(pieces, whole, "bytes in pieces mean what they mean in one");
    assert_eq!(pieces_end, end, "bytes in pieces end as they end in one");
    for incoming in &whole {
        if let Incoming::Message(message) = incoming {
            assert!(message.len() <= MESSAGE_MAX, "a message over its limit is refused");
            let (again, _) = messages(&[&frame(0x82, message)]);
            assert_eq!(again, [Incoming::Message(message.clone())], "a message can be sent again");
        }
    }
    match end {
        Some(violation) => Outcome::Refused(violation.to_string()),
        None if whole.is_empty() => Outcome::Refused("nothing whole".to_owned()),
        None => Outcome::Accepted,
    }
}

const MESSAGE_MAX: usize = limits::SOCKET_MESSAGE_BYTES_MAX_UNAUTHENTICATED;

/// Feeds an assembly as a connection does: what is not done with comes again in front of the next piece.
fn messages(pieces: &[&[u8]]) -> (Vec<Incoming>, Option<Violation>) {
    let (mut assembly, mut waiting, mut found) = (Assembly::default(), Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            match assembly.next(&mut waiting, MESSAGE_MAX) {
                Ok((done, incoming)) => {
                    assert!(done <= waiting.len(), "no more is done with than there was");
                    waiting.drain(..done);
                    let Some(incoming) = incoming else { break };
                    found.push(incoming);
                }
                Err(violation) => return (found, Some(violation)),
            }
        }
        assert!(
            waiting.len() <= limits::SOCKET_FRAME_BYTES_MAX + 14,
            "what waits is the beginning of a frame"
        );
    }
    (found, None)
}

fn connection(security: &Security, bytes: &[u8]) -> Outcome {
    let whole = events(security, &[bytes]);
    assert_eq!(events(security, &cut(bytes)), whole, "bytes in pieces mean what they mean in one");
    match whole.last() {
        Some(Event::Ended(reason)) if *reason != Ended::ByPeer => Outcome::Refused(reason.name().to_owned()),
        None if matches!(security, Security::Plaintext) => Outcome::Refused("nothing whole".to_owned()),
        _ => Outcome::Accepted,
    }
}

/// Feeds a connection and reads all that it answers.
fn events(security: &Security, pieces: &[&[u8]]) -> Vec<Event> {
    let mut connection = Connection::new(security.accept().expect("a connection can be accepted"));
    let (mut scratch, mut events) = (Scratch::default(), Vec::new());
    for piece in pieces {
        connection.receive(&mut piece.to_vec(), NOW, &mut scratch, &mut events);
        let flushed = connection.flush(&mut scratch, |output| Ok(output.len()));
        flushed.expect("what was queued can be sealed");
        assert_eq!(connection.pending_output(), 0, "a peer that reads leaves nothing waiting");
    }
    let endings = events.iter().filter(|event| matches!(event, Event::Ended(_))).count();
    assert!(
        endings == 0 || endings == 1 && matches!(events.last(), Some(Event::Ended(_))),
        "an end is the last"
    );
    events
}

/// Cuts bytes at places that follow from the bytes, so that a failing input fails again.
fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut rng = SmallRng::from_seed(digest);
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let longest = if rng.random_bool(0.5) { 8 } else { 2_000 };
        let (piece, later) = rest.split_at(rng.random_range(1..=rest.len().min(longest)));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

// ---- samples

fn upgrade() -> Vec<u8> {
    b"GET /v1/socket HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
      sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        .to_vec()
}

fn browser_upgrade() -> Vec<u8> {
    b"GET /v1/socket?v=1 HTTP/1.1\r\nHost: chat.example.org\r\nConnection: keep-alive, Upgrade\r\n\
      Pragma: no-cache\r\nUpgrade: WebSocket\r\nOrigin: https://chat.example.org\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\
      Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        .to_vec()
}

fn fragments() -> Vec<u8> {
    [frame(0x02, b"hel"), frame(0x00, b"l"), frame(0x80, b"o")].concat()
}

/// A client's frame: the server's own encoding of the length, with a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut encoded = Vec::new();
    encode_message(payload, &mut encoded);
    let header = encoded.len() - payload.len();
    encoded[0] = first;
    encoded[1] |= 0x80;
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    Bytes::copy_from_slice(&encoded[..header]).into_iter().chain(MASK).chain(masked).collect()
}

fn tls_config() -> &'static Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("a certificate can be made");
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        server_config(vec![made.cert.der().clone()], key).expect("the certificate fits its key")
    })
}

/// The first flight of a client, which is random; any of them will do.
fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().expect("localhost is a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client can begin");
    let mut flight = Vec::new();
    client.write_tls(&mut flight).expect("a vector can be written to");
    flight
}
