//! Peers that do not play by the rules: each is stopped by its limit, and memory stays bounded.

use crate::harness::*;
use futures_util::SinkExt as _;
use server_edge::EdgeLimits;
use server_ports::Signal;
use std::{io::ErrorKind, sync::atomic::Ordering, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_websockets::Message;
use types::Millis;
use wire::{ClientFrame, Code, FetchKeys, Push, Request, ServerFrame};

const UPGRADE: &[u8] =
    b"GET /v1/socket HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Reads until the peer has closed; the answer so far.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut answer = Vec::new();
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("never closed") {
        Ok(_) => answer,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => answer,
        Err(error) => panic!("{error}"),
    }
}

/// Upgrades by hand and reads past the answer and hello.
async fn raw_socket(node: &Node) -> TcpStream {
    let mut stream = node.tcp().await;
    stream.write_all(UPGRADE).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let (first, length) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
    assert_eq!(first, 0x82, "one binary frame: hello");
    let mut hello = vec![0; length.into()];
    stream.read_exact(&mut hello).await.unwrap();
    stream
}

/// The close code at the end of what was read.
fn close_code(answer: &[u8]) -> u16 {
    let [.., 0x88, 2, high, low] = answer else { panic!("no close frame at the end of {answer:?}") };
    u16::from_be_bytes([*high, *low])
}

fn short_header() -> EdgeLimits {
    EdgeLimits { header_timeout: Millis(150), ..patient() }
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut_off() {
    let node = Node::plain(short_header());
    let mut stream = node.tcp().await;
    // One byte at a time, faster than any idle limit would notice.
    let (mut read, mut write) = stream.split();
    let slow = async {
        for byte in UPGRADE.iter().cycle() {
            if *byte != b'\r' && write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answer = read_to_end(&mut read) => assert_eq!(answer, b""),
        () = slow => {}
    }
    eventually("the slot is free", || node.edge.connections() == 0).await;
}

#[tokio::test]
async fn the_header_limit_holds_for_silence_and_for_half_a_handshake() {
    for tls in [false, true] {
        let node = Node::start(short_header(), tls, axum::Router::new());
        let mut silent = node.tcp().await;
        let mut half = node.tcp().await;
        half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        assert_eq!(read_to_end(&mut silent).await, b"");
        read_to_end(&mut half).await;
        eventually("the slots are free", || node.edge.connections() == 0).await;
    }
}

#[tokio::test]
async fn the_header_limit_begins_at_accept_and_includes_the_handshake() {
    // Long enough for a handshake on a busy machine.
    let node = Node::tls(EdgeLimits { header_timeout: Millis(3_000), ..patient() });
    let mut stream = node.secured().await;
    stream.write_all(b"GET /v1/socket HTTP/1.1\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
}

#[tokio::test]
async fn a_header_that_is_too_long_is_refused() {
    let node = Node::plain(patient());
    let mut stream = node.tcp().await;
    stream.write_all(b"GET /v1/socket HTTP/1.1\r\nx: ").await.unwrap();
    stream.write_all(&vec![b'a'; 9_000]).await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with(b"HTTP/1.1 431 "));
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let node = Node::plain(patient());
    let mut stream = node.tcp().await;
    stream.write_all(b"\x00\x01\x02 hello\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with(b"HTTP/1.1 400 "));
}

#[tokio::test]
async fn what_is_not_tls_gets_an_alert() {
    let node = Node::tls(patient());
    let mut stream = node.tcp().await;
    stream.write_all(UPGRADE).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(answer.first(), Some(&21), "an alert record");
    eventually("the slot is free", || node.edge.connections() == 0).await;
}

#[tokio::test]
async fn who_does_not_authenticate_in_time_is_told() {
    let mut limits = patient();
    limits.session.authentication_timeout = Millis(100);
    let node = Node::plain(limits);
    let mut client = node.socket().await;
    assert_eq!(client.closing().await, Code::Idle);
}

#[tokio::test]
async fn a_silent_session_ends_and_pings_keep_one_alive() {
    let mut limits = patient();
    limits.session.keep_alive_timeout = Millis(3_000);
    let node = Node::plain(limits);
    let mut silent = node.session(1, 1).await;
    let mut pinging = node.session(2, 1).await;
    pinging.drained().await;
    let ping = async {
        loop {
            pinging.socket.send(Message::ping("")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        code = silent.closing() => assert_eq!(code, Code::Idle),
        () = ping => {}
    }
    pinging.request(Request::Sync).await;
    assert!(pinging.answer().await.1.is_ok(), "the other is still there");
}

#[tokio::test]
async fn a_request_before_authentication_is_refused() {
    let node = Node::plain(patient());
    let mut client = node.socket().await;
    client.request(send()).await;
    assert_eq!(client.closing().await, Code::Unauthenticated);
    assert_eq!(node.core.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn garbage_frames_are_refused() {
    let node = Node::plain(patient());
    let mut client = node.session(1, 1).await;
    client.socket.send(Message::binary(vec![0xff; 100])).await.unwrap();
    assert_eq!(client.closing().await, Code::Malformed);
}

#[tokio::test]
async fn an_announced_64_mib_frame_is_refused_from_its_header() {
    let node = Node::plain(patient());
    let mut stream = raw_socket(&node).await;
    stream.write_all(&[0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0]).await.unwrap();
    assert_eq!(close_code(&read_to_end(&mut stream).await), 1009);
}

#[tokio::test]
async fn a_message_over_16_kib_is_refused_before_authentication_and_taken_after() {
    let node = Node::plain(patient());
    let mut stream = raw_socket(&node).await;
    stream.write_all(&[0x82, 0xfe, 0x40, 0x01]).await.unwrap();
    assert_eq!(close_code(&read_to_end(&mut stream).await), 1009);

    let mut client = node.session(1, 1).await;
    client.drained().await;
    let Request::Send(mut large) = send() else { unreachable!() };
    large.sealed = vec![
        wire::SealedFor {
            to: mailbox(2),
            kind: wire::EnvelopeKind::Ratchet,
            ciphertext: vec![1; 40_000].into(),
        };
        1
    ];
    client.request(Request::Send(large)).await;
    assert!(client.answer().await.1.is_ok());
}

#[tokio::test]
async fn one_byte_fragments_end_at_their_bound() {
    let node = Node::plain(patient());
    let mut stream = raw_socket(&node).await;
    stream.write_all(&[0x02, 0x81, 0, 0, 0, 0, 1]).await.unwrap();
    for _ in 0..100 {
        let _ = stream.write_all(&[0x00, 0x81, 0, 0, 0, 0, 1]).await;
    }
    assert_eq!(close_code(&read_to_end(&mut stream).await), 1009);
}

#[tokio::test]
async fn a_flood_of_pings_gets_one_answer_a_second() {
    let node = Node::plain(patient());
    let mut stream = raw_socket(&node).await;
    for _ in 0..20_000 {
        stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
    }
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    let pongs = answer.chunks(2).filter(|frame| *frame == [0x8a, 0]).count();
    // At least the first is answered; how many more depends on how long this machine took.
    assert!((1..100).contains(&pongs), "{pongs} pongs");
}

#[tokio::test]
async fn half_open_connections_push_out_the_oldest() {
    let node = Node::plain(EdgeLimits { unauthenticated_max: 20, ..patient() });
    let mut honest = node.session(1, 1).await;
    honest.drained().await;
    let mut oldest = node.tcp().await;
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(node.tcp().await);
    }
    assert_eq!(read_to_end(&mut oldest).await, b"");
    eventually("the bound holds", || node.edge.connections() == 21).await;
    let mut newcomer = node.session(2, 1).await;
    newcomer.drained().await;
    honest.request(send()).await;
    assert!(honest.answer().await.1.is_ok(), "a session is never pushed out");
}

#[tokio::test]
async fn one_address_gets_its_share() {
    let node = Node::plain(EdgeLimits { per_address_max: Some(3), ..patient() });
    let mut sessions = Vec::new();
    for account in 0..3 {
        sessions.push(node.session(account, 1).await);
    }
    let mut excess = node.tcp().await;
    assert_eq!(read_to_end(&mut excess).await, b"");
    sessions.pop();
    eventually("a place is free", || node.edge.connections() == 2).await;
    node.session(9, 1).await;
}

/// Sends small requests with answers of 200 kB until the server takes no more or has gone; reads nothing.
async fn ask_without_reading(node: &Node) {
    let mut client = Client::upgrade(node.narrow_tcp().await).await;
    client.authenticate(1, 1).await;
    client.drained().await;
    let request = Request::FetchKeys(FetchKeys { accounts: Vec::new(), reset: false, device: None });
    for id in 2.. {
        let frame = ClientFrame { id, request: request.clone() };
        let sending = client.socket.send(Message::binary(frame.encode()));
        match tokio::time::timeout(Duration::from_secs(5), sending).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

#[tokio::test]
async fn who_does_not_read_is_not_read_from() {
    // Far above what is asserted, so that it is the reading that stops.
    let large = 512 * 1024 * 1024;
    let limits = EdgeLimits { output_bytes_max: large, output_bytes_max_per_shard: large, ..patient() };
    let node = Node::plain(limits);
    ask_without_reading(&node).await;
    // A window of requests or two, and not the thousands that the socket would have carried.
    let calls = node.core.calls.load(Ordering::SeqCst);
    assert!((1..1_000).contains(&calls), "{calls} calls were answered into the void");
}

#[tokio::test]
async fn output_above_its_bound_drops_the_connection() {
    let own = EdgeLimits { output_bytes_max: 1_000_000, ..patient() };
    let shards = EdgeLimits { output_bytes_max_per_shard: 1_000_000, ..patient() };
    for limits in [own, shards] {
        let node = Node::plain(limits);
        ask_without_reading(&node).await;
        eventually("the slot is free", || node.edge.connections() == 0).await;
    }
}

#[tokio::test]
async fn a_reader_that_stops_gets_everything_when_it_goes_on() {
    let node = Node::plain(patient());
    let mut client = Client::upgrade(node.narrow_tcp().await).await;
    client.authenticate(1, 1).await;
    client.drained().await;
    let envelope = vec![5; 100_000];
    for _ in 0..300 {
        let hint = node.core.append(mailbox(1), envelope.clone());
        node.signal(1, 1, hint);
    }
    for _ in 0..100 {
        node.signal(1, 1, Signal::Ephemeral(vec![6; 100_000].into()));
    }
    let (mut received, mut ephemeral) = (0, 0);
    while received < 300 {
        match client.next().await {
            ServerFrame::Push(Push::Deliver(rows)) => {
                received += rows.len();
                client.request(Request::Ack(rows.iter().map(|row| row.position).collect())).await;
            }
            ServerFrame::Push(Push::Ephemeral(_)) => ephemeral += 1,
            ServerFrame::Answer { result, .. } => assert!(result.is_ok()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, 300);
    assert!(ephemeral < 100, "ephemeral signals are dropped first");
}
