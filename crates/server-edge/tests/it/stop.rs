//! How a node stops.

use crate::harness::*;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, sync::Semaphore};
use types::Millis;
use wire::{Push, Response};

#[tokio::test]
async fn clients_are_told_when_to_come_back_and_what_is_under_way_is_answered() {
    let node = Node::tls(patient());
    let gate = Arc::new(Semaphore::new(0));
    *node.core.gate.lock().unwrap() = Some(gate.clone());
    let mut idle = node.session_over_tls(1).await;
    let mut busy = node.session_over_tls(2).await;
    let half_open = node.tcp().await;
    idle.drained().await;
    busy.drained().await;
    let sent = busy.request(send()).await;
    eventually("the send is under way", || node.core.calls.load(Ordering::SeqCst) == 1).await;

    let edge = node.edge.clone();
    let stopping = tokio::spawn(async move { edge.stop(Millis(30_000), PATIENCE).await });
    let Push::Reconnect { after } = idle.push().await else { panic!("not told") };
    assert!(after <= Millis(30_000));
    assert_eq!(idle.try_next().await, None);
    assert!(matches!(busy.push().await, Push::Reconnect { .. }));
    gate.add_permits(1);
    let (id, result) = busy.answer().await;
    assert_eq!(id, sent);
    assert!(matches!(result, Ok(Response::Accepted { .. })));
    assert_eq!(busy.try_next().await, None);
    stopping.await.unwrap();
    assert_eq!(node.edge.connections(), 0);
    assert_eq!(node.core.closed.load(Ordering::SeqCst), 2);
    assert!(TcpStream::connect(node.address()).await.is_err(), "nothing is accepted any more");
    drop(half_open);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_dropped() {
    let node = Node::plain(patient());
    *node.core.gate.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
    let mut busy = node.session(1, 1).await;
    busy.drained().await;
    busy.request(send()).await;
    eventually("the send is under way", || node.core.calls.load(Ordering::SeqCst) == 1).await;
    node.edge.stop(Millis(0), Duration::from_millis(50)).await;
    assert!(matches!(busy.push().await, Push::Reconnect { .. }));
    assert_eq!(busy.try_next().await, None);
    eventually("the slot is free", || node.edge.connections() == 0).await;
}

#[tokio::test]
async fn the_port_can_be_bound_again_at_once() {
    let node = Node::plain(patient());
    let address = node.address();
    let mut client = node.session(1, 1).await;
    node.edge.stop(Millis(0), PATIENCE).await;
    while client.try_next().await.is_some() {}
    eventually("the port is free", || server_edge::bind(address).is_ok()).await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let node = Node::plain(patient());
    let error = server_edge::bind(node.address()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
