//! What can be asked.

use crate::world::World;
use client::{Chat, ChatKind, ChatName, DeliveryState, EventView, Resolved};
use types::{MessageId, Millis};

fn search(world: &mut World, who: usize, words: &str) -> Vec<String> {
    let now = world.now;
    let found = world.people[who].engine().view().search(words, 50, now).unwrap();
    found.into_iter().map(|message| message.text).collect()
}

#[test]
fn search_takes_plain_words() {
    let mut world = World::new(2);
    for text in ["the quick brown fox", "a lazy dog", "Käse und NEAR", "text: column", "100% (sure)"] {
        world.send(0, 1, text);
    }
    world.settle();
    for who in [0, 1] {
        assert_eq!(search(&mut world, who, "quick"), ["the quick brown fox"]);
        assert_eq!(search(&mut world, who, "fox QUICK"), ["the quick brown fox"], "all words, in any order");
        assert_eq!(search(&mut world, who, "quick dog"), Vec::<String>::new());
        assert_eq!(search(&mut world, who, "kase"), ["Käse und NEAR"], "accents do not matter");
        assert_eq!(search(&mut world, who, "laz"), ["a lazy dog"], "the beginning of a word is enough");
        assert_eq!(search(&mut world, who, "text:"), ["text: column"]);
        assert_eq!(search(&mut world, who, "(sure)"), ["100% (sure)"]);
    }
    world.send(0, 1, "queued fox");
    world.disconnect(0);
    world.send(0, 1, "newest fox");
    assert_eq!(search(&mut world, 0, "fox"), ["newest fox", "queued fox", "the quick brown fox"]);
}

#[test]
fn search_never_reads_query_syntax() {
    let mut world = World::new(2);
    world.send(0, 1, "fox OR dog");
    for words in [
        "cat OR dog",
        "fox NOT dog",
        "NEAR(fox dog)",
        "text:fox",
        "{text}:fox",
        "^fox",
        "fox*",
        "\"",
        "\"fox",
        "fox\"",
        "(",
        ")",
        "*",
        "-",
        "+",
        "AND",
        "fox AND",
        "'; DROP TABLE message; --",
        "\0",
        "fox\0bar",
        "",
        "   ",
        "😀",
        "{",
        "}:",
        "fox + dog",
    ] {
        let found = search(&mut world, 0, words);
        assert!(found.len() <= 1, "{words}");
    }
    assert!(search(&mut world, 0, "cat OR dog").is_empty(), "OR is a word here");
    assert_eq!(search(&mut world, 0, "or dog"), ["fox OR dog"]);
}

#[test]
fn history_is_ordered_by_stamps_with_queued_messages_last() {
    let mut world = World::new(2);
    world.settle();
    world.send(0, 1, "one");
    world.send(1, 0, "two");
    world.settle();
    world.disconnect(0);
    world.send(0, 1, "queued");
    world.send(0, 1, "queued too");
    world.send(1, 0, "three");
    world.run();
    let texts = world.texts(0, 1);
    assert_eq!(texts[2..], ["queued", "queued too"]);
    let now = world.now;
    let chat = world.account(1).into();
    let last = world.people[0].engine().view().history(chat, 3, now).unwrap();
    assert_eq!(
        last.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(),
        [texts[1].as_str(), "queued", "queued too"]
    );
    assert_eq!(last[1].stamp, None);
    assert_eq!(last[1].state, DeliveryState::Queued);
    world.settle();
    assert_eq!(world.texts(0, 1), world.texts(1, 0));
}

#[test]
fn chats_count_what_is_unread() {
    let mut world = World::new(3);
    world.send(0, 2, "one");
    world.send(0, 2, "two");
    world.settle();
    world.send(1, 2, "three");
    world.settle();
    let chats = world.people[2].engine().view().chats().unwrap();
    let (zero, one) = (world.account(0).into(), world.account(1).into());
    let [first, second] = chats.as_slice() else { panic!("{chats:?}") };
    assert_eq!((first.chat, first.unread, second.chat, second.unread), (one, 1, zero, 2));
    let last_stamp = world.history(2, 1)[0].stamp;
    let expected = Chat {
        chat: one,
        kind: ChatKind::Direct,
        name: None,
        phone: Some("+15550000001".parse().unwrap()),
        unread: 1,
        last_stamp,
    };
    assert_eq!(*first, expected);
    let marked = world.mark_read(2, 0);
    assert_eq!(marked.up_to, world.history(2, 0)[1].stamp);
    assert!(!world.people[2].engine().view().is_read_accepted(zero).unwrap());
    world.settle();
    assert!(world.people[2].engine().view().is_read_accepted(zero).unwrap());
    assert_eq!(world.people[2].engine().view().chats().unwrap()[1].unread, 0);
    assert!(world.history(2, 0).iter().all(|message| message.state == DeliveryState::Read));
}

#[test]
fn reading_again_sends_nothing_again() {
    let mut world = World::new(2);
    world.send(0, 1, "one");
    world.settle();
    assert_eq!(
        world.mark_read(0, 1).up_to,
        world.history(0, 1)[0].stamp,
        "one's own message counts as newest"
    );
    world.mark_read(1, 0);
    world.settle();
    let sends = world.server.sends;
    world.mark_read(1, 0);
    world.mark_read(0, 1);
    world.settle();
    assert_eq!(world.server.sends, sends);
    let third = world.register();
    assert_eq!(world.mark_read(0, third).up_to, None, "an empty chat");
}

#[test]
fn a_read_receipt_that_comes_before_the_acceptance_counts() {
    let mut world = World::new(2);
    world.connect(0);
    world.connect(1);
    world.run();
    let message = world.send(0, 1, "quick");
    // The server takes it; our copy of the answer is lost.
    while world.texts(1, 0).is_empty() {
        world.step_up(0);
        world.step_mailbox(1);
        world.step_down(1);
        world.step_up(1);
        if world.server.record.is_empty() {
            world.step_down(0);
        }
    }
    world.disconnect(0);
    world.mark_read(1, 0);
    world.run();
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Read);
}

#[test]
fn status_names_each_recipient() {
    let mut world = World::new(2);
    let message = world.send(0, 1, "hello");
    let now = world.now;
    let other = world.account(1);
    let status = world.people[0].engine().view().status(message, now).unwrap().unwrap();
    assert_eq!((status.chat, status.stamp, status.state), (other.into(), None, DeliveryState::Queued));
    assert_eq!((status.recipients[0].account, status.recipients[0].at), (other, None));
    world.settle();
    let status = world.people[0].engine().view().status(message, now).unwrap().unwrap();
    assert_eq!(status.recipients[0].state, DeliveryState::Delivered);
    assert!(status.recipients[0].at.unwrap() >= status.stamp.unwrap().time());
    let unknown = MessageId::from_bytes([1; 16]);
    assert_eq!(world.people[0].engine().view().status(unknown, now).unwrap(), None);
    assert_eq!(world.people[1].engine().view().status(message, now).unwrap(), None, "not one of ours");
}

#[test]
fn safety_numbers_are_the_same_on_both_sides() {
    let mut world = World::new(3);
    let (zero, one, two) = (world.account(0), world.account(1), world.account(2));
    assert_eq!(world.people[0].engine().view().safety(one).unwrap(), None);
    world.send(0, 1, "hello");
    world.settle();
    let ours = world.people[0].engine().view().safety(one).unwrap().unwrap();
    let theirs = world.people[1].engine().view().safety(zero).unwrap().unwrap();
    assert_eq!(ours, theirs);
    assert_eq!(ours.safety_number.len(), 60);
    assert!(ours.safety_number.bytes().all(|digit| digit.is_ascii_digit()));
    assert!(!ours.verified);
    assert!(world.mark_verified(0, one));
    assert!(world.people[0].engine().view().safety(one).unwrap().unwrap().verified);
    assert!(!world.mark_verified(0, two), "nobody that we know");
}

#[test]
fn names_lead_to_contacts() {
    let mut world = World::new(2);
    let one = world.account(1);
    let phone: ChatName = "+1 555 000-0001".parse().unwrap();
    let account: ChatName = one.to_string().parse().unwrap();
    assert_eq!(account, ChatName::Id(*one.as_bytes()));
    for wrong in ["", " ", "+0", "+bob"] {
        assert!(wrong.parse::<ChatName>().is_err(), "{wrong}");
    }
    let family: ChatName = "The family".parse().unwrap();
    assert_eq!(family, ChatName::Name("The family".to_owned()));
    let view = |world: &mut World, name: &ChatName| world.people[0].engine().view().resolve(name).unwrap();
    assert_eq!(view(&mut world, &phone), Resolved::LookUp);
    assert_eq!(view(&mut world, &family), Resolved::Unknown);
    assert_eq!(view(&mut world, &account), Resolved::Stranger(one));
    world.connect(0);
    world.look_up(0, "+15550000001");
    world.look_up(0, "+15559999999");
    world.run();
    assert_eq!(view(&mut world, &phone), Resolved::Known(one.into()));
    assert_eq!(view(&mut world, &account), Resolved::Known(one.into()));
    let answers: Vec<_> = world.people[0]
        .effects
        .iter()
        .filter_map(|effect| match effect {
            client::Effect::LookedUp { result, .. } => Some(*result),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [Ok(Some(one)), Ok(None)]);
}

#[test]
fn events_of_a_drain_come_in_stamp_order_once_it_is_over() {
    let mut world = World::new(3);
    world.settle();
    world.disconnect(2);
    for number in 0..4 {
        world.send(number % 2, 2, &format!("{number}"));
        world.pass(Millis(10));
    }
    // The mailbox gives them in another order.
    let me = world.account(2);
    let mailbox = &mut world.server.accounts.get_mut(&me).unwrap().mailbox;
    let (positions, envelopes): (Vec<u64>, Vec<_>) = std::mem::take(mailbox).into_iter().unzip();
    mailbox.extend(positions.into_iter().zip(envelopes.into_iter().rev()));
    world.connect(2);
    while !world.people[2].engine().is_drained() {
        assert!(world.print(2).is_empty(), "nothing of an unfinished drain");
        world.step_up(2);
        world.step_mailbox(2);
        world.step_down(2);
    }
    let texts: Vec<_> = world
        .print(2)
        .into_iter()
        .filter_map(|event| match event {
            EventView::Message(message) => Some(message.text),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["0", "1", "2", "3"]);
}

#[test]
fn what_was_not_printed_is_printed_by_the_next_process() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    let events = world.people[1].engine().view().unprinted_events(10).unwrap();
    assert_eq!(events.len(), 1);
    world.crash(1);
    assert_eq!(world.people[1].engine().view().unprinted_events(10).unwrap(), events);
    world.people[1].engine().mark_printed(&[events[0].id]).unwrap();
    world.crash(1);
    assert!(world.people[1].engine().view().unprinted_events(10).unwrap().is_empty());
}

#[test]
fn many_numbers_are_looked_up_a_thousand_at_a_time() {
    let mut world = World::new(3);
    world.connect(0);
    world.run();
    let strangers = (0..2_000).map(|number| format!("+1444{number:07}"));
    let phones = strangers.chain(["+15550000001".to_owned(), "+15550000002".to_owned()]);
    let phones: Vec<types::PhoneNumber> = phones.map(|phone| phone.parse().unwrap()).collect();
    // Of one answer all numbers hear.
    let refusal = wire::Refusal::new(wire::Code::RetryAfter);
    world.server.refusals.push_back(("lookup", refusal));
    let now = world.now;
    world.people[0].with_rng(|engine, rng| engine.look_up_all(phones.clone(), now, rng)).unwrap();
    world.poll(0);
    world.run();
    let answers: Vec<_> = world.people[0]
        .effects
        .iter()
        .filter_map(|effect| match effect {
            client::Effect::LookedUp { phone, result } => Some((phone.clone(), *result)),
            _ => None,
        })
        .collect();
    assert_eq!(answers.iter().map(|(phone, _)| phone.clone()).collect::<Vec<_>>(), phones);
    assert!(answers[..1_000].iter().all(|(_, result)| result.is_err()));
    assert!(answers[1_000..2_000].iter().all(|(_, result)| *result == Ok(None)));
    let found: Vec<_> = answers[2_000..].iter().map(|(_, result)| result.unwrap()).collect();
    assert_eq!(found, [Some(world.account(1)), Some(world.account(2))]);
}
