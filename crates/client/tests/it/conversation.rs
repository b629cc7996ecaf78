//! Two people talk.

use crate::world::World;
use client::{DeliveryState, EventView, ReceiptKind};

#[test]
fn messages_are_accepted_delivered_and_read() {
    let mut world = World::new(2);
    let first = world.send(0, 1, "hello");
    assert_eq!(world.state(0, first), DeliveryState::Queued);

    world.connect(0);
    world.run();
    assert_eq!(world.state(0, first), DeliveryState::Accepted);

    world.connect(1);
    world.settle();
    assert_eq!(world.texts(1, 0), ["hello"]);
    assert_eq!(world.state(0, first), DeliveryState::Delivered);

    let answer = world.send(1, 0, "hello yourself");
    world.mark_read(1, 0);
    world.settle();
    assert_eq!(world.state(0, first), DeliveryState::Read);
    assert_eq!(world.state(1, answer), DeliveryState::Delivered);
    assert_eq!(world.texts(0, 1), ["hello", "hello yourself"]);
    assert_eq!(world.texts(1, 0), ["hello", "hello yourself"]);

    let events = world.print(0);
    let receipts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventView::Receipt { kind, message_ids, .. } => Some((*kind, message_ids.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(receipts, [(ReceiptKind::Delivered, vec![first]), (ReceiptKind::Read, vec![first])]);
    assert!(world.print(0).is_empty(), "each event is printed once");
    assert!(world.people[0].engine().is_settled());
    assert!(world.people[1].engine().is_settled());
    assert!(world.server.accounts.values().all(|account| account.mailbox.is_empty()), "all is acknowledged");
}
