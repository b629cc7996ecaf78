use crate::listen;
use bytes::Bytes;
use client_net::{Dialer, Lost, Socket, Turn, Unreachable};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let (request, socket) = ServerBuilder::new().accept(stream).await.unwrap();
    assert_eq!(request.uri().path(), "/v1/socket");
    socket
}

/// A socket and the server's end of it.
async fn connected() -> (Socket, WebSocketStream<TcpStream>) {
    let (listener, url) = listen("http").await;
    let dialer = Dialer::new(url, None).unwrap();
    let (socket, server) = tokio::join!(Socket::open(&dialer), accept(&listener));
    (socket.unwrap(), server)
}

#[tokio::test]
async fn messages_arrive_whole_and_in_order_in_both_directions() {
    let (mut socket, mut server) = connected().await;
    let messages: Vec<Bytes> =
        [0, 1, 125, 126, 40_000, 200_000].map(|size| vec![size as u8; size].into()).into();
    for message in &messages {
        socket.ready().await.unwrap().send(message.clone());
    }
    for message in &messages {
        let received = server.next().await.unwrap().unwrap();
        assert_eq!(received.as_payload()[..], message[..]);
        server.send(Message::binary(message.clone())).await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), message);
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_does_not_stop_what_it_sends() {
    let (mut socket, mut server) = connected().await;
    // More than the buffers of both kernels hold.
    let writing = tokio::spawn(async move {
        let mut sent = 0;
        loop {
            match socket.turn(sent < 10_000).await {
                Ok(Turn::Sendable(slot)) => {
                    slot.send(vec![0; 10_000].into());
                    sent += 1;
                }
                Ok(Turn::Received(message)) => return message,
                Err(lost) => panic!("{lost}"),
            }
        }
    });
    server.send(Message::binary(Bytes::from_static(b"heard"))).await.unwrap();
    assert_eq!(writing.await.unwrap(), "heard");
}

#[tokio::test]
async fn the_server_closes_politely_or_not() {
    let (mut socket, mut server) = connected().await;
    server.close().await.unwrap();
    assert!(matches!(socket.receive().await, Err(Lost::Closed)));
    assert!(matches!(socket.receive().await, Err(Lost::Closed)));
    let (mut socket, server) = connected().await;
    drop(server);
    assert!(socket.receive().await.is_err());
}

#[tokio::test]
async fn a_close_is_said_after_everything_that_was_queued() {
    let (socket, mut server) = connected().await;
    for number in 0..10_u8 {
        socket.ready().await.unwrap().send(vec![number].into());
    }
    let serving = tokio::spawn(async move {
        let mut received = Vec::new();
        while let Some(Ok(message)) = server.next().await {
            if message.is_close() {
                return received;
            }
            received.extend_from_slice(message.as_payload());
        }
        panic!("the connection ended without a close frame");
    });
    socket.close().await;
    assert_eq!(serving.await.unwrap(), (0..10).collect::<Vec<u8>>());
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection() {
    let (mut socket, mut server) = connected().await;
    server.send(Message::text("hello")).await.unwrap();
    assert!(matches!(socket.receive().await, Err(Lost::NotBinary)));
    let (mut socket, mut server) = connected().await;
    server.send(Message::binary(vec![0; 2 * 1024 * 1024])).await.unwrap();
    assert!(matches!(socket.receive().await, Err(Lost::Failed(_))));
}

#[tokio::test]
async fn what_answers_is_no_waxwing_server() {
    for (answer, status) in
        [("HTTP/1.1 503 Service Unavailable\r\n\r\n", Some(503)), ("SSH-2.0-OpenSSH_9.2\r\n", None)]
    {
        let (listener, url) = listen("http").await;
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let dialer = Dialer::new(url, None).unwrap();
        match tokio::join!(Socket::open(&dialer), serving).0.map(drop).unwrap_err() {
            Unreachable::Status(seen) => assert_eq!(Some(seen), status),
            Unreachable::Protocol(_) => assert_eq!(status, None),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn nobody_listens() {
    let (listener, url) = listen("http").await;
    drop(listener);
    let dialer = Dialer::new(url, None).unwrap();
    assert!(matches!(Socket::open(&dialer).await, Err(Unreachable::Network(_))));
}
