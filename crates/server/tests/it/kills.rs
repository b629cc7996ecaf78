//! `kill -9` at random moments under traffic: nothing accepted is lost, doubled or reordered.

use crate::{
    node::Node,
    person::{Person, settle},
    witness::Witness,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{sync::Arc, time::Duration};
use testkit::history::Fact;
use tokio::sync::watch;

const KILLS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed_forty_times() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(&data.path().join("data"));
    let witness = Witness::new();
    let origin = node.origin();
    let mut people = Vec::new();
    for number in 0..4 {
        people.push(Person::register(&node, &origin, number, &witness).await);
    }
    for (one, other) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        people[one].find(&people[other]).await;
    }
    let people: Arc<[Person]> = people.into();
    let (stop, stopped) = watch::channel(false);
    let writers: Vec<_> = (0..people.len())
        .map(|index| tokio::spawn(chatter(people.clone(), index, stopped.clone())))
        .collect();

    let mut rng = SmallRng::seed_from_u64(7);
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..250))).await;
        witness.note(Fact::Fault { what: format!("kill {kill}") });
        tokio::task::block_in_place(|| node.kill_and_restart());
        for person in people.iter() {
            person.reconnect().await;
        }
    }
    stop.send(true).unwrap();
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    settle(&people, &witness).await;
    witness.assert_all_is_well();
    assert!(written > KILLS, "only {written} messages were written: the kills met no traffic");
    println!("{written} messages over {KILLS} kills");
    for (one, other) in [(0, 1), (2, 3)] {
        let (here, there) =
            (people[one].texts_with(&people[other]).await, people[other].texts_with(&people[one]).await);
        assert_eq!(here, there, "both see one conversation in one order");
    }
}

/// Writes to the other one of the pair, now and then in bursts.
async fn chatter(people: Arc<[Person]>, index: usize, stopped: watch::Receiver<bool>) -> usize {
    let mut rng = SmallRng::seed_from_u64(index as u64);
    let mut written = 0;
    while !*stopped.borrow() {
        let burst = if rng.random_ratio(1, 10) { 10 } else { 1 };
        for _ in 0..burst {
            people[index].write(&people[index ^ 1], &format!("message {written} of person {index}")).await;
            written += 1;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(5..60))).await;
    }
    written
}
