//! Sessions over real sockets, plain and TLS.

use crate::harness::*;
use bytes::Bytes;
use server_ports::{NodeInbox as _, Signal};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::Semaphore;
use types::{Millis, limits};
use wire::{ClientFrame, Code, Push, Request, Response};

#[tokio::test]
async fn a_session_over_tls_sends_and_receives() {
    let node = Node::tls(patient());
    node.core.append(mailbox(1), "waiting");
    let mut client = Client::upgrade(node.secured().await).await;
    client.authenticate(1, 1).await;
    let waiting = client.drained().await;
    assert_eq!(waiting[0].envelope, "waiting");

    let id = client.request(send()).await;
    let (answered, result) = client.answer().await;
    assert_eq!(answered, id);
    assert!(matches!(result, Ok(Response::Accepted { .. })));

    let large = Bytes::from(vec![0xa5; limits::DELIVER_BYTES_MAX + 5]);
    let hint = node.core.append(mailbox(1), large.clone());
    node.signal(1, 1, hint);
    let delivered = client.deliveries().await;
    assert_eq!(delivered[0].envelope, large, "a message of many records and frames arrives whole");
    client.request(Request::Ack(vec![waiting[0].position, delivered[0].position])).await;
    assert_eq!(client.answer().await.1, Ok(Response::Done));
    assert_eq!(node.core.rows(mailbox(1)), 0);
}

#[tokio::test]
async fn tls_sessions_resume_with_a_ticket() {
    let node = Node::tls(patient());
    let mut kinds = Vec::new();
    for connection in 1..=3 {
        let mut client = Client::upgrade(node.secured().await).await;
        client.authenticate(1, connection).await;
        let (_, tls) = client.socket.get_ref().get_ref();
        kinds.push(tls.handshake_kind().unwrap());
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(kinds, [Full, Resumed, Resumed]);
}

#[tokio::test]
async fn a_hint_is_delivered_without_a_read_of_the_store() {
    let node = Node::plain(patient());
    let mut client = node.session(1, 1).await;
    assert_eq!(client.drained().await, []);
    let reads = node.core.reads.load(Ordering::SeqCst);
    for text in ["one", "two", "three"] {
        let hint = node.core.append(mailbox(1), text);
        node.signal(1, 1, hint);
        assert_eq!(client.deliveries().await[0].envelope, text);
    }
    assert_eq!(node.core.reads.load(Ordering::SeqCst), reads);
}

#[tokio::test]
async fn hints_of_one_turn_share_frames_up_to_the_limits_of_a_frame() {
    let node = Node::plain(patient());
    let mut client = node.session(1, 1).await;
    assert_eq!(client.drained().await, []);
    let large = vec![1; limits::DELIVER_BYTES_MAX / 2 + 1];
    let small = (0..limits::DELIVER_ENVELOPES_MAX as u32 + 5).map(|n| n.to_be_bytes().to_vec());
    let rows: Vec<Vec<u8>> = small.chain([large.clone(), large]).collect();
    let hints: Vec<Signal> = rows.iter().map(|row| node.core.append(mailbox(1), row.clone())).collect();
    let registry = node.registry.clone();
    // What a call does on the shard's thread is seen in the same turn.
    *node.core.on_send.lock().unwrap() = Some(Box::new(move || {
        for hint in hints {
            registry.deliver(mailbox(1), 1, hint);
        }
    }));
    client.request(send()).await;
    assert!(client.answer().await.1.is_ok());
    let frames = [client.deliveries().await, client.deliveries().await, client.deliveries().await];
    assert_eq!(frames.each_ref().map(Vec::len), [limits::DELIVER_ENVELOPES_MAX, 6, 1]);
    let received = frames.concat().into_iter().map(|row| row.envelope.to_vec()).collect::<Vec<_>>();
    assert_eq!(received, rows, "each row once, in order");
}

#[tokio::test]
async fn a_lost_hint_costs_a_read_and_no_row() {
    let node = Node::plain(patient());
    let mut client = node.session(1, 1).await;
    assert_eq!(client.drained().await, []);
    let _lost = node.core.append(mailbox(1), "one");
    let hint = node.core.append(mailbox(1), "two");
    node.signal(1, 1, hint);
    let delivered = client.deliveries().await;
    assert_eq!(delivered.iter().map(|row| &row.envelope[..]).collect::<Vec<_>>(), [&b"one"[..], b"two"]);
}

#[tokio::test]
async fn without_any_hint_the_store_is_read_again() {
    let mut limits = patient();
    limits.session.drain.reread = Millis(50);
    let node = Node::plain(limits);
    let mut client = node.session(1, 1).await;
    assert_eq!(client.drained().await, []);
    node.core.append(mailbox(1), "late");
    assert_eq!(client.deliveries().await[0].envelope, "late");
}

#[tokio::test]
async fn a_drain_stops_at_the_window_and_goes_on_with_acknowledgements() {
    let node = Node::plain(patient());
    for number in 0..2_500_u32 {
        node.core.append(mailbox(1), number.to_be_bytes().to_vec());
    }
    let mut client = node.session(1, 1).await;
    let mut received = Vec::new();
    while received.len() < 1_000 {
        received.extend(client.deliveries().await);
    }
    assert_eq!(received.len(), 1_000, "a full window");
    // Everything the server has sent before this answer would be read before it.
    client.request(Request::Sync).await;
    assert_eq!(client.answer().await.1, Ok(Response::Done));

    let mut acknowledged = 0;
    let mut drained = false;
    while !drained {
        if acknowledged < received.len() {
            let positions =
                received[acknowledged..].iter().take(500).map(|row| row.position).collect::<Vec<_>>();
            acknowledged += positions.len();
            client.request(Request::Ack(positions)).await;
        }
        match client.next().await {
            wire::ServerFrame::Push(Push::Deliver(rows)) => received.extend(rows),
            wire::ServerFrame::Push(Push::Drained) => drained = true,
            wire::ServerFrame::Answer { result, .. } => assert_eq!(result, Ok(Response::Done)),
            other => panic!("{other:?}"),
        }
    }
    let numbers: Vec<u32> =
        received.iter().map(|row| u32::from_be_bytes(row.envelope[..].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..2_500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_newer_connection_ends_the_older() {
    let node = Node::plain(patient());
    let mut older = node.session(1, 1).await;
    let mut newer = node.session(1, 2).await;
    assert_eq!(older.closing().await, Code::Replaced);
    newer.drained().await;
    let hint = node.core.append(mailbox(1), "for the newer");
    node.signal(1, 2, hint);
    assert_eq!(newer.deliveries().await[0].envelope, "for the newer");
    eventually("the core is told once", || node.core.closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(node.registry.len(), 1);
}

#[tokio::test]
async fn a_revoked_device_is_told_and_closed() {
    let node = Node::plain(patient());
    let mut client = node.session(1, 1).await;
    node.signal(1, 1, Signal::Ended(Code::Revoked));
    assert_eq!(client.closing().await, Code::Revoked);
    eventually("nothing is left", || {
        node.registry.is_empty() && node.core.closed.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn a_device_revoked_while_it_connects_is_refused() {
    let node = Node::plain(patient());
    *node.core.refuse_open.lock().unwrap() = Some(Code::Revoked);
    let mut client = node.socket().await;
    assert!(matches!(client.push().await, Push::Hello(_)));
    client.request(proof(1, 1)).await;
    assert_eq!(client.closing().await, Code::Revoked);
    eventually("the core is told", || node.core.closed.load(Ordering::SeqCst) == 1).await;
    assert!(node.registry.is_empty());
}

#[tokio::test]
async fn a_route_is_released_after_it_was_claimed() {
    let node = Node::plain(patient());
    let gate = Arc::new(Semaphore::new(0));
    *node.core.claim_gate.lock().unwrap() = Some(gate.clone());
    let mut client = node.socket().await;
    client.push().await;
    client.request(proof(1, 1)).await;
    eventually("the claim is under way", || node.core.opened.load(Ordering::SeqCst) == 1).await;
    drop(client);
    eventually("the session is over", || node.registry.is_empty() && node.edge.connections() == 0).await;
    assert_eq!(*node.core.routes.lock().unwrap(), Vec::<&str>::new());
    gate.add_permits(1);
    eventually("the core is told", || node.core.closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(*node.core.routes.lock().unwrap(), ["claimed", "released"]);
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let node = Node::plain(patient());
    let mut client = node.socket().await;
    client.push().await;
    let Request::Authenticate(mut wrong) = proof(1, 1) else { unreachable!() };
    wrong.token = types::Redact::new([0; 32]);
    client.request(Request::Authenticate(wrong)).await;
    assert_eq!(client.closing().await, Code::Unauthenticated);
    assert_eq!(node.core.opened.load(Ordering::SeqCst), 0);
    assert_eq!(node.core.closed.load(Ordering::SeqCst), 0, "nobody was admitted");
}

#[tokio::test]
async fn every_nonce_is_another() {
    let node = Node::plain(patient());
    let (mut first, mut second) = (node.socket().await, node.socket().await);
    let (Push::Hello(first), Push::Hello(second)) = (first.push().await, second.push().await) else {
        panic!()
    };
    assert_ne!(first.nonce, second.nonce);
}

#[tokio::test]
async fn sends_beyond_the_window_are_refused_and_the_others_answered() {
    let node = Node::plain(patient());
    let gate = Arc::new(Semaphore::new(0));
    *node.core.gate.lock().unwrap() = Some(gate.clone());
    let mut client = node.session(1, 1).await;
    client.drained().await;
    for _ in 0..limits::SENDS_UNANSWERED_MAX {
        client.request(send()).await;
    }
    let excess = client.request(send()).await;
    let (id, result) = client.answer().await;
    assert_eq!((id, result.unwrap_err().code), (excess, Code::TooManyInFlight));
    let sync = client.request(Request::Sync).await;
    gate.add_permits(limits::SENDS_UNANSWERED_MAX);
    for _ in 0..limits::SENDS_UNANSWERED_MAX {
        assert!(matches!(client.answer().await.1, Ok(Response::Accepted { .. })));
    }
    assert_eq!(client.answer().await.0, sync, "a sync is answered after everything before it");
}

#[tokio::test]
async fn a_call_that_panics_is_answered_and_harms_nobody() {
    let node = Node::plain(patient());
    let mut client = node.session(1, 1).await;
    client.drained().await;
    client.request(Request::KeyCount).await;
    assert_eq!(client.answer().await.1.unwrap_err().code, Code::Unavailable);
    client.request(send()).await;
    assert!(client.answer().await.1.is_ok());
}

#[tokio::test]
async fn a_request_number_is_used_once() {
    let node = Node::plain(patient());
    let mut client = node.session(1, 1).await;
    client.frame(ClientFrame { id: 1, request: send() }).await;
    assert_eq!(client.closing().await, Code::Malformed);
}

#[tokio::test]
async fn two_thousand_sessions_come_and_go() {
    let node = Node::plain(patient());
    for round in 0..20_u64 {
        let mut clients = Vec::new();
        for account in 0..100 {
            clients.push(node.session(account, round + 1).await);
        }
        assert_eq!(node.registry.len(), 100);
        drop(clients);
        eventually("all have left", || node.registry.is_empty()).await;
    }
    eventually("every session was closed once", || node.core.closed.load(Ordering::SeqCst) == 2_000).await;
    assert_eq!(node.core.opened.load(Ordering::SeqCst), 2_000);
    eventually("no connection is left", || node.edge.connections() == 0).await;
}
