//! What is missing is shown, asked for within bounds, repaired, or given up visibly.

use crate::world::World;
use client::{DeliveryState, EventView};
use types::{Millis, Timestamp};
use wire::{Code, Envelope, EnvelopeKind, Refusal, Urgency};

fn talking() -> World {
    let mut world = World::new(2);
    world.send(0, 1, "one");
    world.settle();
    world.send(1, 0, "uno");
    world.settle();
    world.print(1);
    world
}

/// (first, last, permanent, reason) of every gap that was told.
fn gaps(events: &[EventView]) -> Vec<(u64, u64, bool, String)> {
    events
        .iter()
        .filter_map(|event| match event {
            EventView::Gap { first, last, permanent, reason, .. } => {
                Some((*first, *last, *permanent, reason.clone()))
            }
            _ => None,
        })
        .collect()
}

fn lose_sessions(world: &mut World, who: usize) {
    world.with_database(who, |database| {
        database.execute("DELETE FROM ratchet", []).unwrap();
    });
}

#[test]
fn a_dropped_message_shows_with_the_next_one_and_is_repaired() {
    let mut world = talking();
    world.server.swallow = 1;
    let dropped = world.send(0, 1, "two");
    world.send(0, 1, "three");
    world.settle();
    assert_eq!(world.texts(1, 0), ["one", "uno", "two", "three"], "in its own place");
    assert_eq!(world.state(0, dropped), DeliveryState::Delivered);
    let events = world.print(1);
    assert_eq!(gaps(&events), [(2, 2, false, "missing".to_owned())]);
    assert_eq!(
        world.history(0, 1).iter().map(|message| message.stamp).collect::<Vec<_>>(),
        world.history(1, 0).iter().map(|message| message.stamp).collect::<Vec<_>>(),
        "the resend carries the stamp of the first send"
    );
}

#[test]
fn a_gap_in_a_drain_is_shown_with_the_drain() {
    let mut world = talking();
    world.disconnect(1);
    world.server.swallow = 2;
    for text in ["two", "three", "four"] {
        world.send(0, 1, text);
    }
    world.settle();
    let events = world.print(1);
    assert_eq!(gaps(&events), [(2, 3, false, "missing".to_owned())]);
    assert_eq!(world.texts(1, 0), ["one", "uno", "two", "three", "four"]);
}

#[test]
fn what_was_deleted_is_void_and_the_gap_stays_visibly() {
    let mut world = talking();
    world.server.swallow = 1;
    let dropped = world.send(0, 1, "two");
    world.with_database(0, |_| {});
    world.connect(0);
    world.run();
    world.disconnect(1);
    world.send(0, 1, "three");
    world.run();
    // The sender deletes what was lost before anybody asks for it.
    world.with_database(0, |database| {
        database
            .execute("DELETE FROM sent WHERE message IN (SELECT seq FROM message WHERE counter = 2)", [])
            .unwrap();
        let deleted = database.execute("DELETE FROM message WHERE text = 'two'", []).unwrap();
        assert_eq!(deleted, 1);
    });
    world.settle();
    let now = world.now;
    assert_eq!(world.people[0].engine().view().status(dropped, now).unwrap(), None);
    let events = world.print(1);
    assert_eq!(gaps(&events), [(2, 2, false, "missing".to_owned()), (2, 2, true, "void".to_owned())]);
    assert_eq!(world.texts(1, 0), ["one", "uno", "three"]);
    world.pass(Millis::from_hours(30));
    assert!(gaps(&world.print(1)).is_empty(), "it is told once");
}

#[test]
fn a_gap_is_asked_for_three_times_and_given_up_after_thirty_days() {
    let mut world = talking();
    world.server.swallow = 1;
    world.send(0, 1, "two");
    world.run();
    world.send(0, 1, "three");
    // The sender is never seen again.
    world.run();
    world.disconnect(0);
    world.pass(Millis::from_secs(10));
    let requests = |world: &World| world.server.accounts[&world.account(0)].mailbox.len();
    let receipts = 1;
    assert_eq!(requests(&world), receipts + 1);
    world.pass(Millis::from_hours(2));
    assert_eq!(requests(&world), receipts + 2);
    world.pass(Millis::from_hours(30));
    for _ in 0..40 {
        world.connect(1);
        world.pass(Millis::from_hours(23));
    }
    assert_eq!(requests(&world), receipts + 3, "and no more");
    let events = world.print(1);
    assert_eq!(gaps(&events), [(2, 2, false, "missing".to_owned()), (2, 2, true, "expired".to_owned())]);
}

#[test]
fn resends_of_a_message_are_bounded() {
    let mut world = talking();
    let before = world.server.sends;
    world.server.swallow = 1_000;
    world.send(0, 1, "two");
    world.run();
    world.server.swallow = 0;
    world.send(0, 1, "three");
    world.run();
    // Every resend is lost as well, and the receiver asks on and on, as only a broken one would.
    for _ in 0..20 {
        world.with_database(1, |database| {
            database.execute("UPDATE gap SET asked = 0, ask_at = 0, permanent = 0", []).unwrap();
        });
        world.connect(1);
        world.pass(Millis::from_secs(5));
        world.server.swallow = 1;
        world.pass(Millis::from_secs(5));
        world.server.swallow = 0;
    }
    let resends = world
        .server
        .record
        .values()
        .filter(|recorded| {
            recorded.send.urgency == Urgency::Normal && recorded.send.recipient == world.account(1)
        })
        .count();
    assert!(resends <= 3 + 3, "three messages and at most three resends, not {resends}");
    assert!(world.server.sends - before < 200);
}

#[test]
fn a_broken_session_heals_within_two_round_trips() {
    let mut world = talking();
    lose_sessions(&mut world, 1);
    let message = world.send(0, 1, "can you read this?");
    world.connect(1);
    world.settle();
    assert_eq!(world.texts(1, 0), ["one", "uno", "can you read this?"]);
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
    let messages = |world: &World| {
        world.server.record.values().filter(|recorded| recorded.send.urgency == Urgency::Normal).count()
    };
    assert_eq!(messages(&world), 4, "three messages and one resend");
    world.send(0, 1, "and this");
    world.send(1, 0, "and you this");
    world.settle();
    assert_eq!(messages(&world), 6, "nothing has to be sent twice any more");
    assert_eq!(world.texts(0, 1), ["one", "uno", "can you read this?", "and this", "and you this"]);
    let told = gaps(&world.print(1));
    assert_eq!(told, [(0, 0, false, "no_session".to_owned())]);
}

#[test]
fn both_sides_losing_their_sessions_heals() {
    let mut world = talking();
    lose_sessions(&mut world, 0);
    lose_sessions(&mut world, 1);
    world.send(0, 1, "from here");
    world.send(1, 0, "from there");
    world.settle();
    world.pass(Millis::from_hours(2));
    assert_eq!(world.texts(0, 1).len(), 4);
    assert_eq!(world.texts(0, 1), world.texts(1, 0));
}

#[test]
fn a_receipt_that_cannot_be_opened_is_asked_for_and_tells_nobody_of_a_gap() {
    let mut world = talking();
    let message = world.send(0, 1, "did you get this?");
    world.run();
    lose_sessions(&mut world, 0);
    // The receipt is sealed for a session that is gone.
    world.pass(Millis::from_secs(5));
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
    assert!(gaps(&world.print(0)).is_empty());
}

/// An envelope that says it is of person 0, with bytes of the server's own.
fn forged(world: &World, ciphertext: &[u8], number: u8) -> Envelope {
    Envelope {
        envelope_id: types::EnvelopeId::from_bytes([number; 16]),
        from: types::DeviceAddress::new(world.account(0), types::DeviceNumber::PRIMARY),
        to: world.server.mailbox_of(world.account(1)),
        kind: EnvelopeKind::Ratchet,
        urgency: Urgency::Normal,
        stamp: types::Stamp::new(world.now.as_millis() << 16, types::NodeId(1)),
        ciphertext: ciphertext.to_vec().into(),
        group: None,
    }
}

#[test]
fn forged_envelopes_cost_a_bounded_number_of_requests() {
    let mut world = talking();
    let sends = world.server.sends;
    let given = world.server.served_one_time.len();
    for number in 10..250 {
        // Half of them are of no known version, the other half just broken.
        let ciphertext: &[u8] = if number % 2 == 0 { b"not a message at all" } else { &[0x44; 100] };
        let envelope = forged(&world, ciphertext, number);
        world.server.inject(world.account(1), &envelope);
    }
    world.pass(Millis::from_secs(30));
    assert!(world.server.sends - sends < 200, "{} sends", world.server.sends - sends);
    assert!(world.server.served_one_time.len() - given <= 2, "a reset takes no one-time keys");
    // Honest messages come through, at the latest when the failures are forgotten.
    world.send(0, 1, "still here");
    world.pass(Millis::from_mins(3));
    assert_eq!(world.texts(1, 0), ["one", "uno", "still here"]);
}

#[test]
fn delivered_twice_reordered_and_again_later_is_shown_once() {
    let mut world = talking();
    world.disconnect(1);
    for number in 0..6 {
        world.send(0, 1, &format!("{number}"));
    }
    world.run();
    let me = world.account(1);
    let mailbox: Vec<_> = world.server.accounts[&me].mailbox.values().cloned().collect();
    for envelope in mailbox.iter().rev().chain(&mailbox) {
        world.server.inject(me, &Envelope::decode(envelope.clone()).unwrap());
    }
    world.settle();
    for envelope in &mailbox {
        world.server.inject(me, &Envelope::decode(envelope.clone()).unwrap());
    }
    world.settle();
    assert_eq!(world.texts(1, 0), ["one", "uno", "0", "1", "2", "3", "4", "5"]);
    let events = world.print(1);
    let messages = events.iter().filter(|event| matches!(event, EventView::Message(_))).count();
    assert_eq!((messages, gaps(&events).len()), (6, 0));
    assert!(world.server.accounts[&me].mailbox.is_empty(), "duplicates are acknowledged too");
}

#[test]
fn a_row_that_comes_again_after_the_ratchet_forgot_it_is_no_gap() {
    let mut world = talking();
    world.disconnect(1);
    world.send(0, 1, "two");
    world.run();
    let me = world.account(1);
    let row = world.server.accounts[&me].mailbox.values().last().cloned().unwrap();
    world.settle();
    // A session remembers five chains of its peer.
    for _ in 0..8 {
        world.send(1, 0, "tick");
        world.settle();
        world.send(0, 1, "tock");
        world.settle();
    }
    let (shown, sends) = (world.texts(1, 0), world.server.sends);
    world.print(1);
    world.server.inject(me, &Envelope::decode(row).unwrap());
    world.settle();
    assert_eq!(world.texts(1, 0), shown);
    assert_eq!(world.print(1), [], "nothing is missing, and nothing is new");
    assert_eq!(world.server.sends, sends, "and nothing is asked for");
    assert!(world.server.accounts[&me].mailbox.is_empty(), "it is acknowledged");
}

#[test]
fn requests_for_what_never_was_earn_a_bounded_number_of_answers() {
    let mut world = talking();
    let sends = world.server.sends;
    // The receiver invents gaps again and again, as only a broken one would.
    for round in 0..80 {
        world.with_database(1, |database| {
            let gap =
                "INSERT INTO gap (chat, account, device, first, last, stamp, reason, ask_at, noticed_at)
                       SELECT account, account, 1, ?1, ?1, zeroblob(10), 'missing', 0, ?2 FROM contact";
            database.execute("DELETE FROM gap", []).unwrap();
            database.execute("DELETE FROM resend_count", []).unwrap();
            database.execute(gap, (1_000 + round, world_start())).unwrap();
        });
        world.connect(1);
        world.pass(Millis::from_secs(5));
    }
    let answers = world.server.sends - sends - 80;
    assert_eq!(answers, 50, "of 80 requests within an hour");
}

fn world_start() -> i64 {
    i64::try_from(crate::world::START.as_millis()).unwrap()
}

#[test]
fn a_redelivery_under_a_lower_stamp_lowers_it_on_both_sides() {
    let mut world = talking();
    world.disconnect(1);
    let message = world.send(0, 1, "two");
    world.run();
    let me = world.account(1);
    let delivered = world.server.accounts[&me].mailbox.values().last().cloned().unwrap();
    world.settle();
    let first = world.history(1, 0).last().unwrap().stamp.unwrap();
    let lower = types::Stamp::new(first.clock() - 5, types::NodeId(0));
    let again = Envelope { stamp: lower, ..Envelope::decode(delivered).unwrap() };
    world.server.inject(me, &again);
    world.settle();
    assert_eq!(world.history(1, 0).last().unwrap().stamp, Some(lower));
    let now: Timestamp = world.now;
    let status = world.people[0].engine().view().status(message, now).unwrap().unwrap();
    assert_eq!(status.stamp, Some(lower), "the receipt named it, and the sender adopted it");
}

#[test]
fn a_redelivery_under_a_lower_stamp_lowers_what_is_held_too() {
    let mut world = World::new(2);
    world.settle();
    world.disconnect(1);
    let message = world.send(0, 1, "the first of a stranger");
    world.run();
    let me = world.account(1);
    let delivered = world.server.accounts[&me].mailbox.values().last().cloned().unwrap();
    let first = Envelope::decode(delivered).unwrap();
    let lower = types::Stamp::new(first.stamp.clock() - 5, types::NodeId(0));
    world.server.inject(me, &Envelope { stamp: lower, ..first });
    // Both come in one delivery, before the stranger's list.
    world.settle();
    assert_eq!(world.history(1, 0).last().unwrap().stamp, Some(lower));
    let now: Timestamp = world.now;
    let status = world.people[0].engine().view().status(message, now).unwrap().unwrap();
    assert_eq!(status.stamp, Some(lower), "the receipt named it, and the sender adopted it");
}

#[test]
fn a_resend_that_the_server_refuses_blocks_no_message() {
    let mut world = talking();
    world.server.swallow = 1;
    world.send(0, 1, "two");
    world.run();
    world.server.refusals.push_back(("send", Refusal::new(Code::MailboxFull)));
    world.send(0, 1, "three");
    world.settle();
    world.pass(Millis::from_mins(5));
    assert_eq!(world.texts(1, 0), ["one", "uno", "two", "three"]);
}
