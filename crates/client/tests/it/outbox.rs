//! What leaves, when, and what each answer means for it.

use crate::world::World;
use client::{DeliveryState, Effect, SendError, SendText};
use types::{AccountId, MessageId, Millis, limits::TEXT_BYTES_MAX};
use wire::{Code, Refusal};

fn connected() -> World {
    let mut world = World::new(2);
    world.connect(0);
    world.connect(1);
    world.run();
    world
}

fn refuse(world: &mut World, code: Code) {
    world.server.refusals.push_back(("send", Refusal::new(code)));
}

/// How many sends of messages the server has stored.
fn stored_messages(world: &World) -> usize {
    world.server.record.values().filter(|recorded| recorded.send.urgency == wire::Urgency::Normal).count()
}

#[test]
fn an_unknown_outcome_resends_the_stored_bytes() {
    let mut world = connected();
    world.server.lies.push_back(("send", Refusal::new(Code::Unavailable)));
    let message = world.send(0, 1, "once");
    world.run();
    assert_eq!(world.state(0, message), DeliveryState::Queued);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.texts(1, 0), ["once"]);
    assert_eq!(stored_messages(&world), 1, "the retry was recognised, because it had the same id and bytes");
}

#[test]
fn a_lost_answer_and_a_crash_resend_the_stored_bytes() {
    let mut world = connected();
    let message = world.send(0, 1, "once");
    // The server takes the send; its answer never arrives.
    while world.step_up(0) && stored_messages(&world) == 0 {
        world.step_down(0);
    }
    assert_eq!(stored_messages(&world), 1);
    world.crash(0);
    assert_eq!(world.state(0, message), DeliveryState::Queued);
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
    assert_eq!(stored_messages(&world), 1);
    assert_eq!(world.texts(1, 0), ["once"]);
}

#[test]
fn a_stale_list_is_fetched_and_the_message_sealed_again_under_another_id() {
    let mut world = connected();
    world.send(0, 1, "first");
    world.settle();
    refuse(&mut world, Code::StaleDevices);
    let sends = world.server.sends;
    let message = world.send(0, 1, "second");
    world.run();
    assert_eq!(world.server.sends, sends + 1, "the refused send never reached the store; the next one did");
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
    assert_eq!(world.texts(1, 0), ["first", "second"]);
}

#[test]
fn a_server_that_calls_every_list_stale_is_given_time() {
    let mut world = connected();
    for _ in 0..1_000 {
        refuse(&mut world, Code::StaleDevices);
    }
    let message = world.send(0, 1, "patience");
    world.pass(Millis::from_mins(10));
    let tried = 1_000 - world.server.refusals.len();
    assert!((2..20).contains(&tried), "{tried} tries in ten minutes");
    world.server.refusals.clear();
    world.pass(Millis::from_hours(2));
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
}

#[test]
fn definite_refusals_fail_the_message_and_let_the_next_one_pass() {
    for code in [Code::NoSuchAccount, Code::Forbidden, Code::TooLarge, Code::Malformed] {
        let mut world = connected();
        refuse(&mut world, code);
        let refused = world.send(0, 1, "refused");
        let next = world.send(0, 1, "next");
        world.settle();
        assert_eq!(world.state(0, refused), DeliveryState::Failed);
        assert_eq!(world.state(0, next), DeliveryState::Delivered);
        let now = world.now;
        let status = world.people[0].engine().view().status(refused, now).unwrap().unwrap();
        assert_eq!(status.failure.as_deref(), Some(code.name()));
        assert!(world.people[0].effects.contains(&Effect::StateChanged(refused)));
        world.disconnect(0);
        world.settle();
        assert_eq!(world.state(0, refused), DeliveryState::Failed, "it is not tried again");
    }
}

#[test]
fn a_message_known_to_be_accepted_by_its_receipt_does_not_fail() {
    let mut world = connected();
    let message = world.send(0, 1, "delivered");
    while world.step_up(0) && stored_messages(&world) == 0 {
        world.step_down(0);
    }
    world.disconnect(0);
    world.pass(Millis::from_secs(5));
    refuse(&mut world, Code::Forbidden);
    // The receipt is in the mailbox, and the server forgot that it had taken the send.
    world.connect(0);
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
    assert_eq!(world.history(0, 1)[0].stamp, world.history(1, 0)[0].stamp);
}

#[test]
fn a_closed_account_is_told_so_when_it_connects() {
    let mut world = connected();
    world.register_phone("+15550000001");
    world.connect(1);
    world.run();
    assert_eq!(world.people[1].closed, Some(client::Closed::Revoked));
    assert!(client::Closed::Revoked.is_final());
}

#[test]
fn a_server_that_wants_time_gets_it() {
    let mut world = connected();
    world.server.refusals.push_back(("send", Refusal::retry_after(Millis::from_secs(60))));
    let message = world.send(0, 1, "later");
    world.run();
    let sends = world.server.sends;
    assert!(!world.people[0].engine().view().is_outbox_empty().unwrap());
    world.pass(Millis::from_secs(59));
    assert_eq!(world.server.sends, sends, "nothing before the time is up");
    world.pass(Millis::from_secs(10));
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
}

#[test]
fn a_full_mailbox_is_tried_again_ever_more_rarely() {
    let mut world = connected();
    for _ in 0..1_000 {
        refuse(&mut world, Code::MailboxFull);
    }
    let message = world.send(0, 1, "room?");
    world.pass(Millis::from_hours(10));
    let tried = 1_000 - world.server.refusals.len();
    assert!((10..40).contains(&tried), "{tried} tries in ten hours");
    assert_eq!(world.state(0, message), DeliveryState::Queued);
    world.server.refusals.clear();
    world.pass(Millis::from_hours(2));
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
}

#[test]
fn a_stamp_that_the_server_calls_too_high_is_forgotten() {
    let mut world = connected();
    world.send(1, 0, "hello");
    world.settle();
    refuse(&mut world, Code::BadStamp);
    let message = world.send(0, 1, "hello");
    world.run();
    assert_eq!(world.state(0, message), DeliveryState::Accepted);
    let sent = world.server.record.values().max_by_key(|recorded| recorded.stamp).unwrap();
    assert_eq!(sent.send.highest_stamp, None);
}

#[test]
fn a_node_that_will_catch_up_is_waited_for_and_told_the_same_stamp() {
    let mut world = connected();
    world.send(1, 0, "hello");
    world.settle();
    let wait = Refusal { retry_after: Some(Millis::from_secs(8)), ..Refusal::new(Code::BadStamp) };
    world.server.refusals.push_back(("send", wait));
    let message = world.send(0, 1, "hello");
    world.run();
    assert_eq!(world.state(0, message), DeliveryState::Queued);
    world.pass(Millis::from_secs(9));
    assert!(world.state(0, message) >= DeliveryState::Accepted);
    let of_0 = |recorded: &&crate::server::Recorded| recorded.send.urgency == wire::Urgency::Normal;
    let sent = world.server.record.values().filter(of_0).max_by_key(|recorded| recorded.stamp).unwrap();
    assert!(sent.send.highest_stamp.is_some());
}

#[test]
fn a_node_that_will_not_catch_up_soon_is_not_waited_for() {
    let mut world = connected();
    world.send(1, 0, "hello");
    world.settle();
    let wait = Refusal { retry_after: Some(Millis::from_mins(1)), ..Refusal::new(Code::BadStamp) };
    world.server.refusals.push_back(("send", wait));
    let message = world.send(0, 1, "hello");
    world.run();
    assert!(world.state(0, message) >= DeliveryState::Accepted);
}

#[test]
fn an_answer_sorts_after_what_it_answers() {
    let mut world = connected();
    world.send(1, 0, "question");
    world.settle();
    let question = world.history(0, 1)[0].stamp.unwrap();
    // The server's clock is set back.
    world.server.now = world.server.now - Millis::from_mins(5);
    world.send(0, 1, "answer");
    world.run();
    assert!(world.history(0, 1)[1].stamp.unwrap() > question);
    let last = world.server.record.values().max_by_key(|recorded| recorded.stamp).unwrap();
    assert!(last.send.highest_stamp >= Some(question));
}

#[test]
fn one_message_of_a_chat_is_unanswered_at_a_time() {
    let mut world = connected();
    for number in 0..5 {
        world.send(0, 1, &format!("{number}"));
    }
    let mut most = 0;
    while world.step_up(0) || world.step_down(0) {
        most = most.max(world.waiting_sends(0));
    }
    assert_eq!(most, 1);
    world.settle();
    assert_eq!(world.texts(1, 0), ["0", "1", "2", "3", "4"]);
}

#[test]
fn at_most_64_sends_are_unanswered() {
    let mut world = World::new(71);
    world.connect(0);
    world.run();
    for to in 1..=70 {
        world.send(0, to, "hello");
    }
    world.run();
    world.server.unanswered_max = 0;
    for to in 1..=70 {
        world.send(0, to, "again");
    }
    assert_eq!(world.waiting_sends(0), 64);
    world.run();
    for to in 1..=70 {
        assert!(world.history(0, to).iter().all(|message| message.state == DeliveryState::Accepted));
    }
}

#[test]
fn the_same_id_again_is_the_same_send() {
    let mut world = connected();
    let message_id = MessageId::from_bytes([7; 16]);
    let (one, other) = (world.account(1), world.account(0));
    let text = SendText { chat: one.into(), message_id, text: "hello".to_owned() };
    assert_eq!(world.try_send(0, text.clone()).unwrap().state, DeliveryState::Queued);
    assert_eq!(world.try_send(0, text.clone()).unwrap().state, DeliveryState::Queued);
    world.settle();
    let repeated = world.try_send(0, text.clone()).unwrap();
    assert_eq!(repeated.state, DeliveryState::Accepted, "finer states are for `status`");
    assert_eq!(repeated.stamp, world.history(0, 1)[0].stamp);
    assert_eq!(world.texts(1, 0), ["hello"]);

    let another_text = SendText { text: "bye".to_owned(), ..text.clone() };
    assert!(matches!(world.try_send(0, another_text), Err(SendError::MessageIdUsed)));
    let third = world.register();
    let another_chat = SendText { chat: world.account(third).into(), ..text.clone() };
    assert!(matches!(world.try_send(0, another_chat), Err(SendError::MessageIdUsed)));
    let oneself = SendText { chat: other.into(), message_id: MessageId::from_bytes([8; 16]), ..text };
    assert!(matches!(world.try_send(0, oneself), Err(SendError::ToOneself)));
}

#[test]
fn a_text_has_at_most_65536_bytes() {
    let mut world = connected();
    let chat = world.account(1).into();
    let longest = "x".repeat(TEXT_BYTES_MAX);
    let text = SendText { chat, message_id: MessageId::from_bytes([1; 16]), text: format!("{longest}x") };
    let refused = world.try_send(0, text);
    assert!(matches!(refused, Err(SendError::TextTooLong { bytes: 65_537 })));
    assert!(world.texts(0, 1).is_empty(), "nothing was stored");
    world.send(0, 1, &longest);
    world.settle();
    assert_eq!(world.texts(1, 0), [longest]);
}

#[test]
fn what_may_have_been_accepted_does_not_fail_with_what_was_never_sent() {
    let mut world = World::new(2);
    world.send(0, 1, "one");
    world.settle();
    world.send(1, 0, "uno");
    world.settle();
    world.disconnect(1);
    world.server.lies.push_back(("send", Refusal::new(Code::Unavailable)));
    let accepted = world.send(0, 1, "two");
    world.run();
    assert_eq!(world.state(0, accepted), DeliveryState::Queued, "the outcome is unknown");
    // A receipt needs a new session, and the server loses sight of the account for a while.
    world.with_database(0, |database| {
        database.execute("DELETE FROM ratchet", []).unwrap();
    });
    let bob = world.account(1);
    let record = world.server.accounts.remove(&bob).unwrap();
    world.server.refusals.push_back(("send", Refusal::new(Code::Unavailable)));
    world.connect(0);
    world.mark_read(0, 1);
    world.run();
    world.server.accounts.insert(bob, record);
    world.pass(Millis::from_mins(2));
    assert_eq!(world.state(0, accepted), DeliveryState::Accepted);
}

#[test]
fn a_server_that_was_sent_too_much_says_when_it_takes_more() {
    let mut world = connected();
    let after = Millis::from_secs(30);
    let refusal = Refusal { retry_after: Some(after), ..Refusal::new(Code::RetryAfter) };
    world.server.refusals.push_back(("send", refusal));
    let message = world.send(0, 1, "one too many");
    world.run();
    let to_wait = |world: &mut World| {
        let now = world.now;
        world.people[0].engine().is_to_wait(now)
    };
    assert_eq!(to_wait(&mut world), Some(after));
    world.pass(Millis::from_secs(10));
    assert_eq!(to_wait(&mut world), Some(Millis::from_secs(20)));
    assert_eq!(world.state(0, message), DeliveryState::Queued);
    world.pass(Millis::from_secs(25));
    assert_eq!(to_wait(&mut world), None);
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
}

#[test]
fn no_such_account_fails() {
    let mut world = connected();
    let chat = AccountId::from_bytes([7; 16]).into();
    let text = SendText { chat, message_id: MessageId::from_bytes([1; 16]), text: "anybody?".to_owned() };
    world.try_send(0, text).unwrap();
    world.run();
    assert_eq!(world.state(0, MessageId::from_bytes([1; 16])), DeliveryState::Failed);
}

#[test]
fn what_is_never_delivered_expires() {
    let mut world = connected();
    world.send(0, 1, "hello");
    world.settle();
    world.disconnect(1);
    let message = world.send(0, 1, "nobody home");
    world.run();
    assert_eq!(world.state(0, message), DeliveryState::Accepted);
    world.tick(Millis::from_days(40));
    assert_eq!(world.state(0, message), DeliveryState::Accepted, "our own clock alone expires nothing");
    world.connect(0);
    world.run();
    world.connect(0);
    world.run();
    assert_eq!(world.state(0, message), DeliveryState::Expired);
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Delivered, "it came late, but it came");
}

#[test]
fn thousands_of_messages_without_an_answer_all_open() {
    let mut world = World::new(2);
    world.connect(0);
    world.run();
    let texts: Vec<String> = (0..3_200).map(|number| number.to_string()).collect();
    for text in &texts {
        world.send(0, 1, text);
    }
    world.pass(Millis::from_mins(1));
    assert!(world.people[0].engine().view().is_outbox_empty().unwrap());
    let opened = world.server.served_one_time.len();
    assert!(opened <= 2, "new sessions after a long silence take no one-time keys");
    world.settle();
    assert_eq!(world.texts(1, 0), texts);
    let events = world.print(1);
    assert!(events.iter().all(|event| matches!(event, client::EventView::Message(_))), "no gap");
}
