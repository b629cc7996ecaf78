//! Connections that are cut, frozen and slow: late is allowed, lost is not.

use crate::{
    node::Node,
    person::{Person, settle},
    proxy::{Proxy, Weather},
    witness::Witness,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::time::Duration;
use testkit::history::Fact;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_a_bad_network() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(&data.path().join("data"));
    let proxy = Proxy::start(node.public()).await;
    let witness = Witness::new();
    let people = vec![
        Person::register(&node, &proxy.origin(), 10, &witness).await,
        Person::register(&node, &node.origin(), 11, &witness).await,
    ];
    people[0].find(&people[1]).await;
    people[1].find(&people[0]).await;
    let mut rng = SmallRng::seed_from_u64(11);
    let (mut written, mut cuts) = (0, 0);
    for round in 0..30 {
        let weather = match round % 5 {
            0 => Weather::Slow(Duration::from_millis(rng.random_range(1..60))),
            1 => Weather::Frozen,
            2 => Weather::Down,
            _ => Weather::Fair,
        };
        proxy.set(weather);
        witness.note(Fact::Fault { what: format!("{weather:?}") });
        for _ in 0..rng.random_range(1..6) {
            let from = rng.random_range(0..2);
            people[from].write(&people[1 - from], &format!("line {written} in round {round}")).await;
            written += 1;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..30))).await;
        }
        if rng.random_ratio(1, 2) {
            cuts += proxy.cut();
            people[0].reconnect().await;
        }
    }
    proxy.set(Weather::Fair);
    proxy.cut();
    settle(&people, &witness).await;
    witness.assert_all_is_well();
    assert!(cuts > 5, "only {cuts} connections were cut under way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(&data.path().join("data"));
    let witness = Witness::new();
    let people = vec![
        Person::register(&node, &node.origin(), 20, &witness).await,
        Person::register(&node, &node.origin(), 21, &witness).await,
    ];
    people[0].find(&people[1]).await;
    people[1].find(&people[0]).await;
    for round in 0..5 {
        node.signal(rustix::process::Signal::STOP);
        for line in 0..5 {
            people[0].write(&people[1], &format!("while it is frozen, {round}.{line}")).await;
            people[1].write(&people[0], &format!("and back, {round}.{line}")).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        node.signal(rustix::process::Signal::CONT);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    settle(&people, &witness).await;
    witness.assert_all_is_well();
}
