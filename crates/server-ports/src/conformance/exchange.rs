//! What every adapter of [`Exchange`] does while it loses nothing.

use super::{
    Case, Subject, cases,
    samples::{NOW, device},
};
use crate::{
    Exchange, NodeInbox, Signal,
    exchange::{Route, Spend, SpendOutcome},
};
use std::sync::{Arc, Mutex};
use types::{MailboxId, Millis, NodeId, Position, Timestamp};
use wire::Code;

/// Every case.
pub const CASES: &[Case<dyn Exchange>] = cases![dyn Exchange:
    signals_reach_the_node_that_holds_the_route,
    signals_keep_their_order,
    the_highest_connection_holds_the_route,
    only_the_holder_releases,
    a_quota_allows_its_limit_and_says_when_to_come_back,
    a_quota_can_be_asked_without_spending,
    quotas_and_subjects_are_apart,
    no_window_holds_more_than_the_limit,
    a_clock_that_steps_back_opens_no_quota,
];

type Ex<'a> = &'a mut dyn Subject<dyn Exchange>;

/// Keeps what was delivered.
#[derive(Default)]
struct Inbox(Mutex<Vec<(MailboxId, u64, Signal)>>);

impl NodeInbox for Inbox {
    fn deliver(&self, device: MailboxId, connection: u64, signal: Signal) {
        self.0.lock().expect("no case panics in here").push((device, connection, signal));
    }
}

impl Inbox {
    fn take(&self) -> Vec<(MailboxId, u64, Signal)> {
        std::mem::take(&mut *self.0.lock().expect("no case panics in here"))
    }
}

fn node(exchange: Ex<'_>, node: u16) -> Arc<Inbox> {
    let inbox = Arc::new(Inbox::default());
    exchange.port().subscribe(NodeId(node), inbox.clone());
    inbox
}

fn route(n: u32, node: u16, connection: u64) -> Route {
    Route { device: device(n), node: NodeId(node), connection }
}

async fn claim(exchange: Ex<'_>, route: Route) {
    exchange.port().claim(route).await.expect("a route is claimed");
}

async fn signal(exchange: Ex<'_>, n: u32, signal: Signal) -> bool {
    exchange.port().signal(device(n), signal).await.expect("a signal is sent")
}

async fn signals_reach_the_node_that_holds_the_route(exchange: Ex<'_>) {
    let (one, two) = (node(exchange, 1), node(exchange, 2));
    assert!(!signal(exchange, 1, Signal::Read).await, "nobody holds it");
    claim(exchange, route(1, 1, 10)).await;
    claim(exchange, route(2, 2, 20)).await;
    assert!(signal(exchange, 1, Signal::Read).await);
    assert!(signal(exchange, 2, Signal::Ended(Code::Revoked)).await);
    assert!(!signal(exchange, 3, Signal::Read).await);
    assert_eq!(one.take(), [(device(1), 10, Signal::Read)]);
    claim(exchange, route(3, 1, 30)).await;
    assert!(signal(exchange, 3, Signal::Read).await);
    assert_eq!(one.take(), [(device(3), 30, Signal::Read)], "never another device of the same node");
    assert_eq!(two.take(), [(device(2), 20, Signal::Ended(Code::Revoked))]);
}

async fn signals_keep_their_order(exchange: Ex<'_>) {
    let inbox = node(exchange, 1);
    claim(exchange, route(1, 1, 1)).await;
    let hints: Vec<_> = (1..100)
        .map(|n| Signal::Hint {
            position: Position::from_u128(n),
            previous: Some(Position::from_u128(n - 1)),
            envelope: n.to_string().into(),
        })
        .collect();
    for hint in &hints {
        signal(exchange, 1, hint.clone()).await;
    }
    let arrived: Vec<_> = inbox.take().into_iter().map(|(_, _, signal)| signal).collect();
    assert_eq!(arrived, hints);
}

async fn the_highest_connection_holds_the_route(exchange: Ex<'_>) {
    let (one, two) = (node(exchange, 1), node(exchange, 2));
    let replaced = |connection| (device(1), connection, Signal::Ended(Code::Replaced));
    claim(exchange, route(1, 1, 5)).await;
    claim(exchange, route(1, 1, 5)).await;
    assert_eq!(one.take(), [], "claiming again takes nothing away");
    claim(exchange, route(1, 2, 6)).await;
    assert_eq!(one.take(), [replaced(5)], "the holder that loses its route is told");
    claim(exchange, route(1, 1, 4)).await;
    assert_eq!(one.take(), [replaced(4)], "one that comes too late is told too");
    signal(exchange, 1, Signal::Read).await;
    assert_eq!(two.take(), [(device(1), 6, Signal::Read)]);
    claim(exchange, route(1, 2, 7)).await;
    assert_eq!(two.take(), [replaced(6)], "also on the same node");
}

async fn only_the_holder_releases(exchange: Ex<'_>) {
    let inbox = node(exchange, 1);
    claim(exchange, route(1, 1, 5)).await;
    claim(exchange, route(1, 1, 6)).await;
    inbox.take();
    exchange.port().release(route(1, 1, 5)).await.expect("released");
    exchange.port().release(route(2, 1, 6)).await.expect("released");
    assert!(signal(exchange, 1, Signal::Read).await, "the old connection's farewell changes nothing");
    exchange.port().release(route(1, 1, 6)).await.expect("released");
    assert!(!signal(exchange, 1, Signal::Read).await);
    assert_eq!(inbox.take(), [(device(1), 6, Signal::Read)]);
    claim(exchange, route(1, 1, 7)).await;
    assert!(signal(exchange, 1, Signal::Read).await);
}

const WINDOW: Millis = Millis::from_mins(1);

fn spending(amount: u32, now: Timestamp) -> Spend {
    Spend { quota: "messages", subject: [1; 32], amount, limit: 100, window: WINDOW, now }
}

async fn spend(exchange: Ex<'_>, spend: Spend) -> SpendOutcome {
    exchange.port().spend(spend).await.expect("a quota answers")
}

async fn a_quota_allows_its_limit_and_says_when_to_come_back(exchange: Ex<'_>) {
    for _ in 0..10 {
        assert_eq!(spend(exchange, spending(9, NOW)).await, SpendOutcome::Allowed);
    }
    let SpendOutcome::RetryAfter(wait) = spend(exchange, spending(11, NOW)).await else {
        panic!("over the limit")
    };
    assert!(wait >= WINDOW, "nothing fits before the window has passed");
    assert!(wait.0 <= WINDOW.0 + WINDOW.0 / 4, "and not much later it does");
    assert_eq!(spend(exchange, spending(10, NOW)).await, SpendOutcome::Allowed, "a refusal spends nothing");
    assert_eq!(spend(exchange, spending(100, NOW + wait)).await, SpendOutcome::Allowed);
    let never = spend(exchange, spending(101, NOW + Millis(wait.0 * 9))).await;
    assert!(matches!(never, SpendOutcome::RetryAfter(_)), "more than the limit never fits");
}

async fn a_quota_can_be_asked_without_spending(exchange: Ex<'_>) {
    for _ in 0..200 {
        assert_eq!(spend(exchange, spending(0, NOW)).await, SpendOutcome::Allowed, "nothing is spent");
    }
    assert_eq!(spend(exchange, spending(99, NOW)).await, SpendOutcome::Allowed);
    assert_eq!(spend(exchange, spending(0, NOW)).await, SpendOutcome::Allowed, "one more would fit");
    assert_eq!(spend(exchange, spending(1, NOW)).await, SpendOutcome::Allowed);
    assert!(matches!(spend(exchange, spending(0, NOW)).await, SpendOutcome::RetryAfter(_)), "none would");
}

async fn quotas_and_subjects_are_apart(exchange: Ex<'_>) {
    assert_eq!(spend(exchange, spending(100, NOW)).await, SpendOutcome::Allowed);
    let other_quota = Spend { quota: "codes", ..spending(100, NOW) };
    assert_eq!(spend(exchange, other_quota).await, SpendOutcome::Allowed);
    let other_subject = Spend { subject: [2; 32], ..spending(100, NOW) };
    assert_eq!(spend(exchange, other_subject).await, SpendOutcome::Allowed);
    assert!(matches!(spend(exchange, spending(1, NOW)).await, SpendOutcome::RetryAfter(_)));
}

async fn no_window_holds_more_than_the_limit(exchange: Ex<'_>) {
    let (mut now, mut spent) = (NOW, Vec::new());
    for step in 0..2_000_u64 {
        now = now + Millis(step * 7_919 % 2_000);
        let amount = (step * 31 % 17) as u32;
        match spend(exchange, spending(amount, now)).await {
            SpendOutcome::Allowed => spent.push((now, amount)),
            SpendOutcome::RetryAfter(wait) => assert!(wait > Millis(0), "a refusal says when"),
        }
    }
    for (start, _) in &spent {
        let within = spent.iter().filter(|(at, _)| at >= start && *at < *start + WINDOW);
        assert!(within.map(|(_, amount)| amount).sum::<u32>() <= 100, "a window with more than its limit");
    }
    assert!(spent.iter().map(|(_, amount)| amount).sum::<u32>() > 1_000, "but quotas do let through");
}

async fn a_clock_that_steps_back_opens_no_quota(exchange: Ex<'_>) {
    assert_eq!(spend(exchange, spending(100, NOW)).await, SpendOutcome::Allowed);
    let back = NOW - Millis::from_hours(5);
    assert!(matches!(spend(exchange, spending(1, back)).await, SpendOutcome::RetryAfter(_)));
}
