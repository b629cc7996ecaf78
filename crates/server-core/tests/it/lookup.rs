//! Contact discovery and its budget.

use crate::world::{Person, World, refused};
use server_core::Allowance;
use types::{AccountId, Millis, PhoneNumber};
use wire::{Code, Request, Response, ServerFrame};

fn number(number: u32) -> PhoneNumber {
    Person::new(number).phone
}

fn lookup(
    world: &World,
    person: &Person,
    numbers: Vec<PhoneNumber>,
) -> Result<Vec<Option<AccountId>>, wire::Refusal> {
    found(world.ask(&person.caller(), Request::Lookup { numbers, verify_sender: false }))
}

fn found(answer: Result<Response, wire::Refusal>) -> Result<Vec<Option<AccountId>>, wire::Refusal> {
    match answer? {
        Response::LookupResult(accounts) => Ok(accounts),
        other => panic!("{other:?}"),
    }
}

fn world() -> World {
    World::with(|config| config.quotas.new_numbers = Allowance { limit: 30, window: Millis::from_days(1) })
}

#[test]
fn accounts_are_answered_in_the_order_of_the_numbers() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let numbers = vec![number(9), bob.phone.clone(), number(8), alice.phone.clone()];
    assert_eq!(lookup(&world, &alice, numbers).unwrap(), [None, Some(bob.id()), None, Some(alice.id())]);
}

#[test]
fn hit_and_miss_have_the_same_size() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let size = |numbers: Vec<PhoneNumber>| {
        let result = world.ask(&alice.caller(), Request::Lookup { numbers, verify_sender: false });
        ServerFrame::Answer { id: 1, result }.encode().len()
    };
    assert_eq!(size(vec![bob.phone.clone(), alice.phone.clone()]), size(vec![number(8), number(9)]));
}

#[test]
fn new_numbers_are_counted_and_known_ones_are_free() {
    let world = world();
    let (alice, bob) = (world.register(1), world.register(2));
    let batch = |from: u32, to: u32| (from..to).map(number).collect::<Vec<_>>();
    lookup(&world, &alice, batch(100, 120)).unwrap();
    lookup(&world, &alice, batch(100, 120)).unwrap();
    lookup(&world, &alice, vec![number(100); 20]).unwrap();
    assert_eq!(refused(lookup(&world, &alice, batch(120, 131))), Code::RetryAfter);
    // A refused lookup pays for nothing and makes nothing known.
    assert_eq!(refused(lookup(&world, &alice, batch(120, 131))), Code::RetryAfter);
    lookup(&world, &alice, batch(120, 130)).unwrap();
    assert_eq!(refused(lookup(&world, &alice, batch(130, 131))), Code::RetryAfter);
    lookup(&world, &alice, batch(100, 130)).unwrap();
    lookup(&world, &bob, batch(130, 131)).unwrap();
    world.clock.advance(Millis::from_days(1));
    lookup(&world, &alice, batch(130, 131)).unwrap();
}

#[test]
fn a_crawler_learns_no_more_than_its_budget() {
    let world = world();
    let crawlers: Vec<_> = (1..=5).map(|number| world.register(number)).collect();
    let mut learned = 0;
    for turn in 0..3_000_u32 {
        let crawler = &crawlers[turn as usize % 5];
        learned += usize::from(lookup(&world, crawler, vec![number(3_000 + turn)]).is_ok());
    }
    assert_eq!(learned, 5 * 30);
}

#[test]
fn an_address_book_is_synced_once_an_hour() {
    let world = World::new();
    let alice = world.register(1);
    let batch = |from: u32| (from..from + 50).map(number).collect::<Vec<_>>();
    lookup(&world, &alice, batch(1_000)).unwrap();
    assert_eq!(refused(lookup(&world, &alice, batch(2_000))), Code::RetryAfter);
    lookup(&world, &alice, vec![number(2_000)]).unwrap();
    lookup(&world, &alice, batch(1_000)).unwrap();
    world.clock.advance(Millis::from_hours(1));
    lookup(&world, &alice, batch(2_000)).unwrap();
}

#[test]
fn checking_a_senders_number_is_outside_the_budget_but_not_without_bound() {
    let world = World::with(|config| {
        config.quotas.new_numbers.limit = 0;
        config.quotas.verified_senders.limit = 5;
    });
    let (alice, bob) = (world.register(1), world.register(2));
    let verify = |numbers: Vec<PhoneNumber>| {
        found(world.ask(&alice.caller(), Request::Lookup { numbers, verify_sender: true }))
    };
    assert_eq!(refused(lookup(&world, &alice, vec![bob.phone.clone()])), Code::RetryAfter);
    assert_eq!(verify(vec![bob.phone.clone()]).unwrap(), [Some(bob.id())]);
    assert_eq!(refused(verify(vec![number(8), number(9)])), Code::Malformed);
    assert_eq!(refused(verify(vec![])), Code::Malformed);
    for turn in 0..4 {
        verify(vec![number(100 + turn)]).unwrap();
    }
    assert_eq!(refused(verify(vec![number(200)])), Code::RetryAfter);
}
