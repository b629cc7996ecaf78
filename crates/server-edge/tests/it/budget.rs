//! Bytes of requests that wait for their answers: a slow disk makes neither a connection nor the node hold more.

use crate::harness::*;
use futures_util::{SinkExt as _, StreamExt as _};
use server_edge::EdgeLimits;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::Semaphore;
use tokio_websockets::Message;
use types::{Position, limits};
use wire::{ClientFrame, Code, Request, Response};

/// A node whose disk answers no send before the gate is opened.
fn slow(limits: EdgeLimits) -> (Node, Arc<Semaphore>) {
    let node = Node::plain(limits);
    let gate = Arc::new(Semaphore::new(0));
    *node.core.gate.lock().unwrap() = Some(gate.clone());
    (node, gate)
}

#[tokio::test]
async fn a_connection_is_read_no_further_while_its_requests_wait() {
    const SENDS: u64 = 40;
    let (node, gate) = slow(EdgeLimits { answering_bytes_max: 150_000, ..patient() });
    let mut client = node.session(1, 1).await;
    client.drained().await;
    let (mut sink, mut answers) = client.socket.split();
    let writing = async {
        for id in 0..SENDS {
            let frame = ClientFrame { id: id + 2, request: large_send(50_000) };
            sink.send(Message::binary(frame.encode())).await.unwrap();
        }
    };
    let reading = async {
        let calls = || node.core.calls.load(Ordering::SeqCst);
        eventually("as many as have room are called", || calls() >= 3).await;
        // Others are served meanwhile, so that the shards have had their turns.
        for account in 2..10 {
            let mut other = node.session(account, 1).await;
            other.drained().await;
            other.request(Request::Sync).await;
            assert!(other.answer().await.1.is_ok());
        }
        assert!(calls() <= 5, "{} requests of 50 kB are held", calls());
        gate.add_permits(SENDS as usize);
        for _ in 0..SENDS {
            let message = tokio::time::timeout(PATIENCE, answers.next()).await.expect("reading went on");
            assert!(message.unwrap().unwrap().is_binary());
        }
    };
    tokio::join!(writing, reading);
    assert_eq!(node.core.calls.load(Ordering::SeqCst) as u64, SENDS, "each was answered once");
}

#[tokio::test]
async fn a_full_node_refuses_what_it_cannot_hold_and_takes_what_makes_room() {
    let (node, gate) = slow(EdgeLimits { answering_bytes_max_of_node: 70_000, ..patient() });
    let (mut first, mut second) = (node.session(1, 1).await, node.session(2, 1).await);
    first.drained().await;
    second.drained().await;
    let held = first.request(large_send(60_000)).await;
    eventually("the first is held", || node.core.calls.load(Ordering::SeqCst) == 1).await;
    second.request(large_send(10_000)).await;
    let (_, refused) = second.answer().await;
    let refusal = refused.unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after.is_some()), (Code::RetryAfter, true));
    let positions = (1..=limits::ACK_POSITIONS_MAX as u128).map(Position::from_u128).collect();
    second.request(Request::Ack(positions)).await;
    assert_eq!(second.answer().await.1, Ok(Response::Done));

    // What a connection leaves behind is held as well.
    drop(first);
    eventually("the first has left", || node.core.closed.load(Ordering::SeqCst) == 1).await;
    second.request(large_send(10_000)).await;
    assert_eq!(second.answer().await.1.unwrap_err().code, Code::RetryAfter, "{held} is not answered yet");
    gate.add_permits(10);
    let accepted = async {
        loop {
            second.request(large_send(10_000)).await;
            if second.answer().await.1.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, accepted).await.expect("there is room again");
}
