//! Blobs at their addresses: up, down, and everything that an address does not allow.

use crate::{
    node::Node,
    raw::{Connection, Raw},
};
use sha2::{Digest, Sha256};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use wire::{BlobTicket, Request, Response};

/// One request with exactly these headers; answers status and body.
fn ask(node: &Node, method: &str, url: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(node.public()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("{method} {url} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|at| at == b"\r\n\r\n").expect("a head");
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(end + 4))
}

fn put(node: &Node, url: &str, body: &[u8]) -> u16 {
    ask(node, "PUT", url, &format!("content-length: {}\r\n", body.len()), body).0
}

async fn create(session: &mut Connection, bytes: &[u8]) -> BlobTicket {
    let sha256 = Sha256::digest(bytes).into();
    let answer = session.ask(Request::CreateBlob { size: bytes.len() as u32, sha256 }).await;
    let Response::BlobTicket(ticket) = answer.unwrap() else { panic!() };
    ticket
}

#[tokio::test]
async fn a_blob_of_the_largest_size_goes_up_and_comes_down_also_after_a_crash() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(data.path());
    let (alice, bob) = (Raw::new(1), Raw::new(2));
    let (hers, his) = (alice.register(&node).await, bob.register(&node).await);
    let mut session = hers.connect(&node).await;
    let bytes: Vec<u8> = (0..types::limits::BLOB_BYTES_MAX as u32).map(|number| (number / 7) as u8).collect();
    let ticket = create(&mut session, &bytes).await;
    assert_eq!(put(&node, &ticket.url, &bytes), 201);
    assert_eq!(put(&node, &ticket.url, &bytes), 201, "a repeat");
    node.kill_and_restart();
    let mut session = his.connect(&node).await;
    let answer = session.ask(Request::GetBlob(ticket.blob)).await.unwrap();
    let Response::BlobTicket(ticket) = answer else { panic!("{answer:?}") };
    let (status, got) = ask(&node, "GET", &ticket.url, "", &[]);
    assert_eq!(status, 200);
    assert!(got == bytes, "{} bytes came", got.len());
}

#[tokio::test]
async fn an_address_allows_what_it_was_made_for_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    let alice = Raw::new(1);
    let mut session = alice.register(&node).await.connect(&node).await;
    let bytes = vec![5; 2_000_000];
    let ticket = create(&mut session, &bytes).await;
    let other = create(&mut session, &[1; 10]).await;

    assert_eq!(ask(&node, "GET", &ticket.url, "", &[]).0, 403, "another method");
    let (_, query) = ticket.url.split_once('?').unwrap();
    assert_eq!(put(&node, &format!("/v1/blobs/{}?{query}", other.blob), &bytes), 403, "another blob");
    let bigger = ticket.url.replace("size=2000000", "size=2000001");
    assert_eq!(put(&node, &bigger, &bytes), 403, "another size");
    let mut forged = ticket.url.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == '0' { '1' } else { '0' });
    assert_eq!(put(&node, &forged, &bytes), 403, "another signature");
    assert_eq!(put(&node, "/v1/blobs/nothing", &bytes), 403);

    assert_eq!(put(&node, &ticket.url, &bytes[1..]), 422, "another length");
    let mut wrong = bytes.clone();
    wrong[1_999_999] = 6;
    assert_eq!(put(&node, &ticket.url, &wrong), 422, "another digest");
    let chunked = [b"1e8480\r\n", &bytes[..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(ask(&node, "PUT", &ticket.url, "transfer-encoding: chunked\r\n", &chunked).0, 411);
    assert_eq!(put(&node, &ticket.url, &bytes), 201);
    // Large bodies are for these addresses alone.
    let length = format!("content-length: {}\r\n", bytes.len());
    assert_eq!(ask(&node, "POST", "/v1/registrations", &length, &bytes).0, 413);
}
