//! What a device is given when it is linked: nothing falls between the archive and what comes live.

use crate::link_world::{Fault, World};
use client::{AddingDevice, DeliveryState, Effect, EventView, HistorySync};
use rand_core::SeedableRng;
use types::{DeviceNumber, Millis};
use wire::{Code, Refusal};

/// A primary and a friend with a past, and a device that is to be linked.
fn with_past(messages: usize) -> (World, usize) {
    let mut world = World::new(2);
    for number in 0..messages {
        let (from, to) = if number % 2 == 0 { (1, 0) } else { (0, 1) };
        world.send(from, to, &format!("message {number}"));
        if number % 16 == 15 {
            world.settle();
        }
    }
    world.settle();
    let new = world.machine();
    (world, new)
}

/// A text that fills a part of an archive with fifteen others.
fn large(number: usize) -> String {
    format!("{number} ") + &"x".repeat(60_000)
}

#[test]
fn history_comes_whole_with_its_states_and_is_not_printed() {
    let (mut world, new) = with_past(40);
    let friend = world.account(1);
    let (now, chat) = (world.now, types::ChatId::Direct(friend));
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([7; 32]);
    world.machines[0].engine().mark_read(chat, now, &mut rng).unwrap();
    world.poll(0);
    world.settle();
    world.link(0, new, true);
    world.settle();
    let (here, there) = (world.history(0, friend), world.history(new, friend));
    assert_eq!(here.len(), 40);
    assert_eq!(here, there, "texts, senders, numbers, stamps, states and read marks");
    assert!(there.iter().any(|message| message.state == DeliveryState::Delivered));
    assert!(there.iter().any(|message| message.state == DeliveryState::Read));
    assert!(world.print(new).is_empty());
    assert!(world.machines[new].effects.contains(&Effect::History(HistorySync::Imported)));
    let progress: Vec<_> = world.machines[0]
        .adding()
        .into_iter()
        .filter_map(|adding| match adding {
            AddingDevice::HandingOver { done, total } => Some((done, total)),
            _ => None,
        })
        .collect();
    assert_eq!(progress.last(), Some(&(40, 40)));
    let found = world.machines[new].engine().view().search("message 17", 10, now).unwrap();
    assert_eq!(found.len(), 1);
}

/// A message did not open on the primary, and its sender was away; when it comes again, the device that was linked
/// meanwhile is there, and was not when it was sent.
#[test]
fn what_is_repaired_after_linking_reaches_the_new_device() {
    let (mut world, new) = with_past(4);
    world.with_database(0, |database| {
        database.execute("DELETE FROM ratchet", []).unwrap();
    });
    world.held.insert(1);
    world.send(1, 0, "does not open at first");
    world.run();
    world.connect(0);
    world.pass(Millis::from_secs(5));
    let text = "does not open at first".to_owned();
    assert!(!world.texts(0, 1).contains(&text));
    world.link(0, new, true);
    world.settle();
    // Long after what was sealed to the older list has come.
    world.pass(Millis::from_hours(12));
    assert!(!world.texts(0, 1).contains(&text));
    world.held.clear();
    world.settle();
    assert_eq!(world.texts(0, 1).len(), 5);
    assert_eq!(world.texts(new, 1), world.texts(0, 1));
}

#[test]
fn contacts_come_without_history_too() {
    let (mut world, new) = with_past(6);
    let friend = world.account(1);
    world.mark_verified(0, friend);
    let nuisance = types::AccountId::from_bytes([9; 16]);
    world.set_blocked(0, nuisance, true);
    world.link(0, new, false);
    world.settle();
    assert!(world.history(new, friend).is_empty());
    let phone = client::ChatName::Phone("+15550000001".parse().unwrap());
    let found = world.machines[new].engine().view().resolve(&phone).unwrap();
    assert_eq!(found, client::Resolved::Known(friend.into()), "the number was checked by the primary");
    assert!(world.machines[new].engine().view().safety(friend).unwrap().unwrap().verified);
    assert!(world.machines[new].engine().view().is_blocked(nuisance).unwrap());

    world.send(1, 0, "counter four, and no gap");
    world.settle();
    assert_eq!(world.printed_texts(new), ["counter four, and no gap"]);
    assert!(!world.machines[new].printed.iter().any(|event| matches!(event, EventView::Gap { .. })));
}

/// The friend's message is accepted under the old list and reaches the primary after the archive was cut.
#[test]
fn what_was_sealed_to_the_old_list_is_forwarded() {
    for history in [false, true] {
        let (mut world, new) = with_past(4);
        world.try_link(new).unwrap();
        let code = world.machines[new].code.clone().unwrap();
        world.add_device(0, &code, history).unwrap();
        world.pass(Millis::from_secs(1));
        world.try_link(new).unwrap();
        world.pass(Millis::from_secs(1));
        world.held.insert(0);
        world.send(1, 0, "between");
        world.run();
        world.confirm(0);
        world.pass(Millis::from_secs(1));
        assert!(world.machines[0].adding().iter().any(|adding| matches!(adding, AddingDevice::Done { .. })));
        world.try_link(new).unwrap();
        world.connect(new);
        world.settle();
        assert!(!world.texts(new, 1).contains(&"between".to_owned()));
        world.held.clear();
        world.settle();
        assert_eq!(world.printed_texts(new), ["between"]);
        world.send(1, 0, "after");
        world.settle();
        assert_eq!(world.texts(new, 1).len(), if history { 6 } else { 2 });
        assert_eq!(world.printed_texts(new), ["after"]);
        assert!(!world.machines[new].printed.iter().any(|event| matches!(event, EventView::Gap { .. })));
    }
}

/// What comes live and what is forwarded may be here before the archive says where counting begins.
#[test]
fn what_was_forwarded_before_the_archive_was_read_is_not_missed() {
    let (mut world, new) = with_past(4);
    world.try_link(new).unwrap();
    let code = world.machines[new].code.clone().unwrap();
    world.add_device(0, &code, true).unwrap();
    world.pass(Millis::from_secs(1));
    world.try_link(new).unwrap();
    world.pass(Millis::from_secs(1));
    world.held.insert(0);
    world.send(1, 0, "between");
    world.run();
    world.confirm(0);
    world.pass(Millis::from_secs(1));
    let later = Refusal { retry_after: Some(Millis::from_secs(60)), ..Refusal::from(Code::RetryAfter) };
    world.server.refusals.push_back(("get_blob", later));
    world.try_link(new).unwrap();
    world.connect(new);
    world.send(1, 0, "live");
    world.pass(Millis::from_secs(5));
    assert_eq!(world.printed_texts(new), ["live"]);
    world.held.clear();
    world.pass(Millis::from_secs(5));
    assert_eq!(world.printed_texts(new), ["between"]);
    assert_eq!(world.texts(new, 1), ["between", "live"]);
    world.pass(Millis::from_secs(120));
    assert_eq!(world.texts(new, 1).len(), 6, "the archive was read");
    assert!(world.print(new).is_empty(), "nothing is missing");
}

/// The planted fault: without forwarding, the message between archive and live delivery would be lost.
#[test]
fn a_device_that_is_not_forwarded_to_misses_something() {
    let (mut world, new) = with_past(4);
    let bugs = client::testing::Bugs { skip_forwards: true, ..Default::default() };
    world.plant(0, bugs);
    world.try_link(new).unwrap();
    let code = world.machines[new].code.clone().unwrap();
    world.add_device(0, &code, true).unwrap();
    world.pass(Millis::from_secs(1));
    world.try_link(new).unwrap();
    world.pass(Millis::from_secs(1));
    world.held.insert(0);
    world.send(1, 0, "between");
    world.run();
    world.confirm(0);
    world.pass(Millis::from_secs(1));
    world.try_link(new).unwrap();
    world.held.clear();
    world.settle();
    assert_eq!(world.texts(0, 1).len(), 5);
    assert_eq!(world.texts(new, 1).len(), 4);
}

/// Our own message was accepted under the old list, and the answer was lost until the archive was cut.
#[test]
fn an_own_message_whose_answer_came_late_is_made_up_for() {
    let (mut world, new) = with_past(4);
    world.try_link(new).unwrap();
    let code = world.machines[new].code.clone().unwrap();
    world.add_device(0, &code, true).unwrap();
    world.pass(Millis::from_secs(1));
    world.try_link(new).unwrap();
    world.pass(Millis::from_secs(1));
    world.server.lies.push_back(("send", Refusal::from(Code::Unavailable)));
    world.send(0, 1, "accepted, and nobody says so");
    world.run();
    world.confirm(0);
    world.pass(Millis(10));
    world.settle();
    world.try_link(new).unwrap();
    world.settle();
    assert_eq!(world.texts(new, 1), world.texts(0, 1));
    assert_eq!(world.texts(new, 1).len(), 5);
    let friend = world.account(1);
    assert!(world.history(new, friend).iter().all(|message| message.stamp.is_some()));
}

#[test]
fn a_message_that_the_server_drops_after_linking_shows() {
    let (mut world, new) = with_past(4);
    world.link(0, new, false);
    world.settle();
    world.send(1, 0, "dropped on its way to the new device");
    world.held.insert(new);
    world.run();
    let account = world.account(0);
    let device = world.machines[new].device.unwrap();
    world.server.accounts.get_mut(&account).unwrap().devices.get_mut(&device).unwrap().mailbox.clear();
    world.held.clear();
    world.send(1, 0, "arrives");
    world.settle();
    let gaps = world.print(new).into_iter().filter(|event| matches!(event, EventView::Gap { .. })).count();
    assert_eq!(gaps, 1);
}

/// The primary gets a message late that was written before one which it had when the archive was cut.
#[test]
fn what_the_archive_has_is_not_missed_because_something_older_was_forwarded() {
    for history in [false, true] {
        let (mut world, new) = with_past(4);
        world.held.insert(0);
        world.send(1, 0, "late");
        world.send(1, 0, "in time");
        world.run();
        let account = world.account(0);
        let (place, late) = {
            let account = world.server.accounts.get_mut(&account).unwrap();
            account.devices.get_mut(&DeviceNumber::PRIMARY).unwrap().mailbox.pop_first().unwrap()
        };
        world.held.clear();
        world.run();
        let later = Refusal { retry_after: Some(Millis::from_secs(60)), ..Refusal::from(Code::RetryAfter) };
        world.server.refusals.push_back(("get_blob", later));
        world.held.insert(1);
        world.try_link(new).unwrap();
        let code = world.machines[new].code.clone().unwrap();
        world.add_device(0, &code, history).unwrap();
        for _ in 0..3 {
            world.pass(Millis::from_secs(1));
            world.confirm(0);
            world.try_link(new).unwrap();
        }
        world.connect(new);
        world.pass(Millis::from_secs(1));
        let primary = world.server.accounts.get_mut(&account).unwrap();
        primary.devices.get_mut(&DeviceNumber::PRIMARY).unwrap().mailbox.insert(place, late);
        world.connect(0);
        world.pass(Millis::from_secs(5));
        assert_eq!(world.printed_texts(new), ["late"]);
        world.pass(Millis::from_secs(120));
        world.held.clear();
        world.send(1, 0, "after");
        world.pass(Millis::from_secs(10));
        assert_eq!(world.printed_texts(new), ["after"]);
        assert_eq!(world.texts(new, 1).len(), if history { 7 } else { 2 });
        assert!(!world.machines[new].printed.iter().any(|event| matches!(event, EventView::Gap { .. })));
    }
}

/// Without an archive a device knows nothing of the time before the first message that it hears; and if an earlier one
/// comes afterwards, it knows that those between were for it, too.
#[test]
fn what_is_missing_between_two_messages_shows_if_the_earlier_one_comes_last() {
    let (mut world, new) = with_past(4);
    let never = Refusal { retry_after: Some(Millis::from_hours(9)), ..Refusal::from(Code::RetryAfter) };
    world.server.refusals.push_back(("create_blob", never));
    world.try_link(new).unwrap();
    let code = world.machines[new].code.clone().unwrap();
    world.add_device(0, &code, false).unwrap();
    for _ in 0..3 {
        world.pass(Millis::from_secs(1));
        world.confirm(0);
        world.try_link(new).unwrap();
    }
    world.settle();
    world.held.insert(new);
    for text in ["first", "dropped", "third"] {
        world.send(1, 0, text);
    }
    world.run();
    let account = world.account(0);
    let device = world.machines[new].device.unwrap();
    let mailbox = |world: &mut World| {
        let account = world.server.accounts.get_mut(&account).unwrap();
        std::mem::take(&mut account.devices.get_mut(&device).unwrap().mailbox)
    };
    let rows: Vec<_> = mailbox(&mut world).into_iter().collect();
    let [first, _dropped, third] = rows.as_slice() else { panic!("{} rows", rows.len()) };
    world.held.clear();
    for (place, row) in [(first.0, &third.1), (third.0, &first.1)] {
        let account = world.server.accounts.get_mut(&account).unwrap();
        account.devices.get_mut(&device).unwrap().mailbox.insert(place, row.clone());
        world.settle();
    }
    let is_gap = |event: &EventView| matches!(event, EventView::Gap { first, last, .. } if first == last);
    assert_eq!(world.print(new).iter().filter(|event| is_gap(event)).count(), 1);
    assert!(world.texts(new, 1).contains(&"dropped".to_owned()), "it was asked for");
}

/// Every part, every fault, both sides: the archive arrives whole, and what was uploaded is not uploaded again.
#[test]
fn a_large_archive_survives_a_loss_at_every_step() {
    let sides = [0, 2];
    for who in sides {
        for fault in [Fault::Crash(who), Fault::Cut(who), Fault::CutAnswer(who)] {
            for step in (1..).step_by(3) {
                let mut world = World::new(2);
                for number in 0..40 {
                    world.send(1, 0, &large(number));
                }
                world.settle();
                let new = world.machine();
                world.steps.fill(0);
                world.fault = Some((step, fault));
                world.link(0, new, true);
                world.settle();
                let expected: Vec<String> = (0..40).map(large).collect();
                assert!(world.texts(new, 1) == expected, "{fault:?} at {step}");
                assert!(world.print(new).is_empty());
                let again = world.server.uploads.values().filter(|count| **count > 1).count();
                assert!(again <= 1, "{fault:?} at {step}: {again} parts were uploaded again");
                if !world.struck {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_server_without_room_is_waited_for() {
    let (mut world, new) = with_past(4);
    let later = Refusal { retry_after: Some(Millis::from_secs(30)), ..Refusal::from(Code::RetryAfter) };
    world.server.refusals.push_back(("create_blob", later));
    world.link(0, new, true);
    world.settle();
    assert_eq!(world.texts(new, 1).len(), 4);
}

#[test]
fn an_archive_that_is_gone_does_not_block_what_comes_live() {
    let (mut world, new) = with_past(4);
    world.server.refusals.push_back(("get_blob", Refusal::from(Code::NoSuchBlob)));
    world.link(0, new, true);
    world.settle();
    assert!(world.machines[new].effects.contains(&Effect::History(HistorySync::Failed)));
    assert!(world.machines[new].engine().is_settled());
    world.send(1, 0, "live");
    world.settle();
    assert_eq!(world.printed_texts(new), ["live"]);
}

/// Fifty thousand messages, through every step of both sides.
#[test]
fn fifty_thousand_messages_come_in_one_go() {
    const MESSAGES: u32 = 50_000;
    let (mut world, new) = with_past(2);
    let (me, friend) = (world.account(0), world.account(1));
    world.with_database(0, |db| {
        db.execute_batch("BEGIN").unwrap();
        let mut insert = db
            .prepare(
                "INSERT INTO message (id, chat, sender, device, counter, sent_at, stamp, text)
                 VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7)",
            )
            .unwrap();
        for number in 0..MESSAGES {
            let sender = if number % 2 == 0 { me } else { friend };
            let id = types::MessageId::new(
                world_time(number),
                &mut rand_chacha::ChaCha20Rng::seed_from_u64(number.into()),
            );
            let stamp = types::Stamp::new(world_time(number).as_millis() << 16, types::NodeId(1));
            let text =
                format!("message {number} says about as much as people say at a time, which is not a lot");
            let time = i64::try_from(world_time(number).as_millis()).unwrap();
            insert
                .execute(rusqlite::params![
                    id.as_bytes(),
                    friend.as_bytes(),
                    sender.as_bytes(),
                    100 + number,
                    time,
                    stamp.to_bytes(),
                    text
                ])
                .unwrap();
        }
        drop(insert);
        db.execute_batch(
            "INSERT INTO delivery (message, account, device, delivered_at)
               SELECT seq, chat, 1, sent_at FROM message WHERE sender <> chat AND counter >= 100;
             COMMIT",
        )
        .unwrap();
    });
    world.link(0, new, true);
    world.settle();
    assert_eq!(world.history(new, friend).len(), MESSAGES as usize + 2);
    assert_eq!(world.history(new, friend), world.history(0, friend));
    assert!(world.print(new).is_empty());
}

fn world_time(number: u32) -> types::Timestamp {
    types::Timestamp::from_millis(1_700_000_000_000 + u64::from(number) * 1_000)
}

#[test]
fn a_device_that_is_removed_while_it_is_given_its_history_is_told_of() {
    let (mut world, new) = with_past(4);
    let later = Refusal { retry_after: Some(Millis::from_mins(10)), ..Refusal::from(Code::RetryAfter) };
    world.server.refusals.push_back(("create_blob", later));
    world.try_link(new).unwrap();
    let code = world.machines[new].code.clone().unwrap();
    world.add_device(0, &code, true).unwrap();
    for _ in 0..2 {
        world.pass(Millis::from_secs(1));
        world.try_link(new).unwrap();
    }
    world.pass(Millis::from_secs(1));
    world.confirm(0);
    world.pass(Millis::from_secs(1));
    let device = types::DeviceNumber::new(2).unwrap();
    assert!(world.machines[0].adding().contains(&AddingDevice::Added { device }));
    world.remove(0, 2).unwrap();
    world.pass(Millis::from_secs(1));
    let last = world.machines[0].adding().pop();
    assert_eq!(last, Some(AddingDevice::Failed(client::AddDeviceError::Removed)));
    assert!(world.machines[0].engine().is_settled(), "nothing of it is left to do");
}
