//! Blobs against a server that answers as a test wants, one connection after the other.

use crate::listen;
use bytes::Bytes;
use client_net::{CertificatePin, Dialer, ServerUrl, blob};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use types::limits;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";

/// Answers each connection with the next answer; what the requests were.
fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) -> JoinHandle<Vec<Vec<u8>>> {
    tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            asked.push(request(&mut stream).await);
            let _ = stream.write_all(&answer).await;
        }
        asked
    })
}

/// Reads one request: its head, and as much of a body as the head says.
async fn request(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
    let mut asked = Vec::new();
    loop {
        let head = asked.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4);
        let length = head.map(|end| {
            let text = String::from_utf8_lossy(&asked[..end]).to_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
            end + length.map_or(0, |length| length.parse::<usize>().unwrap())
        });
        if length.is_some_and(|length| asked.len() >= length) {
            return asked;
        }
        assert!(stream.read_buf(&mut asked).await.unwrap() > 0, "the request ended early");
    }
}

fn texts(answers: &[&str]) -> Vec<Vec<u8>> {
    answers.iter().map(|answer| answer.as_bytes().to_vec()).collect()
}

fn dialer(url: ServerUrl) -> Dialer {
    Dialer::new(url, None).unwrap()
}

#[tokio::test]
async fn an_upload_is_one_put_of_the_whole_blob() {
    let (listener, url) = listen("http").await;
    let serving = serve(listener, texts(&[OK]));
    let bytes = Bytes::from(vec![7; limits::BLOB_BYTES_MAX]);
    assert!(blob::upload(&dialer(url), "/v1/blobs/00ff?signature=abc", bytes.clone()).await);
    let asked = serving.await.unwrap().remove(0);
    let head = String::from_utf8_lossy(&asked[..asked.len() - bytes.len()]).to_lowercase();
    assert!(head.starts_with("put /v1/blobs/00ff?signature=abc http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", bytes.len())), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(asked.ends_with(&bytes));
}

#[tokio::test]
async fn what_passes_is_tried_again_and_a_refusal_is_not() {
    let (listener, url) = listen("http").await;
    let serving = serve(listener, texts(&[BUSY, "", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblob"]));
    assert_eq!(blob::download(&dialer(url), "/v1/blobs/1").await.unwrap(), "blob");
    assert_eq!(serving.await.unwrap().len(), 3);

    let (listener, url) = listen("http").await;
    let serving = serve(listener, texts(&[FORBIDDEN, OK]));
    assert!(!blob::upload(&dialer(url), "/v1/blobs/1", Bytes::new()).await);
    assert!(!serving.is_finished(), "there was one request");
    serving.abort();
}

#[tokio::test]
async fn a_server_that_stays_broken_is_given_up_after_some_tries() {
    let (listener, url) = listen("http").await;
    let serving = serve(listener, texts(&[BUSY; 4]));
    assert_eq!(blob::download(&dialer(url), "/v1/blobs/1").await, None);
    assert_eq!(serving.await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_blob_without_end_is_cut() {
    let (listener, url) = listen("http").await;
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(2 * limits::BLOB_BYTES_MAX, 0);
    let serving = serve(listener, vec![endless; 4]);
    assert_eq!(blob::download(&dialer(url), "/v1/blobs/1").await, None);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_store_elsewhere_is_asked_by_its_own_name_and_plain_http_only_here() {
    let (listener, url) = listen("http").await;
    let server: ServerUrl = "https://chat.example.org".parse().unwrap();
    let serving = serve(listener, texts(&[OK]));
    let dialer = Dialer::new(server, Some(CertificatePin::from_bytes([7; 32]))).unwrap();
    assert!(blob::upload(&dialer, &format!("{url}/bucket/blob?x=1"), Bytes::from_static(b"b")).await);
    let asked = String::from_utf8(serving.await.unwrap().remove(0)).unwrap().to_lowercase();
    assert!(asked.starts_with("put /bucket/blob?x=1 http/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {}\r\n", url.authority())), "{asked}");

    for nowhere in ["http://store.example.org/blob", "ftp://127.0.0.1/blob", "blob", "", "https://"] {
        let asked = tokio::time::timeout(Duration::from_secs(5), blob::download(&dialer, nowhere));
        assert_eq!(asked.await.unwrap(), None, "{nowhere}");
    }
}
