//! What cannot be opened yet has bounded room, and stands in nobody's way.

use crate::{
    server::WINDOW,
    world::{START, World},
};
use client::{Effect, EventView};
use types::{AccountId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, Millis};
use wire::{Envelope, EnvelopeKind, Urgency};

/// Rows that no engine can ever hold, and that fill a window after that.
const FLOOD: usize = 500 + WINDOW + 1;

fn id(number: usize) -> EnvelopeId {
    let mut bytes = [0xEE; 16];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    EnvelopeId::from_bytes(bytes)
}

/// The row of a message to a group whose key the server has swallowed, as the second person gets it.
fn unreadable(world: &mut World, who: usize, group: GroupId) -> Envelope {
    world.server.swallow = 2;
    world.disconnect(1);
    world.send_group(who, group, "under a key that never comes");
    world.run();
    world.server.swallow = 0;
    let mailbox = &world.server.accounts[&world.account(1)].mailbox;
    let row = mailbox.values().map(|row| Envelope::decode(row.clone()).unwrap()).next_back().unwrap();
    assert_eq!((row.kind, row.from.account), (EnvelopeKind::SenderKey, world.account(who)));
    row
}

fn is_drained(world: &World, who: usize) -> bool {
    world.people[who].effects.contains(&Effect::Drained)
}

#[test]
fn a_stranger_who_fills_the_room_of_a_group_ends_no_mailbox() {
    let mut world = World::new(3);
    world.settle();
    let group = world.create(2, "Named without asking", &[1]).unwrap();
    world.settle();
    let row = unreadable(&mut world, 2, group);
    for number in 0..FLOOD {
        world.server.inject(world.account(1), &Envelope { envelope_id: id(number), ..row.clone() });
    }
    world.send(0, 1, "behind the flood");
    world.run();
    world.people[1].effects.clear();
    world.settle();
    assert_eq!(world.texts(1, 0), ["behind the flood"]);
    assert!(is_drained(&world, 1));
    assert!(world.server.accounts[&world.account(1)].mailbox.is_empty(), "every row is acknowledged");
    world.with_database(1, |database| {
        let count = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM group_held"), 500);
        assert_eq!(count("SELECT count(*) FROM gap"), 1_000, "what there is no room for is bounded, too");
    });
}

/// The key of a busy member was late: everything that was written under it meanwhile arrives all the same.
#[test]
fn what_a_member_wrote_before_its_key_came_arrives_however_much_it_is() {
    let (mut world, group) = World::with_group(2);
    world.disconnect(1);
    world.server.swallow = 1;
    let written: Vec<String> = (0..530).map(|number| format!("{number}")).collect();
    for text in &written {
        world.send_group(0, group, text);
    }
    world.run();
    world.settle();
    world.pass(Millis::from_hours(30));
    let mut shown = world.group_texts(1, group);
    shown.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(shown, written);
}

#[test]
fn a_sender_whose_failures_are_many_ends_no_mailbox() {
    let mut world = World::new(3);
    for who in [0, 2] {
        world.send(who, 1, "hello");
        world.settle();
    }
    world.disconnect(1);
    let forged = Envelope {
        envelope_id: id(0),
        from: DeviceAddress::new(world.account(2), DeviceNumber::PRIMARY),
        to: world.server.mailbox_of(world.account(1)),
        kind: EnvelopeKind::Ratchet,
        urgency: Urgency::Normal,
        stamp: types::Stamp::new(world.now.as_millis() << 16, types::NodeId(1)),
        ciphertext: vec![0x44; 100].into(),
        group: None,
    };
    for number in 0..FLOOD + 50 {
        world.server.inject(world.account(1), &Envelope { envelope_id: id(number), ..forged.clone() });
    }
    world.send(0, 1, "behind the flood");
    world.run();
    world.people[1].effects.clear();
    world.settle();
    assert_eq!(world.texts(1, 0), ["hello", "behind the flood"]);
    assert!(is_drained(&world, 1));
    assert!(world.server.accounts[&world.account(1)].mailbox.is_empty(), "every row is acknowledged");
}

/// However many strangers there are: whoever holds less than they do is pushed out by none of them.
#[test]
fn who_fills_the_room_gives_way_to_others() {
    let (mut world, group) = World::with_group(2);
    let row = unreadable(&mut world, 0, group);
    world.server.accounts.get_mut(&row.to.account).unwrap().mailbox.clear();
    world.with_database(1, |database| {
        let sql = "INSERT INTO group_held (group_id, account, device, envelope_id, envelope, waits, since)
                   VALUES (?1, ?2, 1, ?3, ?4, 1, ?5)";
        let mut insert = database.prepare(sql).unwrap();
        for number in 0..5_000 {
            let stranger = AccountId::from_bytes([(number / 500) as u8 + 1; 16]);
            let from = DeviceAddress::new(stranger, DeviceNumber::PRIMARY);
            let held = Envelope { envelope_id: id(number), from, ..row.clone() };
            let since = i64::try_from(START.as_millis()).unwrap();
            insert
                .execute(rusqlite::params![
                    group.as_bytes(),
                    stranger.as_bytes(),
                    held.envelope_id.as_bytes(),
                    held.encode().as_ref(),
                    since
                ])
                .unwrap();
        }
    });
    world.server.inject(world.account(1), &row);
    world.connect(1);
    world.run();
    let honest = row.from.account;
    world.with_database(1, |database| {
        let count = |account: AccountId| {
            let sql = "SELECT count(*) FROM group_held WHERE account = ?1";
            database.query_row(sql, [account.as_bytes()], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(count(honest), 1);
    });
    let gaps = |event: &EventView| matches!(event, EventView::Gap { .. });
    assert!(!world.print(1).iter().any(gaps), "and nobody is told of what a stranger never wrote");
}
