//! Ordinary HTTP on the socket's port, plain and TLS.

use crate::harness::*;
use axum::{
    Router,
    body::Bytes,
    extract::ConnectInfo,
    http::StatusCode,
    routing::{get, post, put},
};
use server_edge::{EdgeLimits, Uploads};
use std::{net::SocketAddr, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

fn router() -> Router {
    Router::new()
        .route("/v1/echo", post(|body: Bytes| async move { body }))
        .route("/v1/up/here", post(length).put(length))
        .route("/v1/upper", put(length))
        .route(
            "/v1/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route("/v1/large", get(|| async { vec![b'x'; 3_000_000] }))
        .route("/v1/socket", get(|| async { StatusCode::UPGRADE_REQUIRED }))
}

async fn length(body: Bytes) -> String {
    body.len().to_string()
}

fn node(tls: bool, limits: EdgeLimits) -> Node {
    Node::start(limits, tls, router())
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("never closed").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_request_is_served_with_the_body_that_was_already_read() {
    let request = b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    let plain = node(false, patient());
    let answer = ask(plain.tcp().await, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let tls = node(true, patient());
    let answer = ask(tls.secured().await, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    eventually("nothing stays in a shard", || plain.edge.connections() + tls.edge.connections() == 0).await;
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_served_whole() {
    let node = node(true, patient());
    let mut stream = node.secured().await;
    let body: Vec<u8> = (0..900_000_u32).map(|number| number as u8).collect();
    let head = format!(
        "POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let sending = async {
        write.write_all(head.as_bytes()).await.unwrap();
        for piece in body.chunks(10_001) {
            write.write_all(piece).await.unwrap();
            write.flush().await.unwrap();
        }
    };
    let mut answer = Vec::new();
    let (_, result) = tokio::join!(sending, read.read_to_end(&mut answer));
    result.unwrap();
    assert!(answer.ends_with(&body));
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let node = node(true, patient());
    let request = b"GET /v1/large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = ask(node.secured().await, request).await;
    assert_eq!(answer.bytes().rev().take_while(|byte| *byte == b'x').count(), 3_000_000);
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let node = node(false, patient());
    let request = b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nAA\
POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\nBB";
    let answer = ask(node.tcp().await, request).await;
    assert!(answer.contains("\r\n\r\nAA") && answer.ends_with("\r\n\r\nBB"), "{answer}");
}

#[tokio::test]
async fn handlers_see_the_peer() {
    let node = node(false, patient());
    let answer =
        ask(node.tcp().await, b"GET /v1/peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn the_sockets_path_without_an_upgrade_is_ordinary_http() {
    let node = node(false, patient());
    let answer =
        ask(node.tcp().await, b"GET /v1/socket HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused() {
    let mut limits = patient();
    limits.http.body_bytes_max = 1_000;
    let node = node(false, limits);
    let head = "POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\nconnection: close\r\n\r\n";
    let request = [head.as_bytes(), &[b'a'; 1001]].concat();
    let answer = ask(node.tcp().await, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn larger_bodies_are_taken_at_upload_paths_by_put_alone() {
    let mut limits = patient();
    limits.http.body_bytes_max = 1_000;
    limits.http.uploads = Some(Uploads { path_prefix: "/v1/up/", body_bytes_max: 2_000 });
    let node = node(false, limits);
    for (method, path, bytes, taken) in [
        ("PUT", "/v1/up/here", 2_000, true),
        ("PUT", "/v1/up/here", 2_001, false),
        ("POST", "/v1/up/here", 1_001, false),
        ("POST", "/v1/up/here", 1_000, true),
        ("PUT", "/v1/upper", 1_001, false),
    ] {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n"
        );
        let answer = ask(node.tcp().await, &[head.as_bytes(), &vec![b'a'; bytes]].concat()).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), taken, "{method} {path} {bytes}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_ends_the_connection() {
    let mut limits = patient();
    limits.http.idle_timeout = Duration::from_millis(100);
    let node = node(false, limits);
    let mut stream = node.tcp().await;
    stream.write_all(b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nsome").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "never closed");
}

#[tokio::test]
async fn a_body_that_drips_ends_with_the_connections_lifetime() {
    let mut limits = patient();
    limits.http.lifetime_max = Duration::from_millis(200);
    let node = node(false, limits);
    let mut stream = node.tcp().await;
    stream.write_all(b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
    let (mut read, mut write) = stream.split();
    let drip = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut answer = Vec::new();
    let closed = async {
        tokio::select! { _ = read.read_to_end(&mut answer) => {}, () = drip => {} }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("never closed");
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_places_come_back() {
    let mut limits = patient();
    limits.http.connections_max = 2;
    places_run_out_and_come_back(limits).await;
}

#[tokio::test]
async fn one_address_gets_its_share_of_the_places_for_http_and_keeps_its_sockets() {
    let mut limits = patient();
    limits.http.per_address_max = Some(2);
    let node = places_run_out_and_come_back(limits).await;
    for account in 1..=4 {
        node.session(account, 1).await;
    }
}

/// Two connections are served at a time, and no third.
async fn places_run_out_and_come_back(mut limits: EdgeLimits) -> Node {
    limits.http.header_timeout = 3 * PATIENCE;
    limits.http.idle_timeout = 3 * PATIENCE;
    limits.http.lifetime_max = 3 * PATIENCE;
    let node = node(false, limits);
    let request = b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nAA";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = node.tcp().await;
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"AA") {
            answer.push(stream.read_u8().await.unwrap());
        }
        held.push(stream);
    }
    let mut excess = node.tcp().await;
    excess.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Closed with input unread, which the kernel may tell as a reset.
    let _ = tokio::time::timeout(PATIENCE, excess.read_to_end(&mut answer)).await.expect("never closed");
    assert_eq!(answer, b"");
    held.clear();
    let peer = b"GET /v1/peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for _ in 0..200 {
        let mut stream = node.tcp().await;
        stream.write_all(peer).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        if answer.starts_with(b"HTTP/1.1 200 ") {
            return node;
        }
    }
    panic!("a place that was given up never came back");
}
