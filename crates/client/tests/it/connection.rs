//! The life of a connection: numbers, versions, endings, clocks, keys that are kept fresh.

use crate::world::World;
use client::{Closed, DeliveryState, Effect, Engine, Event};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use types::{IncarnationId, Millis, limits};
use wire::{Code, Hello, KeyCounts, Push, Refusal, ServerFrame, version};

fn hello(world: &World, min: u32, max: u32) -> bytes::Bytes {
    ServerFrame::Push(Push::Hello(Hello {
        versions: version::Range { min, max },
        nonce: [1; 32],
        time: world.now,
        incarnation: IncarnationId::from_bytes([1; 16]),
    }))
    .encode()
}

fn greet(world: &mut World, frame: bytes::Bytes) -> Vec<Effect> {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let now = world.now;
    let engine: &mut Engine = world.people[0].engine();
    engine.dial().unwrap();
    engine.handle(Event::Connected, now, &mut rng).unwrap();
    engine.handle(Event::Received(frame), now, &mut rng).unwrap();
    std::iter::from_fn(|| engine.poll_effect()).collect()
}

#[test]
fn a_server_of_the_next_version_that_still_speaks_ours_is_understood() {
    let mut world = World::new(1);
    let frame = hello(&world, version::CURRENT, version::CURRENT + 1);
    let effects = greet(&mut world, frame);
    let [Effect::Transmit(bytes)] = effects.as_slice() else { panic!("{effects:?}") };
    let wire::Request::Authenticate(proof) = wire::ClientFrame::decode(bytes.clone()).unwrap().request else {
        panic!("the first request proves who we are")
    };
    assert_eq!(proof.version, version::CURRENT);
}

#[test]
fn a_server_without_a_common_version_is_left() {
    let mut world = World::new(1);
    let frame = hello(&world, version::CURRENT + 1, version::CURRENT + 3);
    assert_eq!(greet(&mut world, frame), [Effect::Close(Closed::VersionUnsupported)]);
}

#[test]
fn frames_out_of_turn_end_the_connection_and_nothing_else() {
    let out_of_turn = [
        bytes::Bytes::from_static(b"\xff\xff\xff"),
        bytes::Bytes::new(),
        ServerFrame::Push(Push::Drained).encode(),
        ServerFrame::Push(Push::KeysLow(KeyCounts::default())).encode(),
        ServerFrame::Answer { id: 7, result: Ok(wire::Response::Done) }.encode(),
    ];
    for frame in out_of_turn {
        let mut world = World::new(1);
        let effects = greet(&mut world, frame.clone());
        let ended = effects == [Effect::Close(Closed::Protocol)];
        // An empty message is a push that this version does not know.
        assert!(ended || frame.is_empty() && effects.is_empty(), "{frame:?}: {effects:?}");
        world.connect(0);
        world.run();
        assert!(world.people[0].effects.contains(&Effect::Drained));
    }
}

#[test]
fn the_connection_number_is_on_disk_before_it_is_used() {
    let mut world = World::new(1);
    world.connect(0);
    world.run();
    world.people[0].engine().dial().unwrap();
    world.crash(0);
    world.connect(0);
    world.run();
    assert_eq!(world.people[0].closed, None);
    assert_eq!(world.server.accounts[&world.account(0)].last_connection, 3);
}

#[test]
fn a_copy_of_the_database_is_refused() {
    let mut world = World::new(1);
    let path = std::env::temp_dir().join(format!("waxwing-copy-{}.db", std::process::id()));
    let _ = std::fs::remove_file(&path);
    world.with_database(0, |database| {
        database.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
    });
    world.connect(0);
    world.run();
    world.connect(0);
    world.run();
    let copy = rusqlite::Connection::open(&path).unwrap();
    let original = std::mem::replace(world.people[0].engine(), Engine::open(copy).unwrap());
    for _ in 0..3 {
        world.connect(0);
        world.run();
        assert_eq!(world.people[0].closed, Some(Closed::Cloned), "however often it tries");
    }
    *world.people[0].engine() = original;
    world.connect(0);
    world.run();
    assert_eq!(world.people[0].closed, None, "the owner is not locked out");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn endings_say_what_to_do() {
    let table = [
        (Code::Replaced, Closed::Replaced, true),
        (Code::Revoked, Closed::Revoked, true),
        (Code::Cloned, Closed::Cloned, true),
        (Code::Unauthenticated, Closed::Unauthenticated, true),
        (Code::VersionUnsupported, Closed::VersionUnsupported, true),
        (Code::Idle, Closed::Idle, false),
        (Code::Malformed, Closed::Protocol, false),
    ];
    for (code, closed, is_final) in table {
        let mut world = World::new(1);
        world.connect(0);
        world.run();
        let bytes = ServerFrame::Push(Push::Closing(Refusal::new(code))).encode();
        world.handle(0, Event::Received(bytes));
        assert_eq!(world.people[0].closed, Some(closed));
        assert_eq!(closed.is_final(), is_final);
    }
    let mut world = World::new(1);
    world.connect(0);
    world.run();
    let after = Millis::from_secs(17);
    world.handle(0, Event::Received(ServerFrame::Push(Push::Reconnect { after }).encode()));
    assert_eq!(world.people[0].closed, Some(Closed::Reconnect { after }));
}

#[test]
fn a_restored_server_gets_list_and_keys_again_before_anything_is_sent() {
    let mut world = World::new(2);
    world.send(0, 1, "before");
    world.settle();
    world.server.restore_from_backup();
    let uploads = world.server.accounts[&world.account(0)].uploads;
    world.connect(0);
    world.connect(1);
    let message = world.send(0, 1, "after");
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
    let pool = limits::ONE_TIME_KEYS_POOL as u32;
    assert_eq!(world.server.accounts[&world.account(0)].uploads, uploads + 1);
    assert_eq!(world.server.counts(world.account(0)), KeyCounts { one_time: pool, one_time_kem: pool });
    world.connect(0);
    world.settle();
    assert_eq!(world.server.accounts[&world.account(0)].uploads, uploads + 1, "once for each incarnation");
}

#[test]
fn keys_that_a_server_asks_for_are_uploaded_and_the_send_goes_on() {
    let mut world = World::new(2);
    world.connect(0);
    world.connect(1);
    world.run();
    world.server.refusals.push_back(("send", Refusal::new(Code::KeysRequired)));
    let message = world.send(0, 1, "hello");
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
    assert_eq!(world.server.accounts[&world.account(0)].uploads, 1);
}

#[test]
fn a_server_that_always_asks_for_keys_is_not_given_them_without_end() {
    let mut world = World::new(2);
    world.connect(0);
    world.connect(1);
    world.run();
    for _ in 0..20 {
        world.server.refusals.push_back(("send", Refusal::new(Code::KeysRequired)));
    }
    let message = world.send(0, 1, "hello");
    world.run();
    assert!(world.server.accounts[&world.account(0)].uploads <= 2, "twice at once, then with pauses");
    world.pass(Millis::from_hours(1));
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
}

#[test]
fn a_prekey_whose_upload_was_refused_does_not_come_back_later() {
    let mut world = World::new(1);
    let me = world.account(0);
    world.pass(Millis::from_hours(25));
    world.server.refusals.push_back(("upload_keys", Refusal::new(Code::Unavailable)));
    world.connect(0);
    world.run();
    world.disconnect(0);
    world.pass(Millis::from_hours(25));
    world.connect(0);
    world.run();
    let given = (world.server.accounts[&me].signed.id, world.server.accounts[&me].last_resort.id);
    let mut newest = (0, 0);
    world.with_database(0, |database| {
        let newest_of = |which: &str| {
            let sql = format!("SELECT id FROM prekey WHERE {which} ORDER BY made_at DESC LIMIT 1");
            database.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        newest = (newest_of("kind = 'signed'"), newest_of("kind = 'kem' AND last_resort"));
    });
    assert_eq!(given, newest, "the server gives out the newest ones");
    for _ in 0..32 {
        world.connect(0);
        world.pass(Millis::from_hours(23));
    }
    world.connect(0);
    world.run();
    world.with_database(0, |database| {
        let sql = "SELECT count(*) FROM prekey WHERE kind = 'signed' AND uploaded_at IS NULL";
        let left: i64 = database.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "its private half is forgotten as well");
    });
}

#[test]
fn a_low_pool_is_refilled_at_a_random_moment_and_at_once_on_the_way_out() {
    let mut world = World::new(1);
    world.connect(0);
    world.run();
    let me = world.account(0);
    world.server.accounts.get_mut(&me).unwrap().one_time.truncate(9);
    let low = world.server.counts(me);
    let keys_low = ServerFrame::Push(Push::KeysLow(low)).encode();
    world.handle(0, Event::Received(keys_low.clone()));
    world.run();
    assert_eq!(world.server.accounts[&me].uploads, 0, "not on the dot");
    assert!(!world.people[0].engine().is_settled());
    world.pass(Millis::from_secs(31));
    assert_eq!(world.server.counts(me).one_time, limits::ONE_TIME_KEYS_POOL as u32);
    assert_eq!(world.server.counts(me).one_time_kem, limits::ONE_TIME_KEYS_POOL as u32);

    world.server.accounts.get_mut(&me).unwrap().one_time.truncate(9);
    world.handle(0, Event::Received(keys_low));
    world.flush(0);
    world.run();
    assert_eq!(world.server.counts(me).one_time, limits::ONE_TIME_KEYS_POOL as u32);
}

#[test]
fn one_time_keys_of_an_unknown_upload_are_never_uploaded_again() {
    let mut world = World::new(1);
    world.connect(0);
    world.run();
    let me = world.account(0);
    world.server.accounts.get_mut(&me).unwrap().one_time.clear();
    world.server.accounts.get_mut(&me).unwrap().one_time_kem.clear();
    world.handle(0, Event::Received(ServerFrame::Push(Push::KeysLow(world.server.counts(me))).encode()));
    world.flush(0);
    // The server stores the keys and gives some of them away; the answer is lost.
    assert!(world.step_up(0));
    let account = world.server.accounts.get_mut(&me).unwrap();
    let given: Vec<u32> = account.one_time.drain(..95).map(|key| key.id).collect();
    world.crash(0);
    world.connect(0);
    world.pass(Millis::from_mins(1));
    let account = &world.server.accounts[&me];
    assert_eq!(account.one_time.len(), 100, "it asked how many are left, and filled the pool");
    assert!(account.one_time.iter().all(|key| !given.contains(&key.id)));
}

#[test]
fn signed_prekeys_are_rotated_and_old_private_halves_forgotten() {
    let mut world = World::new(1);
    world.connect(0);
    world.run();
    let me = world.account(0);
    let first = world.server.accounts[&me].signed.clone();
    let last_resort = world.server.accounts[&me].last_resort.clone();
    world.pass(Millis::from_hours(48));
    assert_ne!(world.server.accounts[&me].signed, first);
    assert_ne!(world.server.accounts[&me].last_resort, last_resort);
    let known = |world: &mut World| {
        let mut count = 0_i64;
        world.with_database(0, |database| {
            count = database
                .query_row(
                    "SELECT count(*) FROM prekey WHERE kind = 'signed' AND id = ?1",
                    [first.id],
                    |row| row.get(0),
                )
                .unwrap();
        });
        count
    };
    assert_eq!(known(&mut world), 1, "envelopes sealed with it may still be under way");
    for _ in 0..32 {
        world.connect(0);
        world.pass(Millis::from_hours(23));
    }
    world.connect(0);
    world.run();
    assert_eq!(known(&mut world), 0);
}

#[test]
fn our_own_list_is_signed_anew_before_it_is_called_old() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    for _ in 0..32 {
        world.connect(0);
        world.connect(1);
        world.pass(Millis::from_hours(23));
    }
    let list = &world.server.accounts[&world.account(0)].list;
    assert_eq!(list.version(), 2);
    world.send(0, 1, "still me");
    world.settle();
    assert_eq!(world.texts(1, 0), ["hello", "still me"]);
}
