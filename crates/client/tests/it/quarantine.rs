//! What this version cannot open is kept for a later one.

use crate::world::World;
use client::EventView;
use types::{DeviceAddress, DeviceNumber, EnvelopeId, Millis, NodeId, Stamp};
use wire::{Envelope, EnvelopeKind, Urgency};

fn envelope(world: &World, kind: EnvelopeKind, ciphertext: &'static [u8]) -> Envelope {
    Envelope {
        envelope_id: EnvelopeId::from_bytes([7; 16]),
        from: DeviceAddress::new(world.account(0), DeviceNumber::PRIMARY),
        to: world.server.mailbox_of(world.account(1)),
        kind,
        urgency: Urgency::Normal,
        stamp: Stamp::new(world.now.as_millis() << 16, NodeId(1)),
        ciphertext: ciphertext.into(),
        group: None,
    }
}

fn quarantined(world: &mut World, who: usize) -> i64 {
    let mut count = 0;
    world.with_database(who, |database| {
        count = database.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0)).unwrap();
    });
    count
}

#[test]
fn a_message_of_a_later_version_is_kept_acknowledged_and_asked_for_once() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    world.print(1);
    // Version 15 of the ratchet's message format.
    let later = envelope(&world, EnvelopeKind::Ratchet, b"\xff a message of a later version");
    world.server.inject(world.account(1), &later);
    let sends = world.server.sends;
    world.settle();
    world.pass(Millis::from_hours(40));
    assert!(world.server.accounts[&world.account(1)].mailbox.is_empty());
    assert_eq!(world.server.sends - sends, 2, "one request, one void");
    let gaps = world.print(1).iter().filter(|event| matches!(event, EventView::Gap { .. })).count();
    assert_eq!(gaps, 2, "that it could not be opened, and that it will not come");
    assert_eq!(quarantined(&mut world, 1), 1);
}

#[test]
fn an_upgrade_tries_again_what_was_kept() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    world.disconnect(1);
    world.send(0, 1, "kept");
    world.run();
    // An earlier version did not know this kind of envelope and put it aside.
    let me = world.account(1);
    let real = world.server.accounts[&me].mailbox.values().next().cloned().unwrap();
    let aside = Envelope::decode(real).unwrap();
    world.server.accounts.get_mut(&me).unwrap().mailbox.clear();
    world.with_database(1, |database| {
        let row = (aside.from.account.as_bytes(), aside.envelope_id.as_bytes(), aside.encode().to_vec());
        database
            .execute(
                "INSERT INTO quarantine (account, device, envelope_id, envelope, reason, by_version, at)
                 VALUES (?1, 1, ?2, ?3, 'unknown_kind', '0.0.1', 0)",
                row,
            )
            .unwrap();
    });
    world.settle();
    assert_eq!(world.texts(1, 0), ["hello", "kept"]);
    assert_eq!(quarantined(&mut world, 1), 0);
}

#[test]
fn kinds_of_later_issues_are_kept() {
    let mut world = World::new(2);
    let later = envelope(&world, EnvelopeKind::Unknown, b"of a later version");
    world.server.inject(world.account(1), &later);
    world.settle();
    assert!(world.server.accounts[&world.account(1)].mailbox.is_empty());
    assert_eq!(quarantined(&mut world, 1), 1);
    assert_eq!(world.server.sends, 0);
}

#[test]
fn what_is_no_group_message_and_no_operation_leaves_nothing() {
    for kind in [EnvelopeKind::SenderKey, EnvelopeKind::GroupOperation] {
        let mut world = World::new(2);
        let nonsense = envelope(&world, kind, b"of no group");
        let group = Some(types::GroupId::from_bytes([3; 16]));
        for group in [None, group] {
            world.server.inject(world.account(1), &Envelope { group, ..nonsense.clone() });
        }
        world.settle();
        assert!(world.server.accounts[&world.account(1)].mailbox.is_empty());
        assert_eq!(quarantined(&mut world, 1), 0);
        assert_eq!(world.server.sends, 0);
    }
}

#[test]
fn what_one_account_sends_does_not_take_the_place_of_the_others() {
    let mut world = World::new(3);
    for number in 0..150 {
        let flood = envelope(&world, EnvelopeKind::Unknown, b"of a later version");
        let flood = Envelope { envelope_id: EnvelopeId::from_bytes([number; 16]), ..flood };
        world.server.inject(world.account(1), &flood);
    }
    let other = envelope(&world, EnvelopeKind::Unknown, b"of a later version");
    let from = DeviceAddress::new(world.account(2), DeviceNumber::PRIMARY);
    world.server.inject(world.account(1), &Envelope { from, ..other });
    world.settle();
    assert!(world.server.accounts[&world.account(1)].mailbox.is_empty());
    assert_eq!(quarantined(&mut world, 1), 100 + 1);
}
