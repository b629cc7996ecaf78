//! Prekeys: what is taken from a device, and what is given to others.

use crate::world::{Person, World, kem, keys, one_time, point, refused};
use futures_util::future::join_all;
use server_core::Allowance;
use server_ports::{Caller, Signal};
use std::collections::BTreeSet;
use types::{Millis, limits};
use wire::{AccountKeys, Bundle, Code, FetchKeys, KeyCounts, KeyUpload, Request, Response, SignedPrekey};

fn fetch(accounts: &[&Person]) -> Request {
    let accounts = accounts.iter().map(|person| person.id()).collect();
    Request::FetchKeys(FetchKeys { accounts, reset: false, device: None })
}

fn keys_in(answer: Result<Response, wire::Refusal>) -> Vec<AccountKeys> {
    match answer.unwrap() {
        Response::Keys(keys) => keys,
        other => panic!("{other:?}"),
    }
}

/// The one bundle of a person with one device.
fn bundle(world: &World, caller: &Caller, of: &Person) -> Bundle {
    let [account] = &keys_in(world.ask(caller, fetch(&[of])))[..] else { panic!("one account") };
    let [bundle] = &account.bundles[..] else { panic!("one bundle") };
    bundle.clone()
}

fn counts(world: &World, person: &Person) -> KeyCounts {
    match world.ask(&person.caller(), Request::KeyCount).unwrap() {
        Response::KeyCounts(counts) => counts,
        other => panic!("{other:?}"),
    }
}

fn upload(world: &World, person: &Person, keys: KeyUpload) -> Result<Response, wire::Refusal> {
    world.ask(&person.caller(), Request::UploadKeys(keys))
}

#[test]
fn a_bundle_is_what_was_uploaded() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let [account] = &keys_in(world.ask(&alice.caller(), fetch(&[&bob])))[..] else { panic!("one account") };
    assert_eq!(account.device_list[..], bob.list(1, &[1]).as_bytes()[..]);
    let uploaded = keys(1..=5);
    let bundle = &account.bundles[0];
    assert_eq!((bundle.device, bundle.registration), (bob.mailbox().device, bob.mailbox().registration));
    assert_eq!(Some(&bundle.signed_prekey), uploaded.signed_prekey.as_ref());
    assert!(uploaded.one_time.contains(bundle.one_time_prekey.as_ref().unwrap()));
    assert!(uploaded.one_time_kem.contains(&bundle.kem_prekey));
    assert_eq!(counts(&world, &bob), KeyCounts { one_time: 4, one_time_kem: 4 });
}

#[test]
fn accounts_are_answered_in_order_with_what_there_is() {
    let world = World::new();
    let (alice, bob, nobody, gone) =
        (world.register(1), world.register(2), Person::new(9), world.register(3));
    world.ask(&gone.caller(), Request::CloseAccount).unwrap();
    world.link(&bob, 2, &[1, 2]);
    let answer = keys_in(world.ask(&alice.caller(), fetch(&[&nobody, &gone, &bob])));
    let seen: Vec<_> = answer
        .iter()
        .map(|keys| (keys.account, keys.bundles.len(), keys.device_list.is_empty(), keys.closed))
        .collect();
    assert_eq!(
        seen,
        [(nobody.id(), 0, true, false), (gone.id(), 0, true, true), (bob.id(), 2, false, false)]
    );
}

#[test]
fn one_may_ask_for_one_device_and_for_ones_own_others() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    world.link(&bob, 2, &[1, 2]);
    let linked = Caller { mailbox: bob.linked(2), connection: 1 };
    world.ask(&linked, Request::UploadKeys(keys(1..=5))).unwrap();
    let devices =
        |answer| -> Vec<u8> { keys_in(answer)[0].bundles.iter().map(|bundle| bundle.device.get()).collect() };
    assert_eq!(devices(world.ask(&alice.caller(), fetch(&[&bob]))), [1, 2]);
    let only = |device| {
        Request::FetchKeys(FetchKeys { accounts: vec![bob.id()], reset: false, device: Some(device) })
    };
    assert_eq!(devices(world.ask(&alice.caller(), only(bob.linked(2).device))), [2]);
    assert_eq!(devices(world.ask(&bob.caller(), fetch(&[&bob]))), [2], "never ones own");
}

#[test]
fn the_same_device_gets_the_same_bundle_for_ten_minutes() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let first = bundle(&world, &alice.caller(), &bob);
    world.clock.advance(Millis(limits::BUNDLE_REPEAT_WITHIN.0 - 1));
    assert_eq!(bundle(&world, &alice.caller(), &bob), first);
    assert_eq!(counts(&world, &bob).one_time, 4);
    world.clock.advance(Millis::from_mins(1));
    assert_ne!(bundle(&world, &alice.caller(), &bob).one_time_prekey, first.one_time_prekey);
}

#[test]
fn a_reset_takes_no_one_time_key() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let reset = Request::FetchKeys(FetchKeys { accounts: vec![bob.id()], reset: true, device: None });
    let answer = keys_in(world.ask(&alice.caller(), reset));
    assert_eq!(answer[0].bundles[0].one_time_prekey, None);
    assert!(answer[0].bundles[0].kem_prekey.last_resort);
    assert_eq!(counts(&world, &bob), KeyCounts { one_time: 5, one_time_kem: 5 });
}

#[test]
fn sixty_four_takers_on_two_nodes_never_get_the_same_key() {
    for seed in 0..5 {
        let world = World::slow(seed, Millis(200));
        let target = world.register(1);
        upload(&world, &target, keys(1..=200)).unwrap();
        // Registration is not what is tested, and its quota would stand in the way.
        let takers: Vec<_> = (0..64).map(|number| Person::new(2_000 + number).caller()).collect();
        let other = world.node(2, 0);
        let request = fetch(&[&target]);
        let asking = takers.iter().enumerate().map(|(turn, caller)| {
            let core = if turn % 2 == 0 { &world.core } else { &other };
            core.handle(caller, request.clone())
        });
        let bundles: Vec<_> = world
            .run(join_all(asking))
            .into_iter()
            .map(|answer| keys_in(answer)[0].bundles[0].clone())
            .collect();
        let ids: Vec<_> =
            bundles.iter().filter_map(|bundle| bundle.one_time_prekey.as_ref()).map(|key| key.id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a one-time key was given twice");
        let kems: Vec<_> = bundles
            .iter()
            .map(|bundle| &bundle.kem_prekey)
            .filter(|key| !key.last_resort)
            .map(|key| key.id)
            .collect();
        assert_eq!(kems.iter().collect::<BTreeSet<_>>().len(), kems.len(), "a one-time key was given twice");
        assert!(ids.len() >= 40, "most takers got one: {}", ids.len());
    }
}

#[test]
fn a_flood_of_requesters_does_not_empty_a_pool() {
    let world = World::new();
    let target = world.register(1);
    upload(&world, &target, keys(1..=100)).unwrap();
    let mut bundles = 0;
    for number in 0..1_000 {
        let answer = keys_in(world.ask(&Person::new(2_000 + number).caller(), fetch(&[&target])));
        bundles += answer[0].bundles.len();
        world.clock.advance(Millis(600));
    }
    assert_eq!(bundles, 1_000, "everybody gets a bundle");
    assert!(counts(&world, &target).one_time > 0, "and the pool is not empty after ten minutes");
    world.clock.advance(Millis::from_mins(10));
    let honest = bundle(&world, &Person::new(5_000).caller(), &target);
    assert!(honest.one_time_prekey.is_some());
}

#[test]
fn one_requester_takes_few_one_time_keys_of_one_device_and_few_bundles_of_all() {
    let world = World::with(|config| {
        config.quotas.bundles = Allowance { limit: 10, window: Millis::from_hours(24) };
        config.quotas.one_time_keys_of_pair = Allowance { limit: 3, window: Millis::from_hours(24) };
    });
    let (alice, bob) = (world.register(1), world.register(2));
    let mut with_one_time = 0;
    for _ in 0..10 {
        with_one_time += usize::from(bundle(&world, &alice.caller(), &bob).one_time_prekey.is_some());
        world.clock.advance(Millis::from_mins(11));
    }
    assert_eq!(with_one_time, 3);
    assert_eq!(counts(&world, &bob).one_time, 2);
    assert_eq!(refused(world.ask(&alice.caller(), fetch(&[&bob]))), Code::RetryAfter);
}

#[test]
fn strangers_are_counted_and_who_writes_to_too_many_writes_to_nobody_new() {
    let world = World::with(|config| {
        config.quotas.first_messages = Allowance { limit: 3, window: Millis::from_days(1) };
        config.quotas.registrations_per_address.limit = 100;
    });
    let alice = world.register(1);
    let others: Vec<_> = (10..20).map(|number| world.register(number)).collect();
    let ask = |of: &Person| world.ask(&alice.caller(), fetch(&[of]));
    // One of them wrote first: no stranger.
    let mut hello = others[9].message(&alice, 1);
    hello.sealed[0].kind = wire::EnvelopeKind::Prekey;
    world.send(&others[9], hello).unwrap();
    for other in &others[..3] {
        ask(other).unwrap();
        ask(other).unwrap();
    }
    let refusal = ask(&others[3]).unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after), (Code::RetryAfter, Some(Millis::from_days(7))));
    assert!(ask(&others[0]).is_ok() && ask(&others[9]).is_ok(), "acquaintances stay reachable");
    world.clock.advance(Millis::from_days(6));
    assert_eq!(refused(ask(&others[4])), Code::RetryAfter, "the day has passed, the brake has not");
    world.clock.advance(Millis::from_days(2));
    assert!(ask(&others[4]).is_ok());
}

#[test]
fn a_device_is_told_when_its_pool_is_low() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let inbox = world.listen();
    world.connect(&bob, 1);
    upload(&world, &bob, keys(1..=11)).unwrap();
    bundle(&world, &alice.caller(), &bob);
    assert_eq!(inbox.take(), [], "ten are left");
    bundle(&world, &Person::new(50).caller(), &bob);
    let low = Signal::KeysLow(KeyCounts { one_time: 9, one_time_kem: 9 });
    assert_eq!(inbox.take(), [(bob.mailbox(), 1, low)]);
}

#[test]
fn refused_keys_store_nothing() {
    let world = World::new();
    let bob = world.register(2);
    let signed = |public_key: Vec<u8>, signature: usize| KeyUpload {
        signed_prekey: Some(SignedPrekey {
            id: 9,
            public_key: public_key.into(),
            signature: vec![1; signature].into(),
        }),
        one_time: vec![one_time(77)],
        ..KeyUpload::default()
    };
    let low_order = [&[5][..], &[0; 32]].concat();
    let other_type = [&[6][..], &point([3; 32])[1..]].concat();
    let mut short_kem = kem(80, false);
    short_kem.public_key = vec![8; 1_568].into();
    let mut other_kem = kem(80, false);
    other_kem.public_key = vec![5; 1_569].into();
    let mut unsigned_kem = kem(80, false);
    unsigned_kem.signature = vec![1; 63].into();
    let with_kem =
        |key| KeyUpload { one_time_kem: vec![key], one_time: vec![one_time(77)], ..KeyUpload::default() };
    let with_last =
        |key| KeyUpload { last_resort: Some(key), one_time: vec![one_time(77)], ..KeyUpload::default() };
    let mut weak_one_time = one_time(78);
    weak_one_time.public_key = low_order.clone().into();
    let cases = [
        (signed(low_order, 64), Code::BadKeys, "a low-order point"),
        (signed(other_type, 64), Code::BadKeys, "another type"),
        (signed(vec![5; 32], 64), Code::BadKeys, "a short key"),
        (signed(point([3; 32]).to_vec(), 63), Code::BadKeys, "a short signature"),
        (with_kem(short_kem), Code::BadKeys, "a short post-quantum key"),
        (with_kem(other_kem), Code::BadKeys, "a post-quantum key of another type"),
        (with_kem(unsigned_kem), Code::BadKeys, "a short post-quantum signature"),
        (with_kem(kem(80, true)), Code::BadKeys, "a last-resort key as one-time"),
        (with_last(kem(80, false)), Code::BadKeys, "a one-time key as last-resort"),
        (
            KeyUpload { one_time: vec![one_time(77), weak_one_time], ..KeyUpload::default() },
            Code::BadKeys,
            "a weak one-time key",
        ),
        (
            KeyUpload { one_time: vec![one_time(77), one_time(77)], ..KeyUpload::default() },
            Code::BadKeys,
            "an id twice",
        ),
        (
            KeyUpload { one_time: (0..=200).map(one_time).collect(), ..KeyUpload::default() },
            Code::TooLarge,
            "too many",
        ),
    ];
    for (keys, code, what) in cases {
        assert_eq!(refused(upload(&world, &bob, keys)), code, "{what}");
        assert_eq!(counts(&world, &bob), KeyCounts { one_time: 5, one_time_kem: 5 }, "{what}");
    }
    upload(&world, &bob, signed(point([3; 32]).to_vec(), 64)).unwrap();
    assert_eq!(counts(&world, &bob).one_time, 6);
}
