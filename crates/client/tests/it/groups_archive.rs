//! Messages of groups in an archive: whoever was a member when they were sent is one of their recipients, and nobody
//! else.

use crate::world::World;
use client::{Effect, Event, backup};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use seal::{
    ArchiveId, ArchiveKey,
    archive::PartSealer,
    backup::{BackupReader, RecoveryKey},
};
use types::Millis;

/// Gives everything that one device knows to another one of its account, as a hand-over does.
fn hand_over(world: &mut World, from: usize, to: usize) {
    let mut rng = ChaCha20Rng::seed_from_u64(79);
    let now = world.now;
    let all = backup::create(&world.people[from].engine().view(), now, &mut rng).unwrap();
    let key: RecoveryKey = all.recovery_key.parse().unwrap();
    let mut reader = BackupReader::open(&key, &all.bytes).unwrap();
    let mut records = Vec::new();
    while let Some(part) = reader.next_part().unwrap() {
        records.extend_from_slice(&part);
    }
    let (archive, key) = ([7; 16], [8; 32]);
    let mut sealer =
        PartSealer::new(ArchiveKey::from_slice(&key).unwrap(), ArchiveId::from_slice(&archive).unwrap());
    let part = sealer.seal(&records, true, &mut rng).unwrap();
    world.with_database(to, |database| {
        let sql = "INSERT INTO history_import (archive, key) VALUES (?1, ?2)";
        database.execute(sql, rusqlite::params![archive, key]).unwrap();
        let sql =
            "INSERT INTO history_import_part (archive, part, blob, size, digest) VALUES (?1, 0, ?2, ?3, ?4)";
        let digest = seal::archive::digest(&part);
        database.execute(sql, rusqlite::params![archive, [9_u8; 16], part.len() as i64, digest]).unwrap();
    });
    world.connect(to);
    world.run();
    let download = world.people[to].effects.iter().rev().find_map(|effect| match effect {
        Effect::Download { transfer, .. } => Some(*transfer),
        _ => None,
    });
    let downloaded = Event::Downloaded { transfer: download.unwrap(), result: Some(part.into()) };
    world.handle(to, downloaded);
    world.run();
}

#[test]
fn status_is_the_same_on_a_device_that_was_linked_later() {
    let (mut world, group) = World::with_group(4);
    let late = world.register();
    world.settle();
    // The fourth never gets it, leaves, and another one comes.
    world.disconnect(3);
    let message = world.send_group(0, group, "to the first four");
    world.pass(Millis::from_secs(10));
    world.read_group(1, group);
    world.pass(Millis::from_secs(10));
    world.remove(0, group, 3).unwrap();
    world.add(0, group, late).unwrap();
    world.pass(Millis::from_secs(10));
    let laptop = world.link_device(0);
    world.connect(0);
    world.pass(Millis::from_secs(5));
    hand_over(&mut world, 0, laptop);
    let here = world.group_status(0, message);
    assert_eq!(here.1.len(), 3, "those who were there when it was sent");
    assert_eq!(world.group_status(laptop, message), here);
    let state = |world: &mut World, who: usize| {
        world.group_history(who, group).into_iter().find(|shown| shown.message_id == message).unwrap().state
    };
    assert_eq!(state(&mut world, 0), here.0);
    assert_eq!(state(&mut world, laptop), here.0);
}

/// An archive of an earlier version does not say in which epoch a message was sent.
#[test]
fn one_reader_is_not_everybody_where_the_epoch_is_not_known() {
    let (mut world, group) = World::with_group(4);
    for away in [2, 3] {
        world.disconnect(away);
    }
    let message = world.send_group(0, group, "read by one");
    world.pass(Millis::from_secs(10));
    world.read_group(1, group);
    world.pass(Millis::from_secs(10));
    world.with_database(0, |database| {
        database.execute("UPDATE message SET group_epoch = NULL", []).unwrap();
    });
    let status = world.group_status(0, message).0;
    assert_eq!(world.group_history(0, group)[0].state, status);
    assert_eq!(status, client::DeliveryState::Accepted);
}
