//! Quotas: what one account may do in a while, and what counts.

use crate::{
    chain::{Chain, apply, create, fetched, ids, operation, rows, send},
    world::{Person, World, keys, refused},
};
use server_core::{Allowance, Quotas};
use server_ports::{Caller, Signal, StoreError};
use signed::GroupChange;
use std::collections::BTreeSet;
use types::Millis;
use wire::{Code, EnvelopeKind, GroupSend, Request, Send, Urgency};

fn pair() -> (World, Person, Person) {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    (world, alice, bob)
}

#[test]
fn quotas_count_accounts_and_a_switch_turns_them_off() {
    let (world, alice, bob) = pair();
    let silent = |id| Send { urgency: Urgency::Silent, ..alice.message(&bob, id) };
    for id in 0..100 {
        world.send(&alice, alice.message(&bob, id)).unwrap();
    }
    let refusal = world.send(&alice, alice.message(&bob, 100)).unwrap_err();
    assert_eq!(refusal.code, Code::RetryAfter);
    assert!(world.send(&alice, silent(101)).is_ok(), "receipts have a quota of their own");
    assert!(world.send(&bob, bob.message(&alice, 1)).is_ok(), "another account is not touched");
    assert!(world.send(&alice, alice.message(&bob, 5)).is_ok(), "a retry is not counted");
    world.clock.advance(refusal.retry_after.unwrap());
    assert!(world.send(&alice, alice.message(&bob, 100)).is_ok());

    let world = World::with(|config| config.quotas.enabled = false);
    let (alice, bob) = (world.register(1), world.register(2));
    for id in 0..=120 {
        world.send(&alice, alice.message(&bob, id)).unwrap();
    }
}

#[test]
fn losing_the_exchange_opens_no_quota() {
    let defaults = Quotas::default();
    assert!(defaults.enabled);
    let (world, alice, bob) = pair();
    let dead = DeadExchange;
    let ports = server_core::Ports {
        groups: world.groups.clone(),
        blobs: world.blobs.clone(),
        directory: world.directory.clone(),
        mailboxes: world.mailboxes.clone(),
        exchange: std::sync::Arc::new(dead),
        pusher: world.pusher.clone(),
        texter: world.texter.clone(),
        clock: std::sync::Arc::new(world.clock.clone()),
        entropy: std::sync::Arc::new(server_ports::fake::FakeEntropy::new(3)),
    };
    let core =
        world.run(server_core::Core::start(ports, server_core::Config::new(types::NodeId(5)))).unwrap();
    let fetch = wire::FetchKeys { accounts: vec![bob.id()], reset: false, device: None };
    for request in [
        Request::Send(alice.message(&bob, 1)),
        Request::FetchKeys(fetch),
        Request::Lookup { numbers: vec![bob.phone.clone()], verify_sender: false },
        Request::Lookup { numbers: vec![bob.phone.clone()], verify_sender: true },
    ] {
        assert_eq!(refused(world.run(core.handle(&alice.caller(), request))), Code::RetryAfter);
    }
    let begin = world.run(core.registration_begin("+15552000100", crate::world::HOME));
    assert!(matches!(begin, Err(server_core::RegistrationError::RetryAfter(_))));
    // What is no quota goes on.
    assert!(world.run(core.authenticate(&bob.proof(1, [7; 32]), [7; 32])).is_ok());
    assert!(world.run(core.opened(&bob.caller())).is_ok());
}

#[test]
fn new_groups_have_a_quota_and_a_repeat_is_free() {
    let world = World::with(|config| config.quotas.new_groups.limit = 2);
    let alice = world.register(1);
    let found = |id: u8| apply(&world, &alice, &operation(&alice, None, id, create(BTreeSet::new())));
    (0..4).for_each(|_| assert!(found(1).is_ok()));
    found(2).unwrap();
    assert_eq!(refused(found(3)), Code::RetryAfter);
}

#[test]
fn a_message_to_a_group_costs_a_message_whatever_it_says_of_itself() {
    let world = World::with(|config| config.quotas.messages.limit = 2);
    let (alice, bob) = (world.register(1), world.register(2));
    let chain = Chain::found(&world, &alice, &[&bob]);
    let silent = |id| GroupSend { urgency: Urgency::Silent, ..chain.message(id, &[]) };
    for id in 0..2 {
        send(&world, &alice, silent(id)).unwrap();
    }
    assert_eq!(refused(send(&world, &alice, silent(2))), Code::RetryAfter);
    assert_eq!(rows(&world, bob.mailbox(), EnvelopeKind::SenderKey).len(), 2);
    let receipt = Send { urgency: Urgency::Silent, ..alice.message(&bob, 3) };
    assert!(world.send(&alice, receipt).is_ok(), "what devices tell each other is another quota");
}

#[test]
fn the_bytes_of_sends_are_counted_to_people_and_groups_alike() {
    let hour = Millis::from_hours(1);
    let world = World::with(|config| config.quotas.message_bytes = Allowance { limit: 400, window: hour });
    let (alice, bob) = (world.register(1), world.register(2));
    let chain = Chain::found(&world, &alice, &[&bob]);
    send(&world, &alice, chain.message(1, &[])).unwrap();
    // 300 bytes are spent; each message to a person has 40 here, silent or not.
    let silent = |id| Send { urgency: Urgency::Silent, ..alice.message(&bob, id) };
    world.send(&alice, silent(2)).unwrap();
    world.send(&alice, alice.message(&bob, 3)).unwrap();
    assert_eq!(refused(world.send(&alice, silent(4))), Code::RetryAfter);
    assert_eq!(refused(world.send(&alice, alice.message(&bob, 5))), Code::RetryAfter);
    let refusal = send(&world, &alice, chain.message(6, &[])).unwrap_err();
    assert_eq!(refusal.code, Code::RetryAfter);
    assert!(world.send(&alice, alice.message(&bob, 3)).is_ok(), "a retry of what is stored is not counted");
    assert!(world.send(&bob, bob.message(&alice, 1)).is_ok(), "nor is another account's");
    world.clock.advance(refusal.retry_after.unwrap());
    assert!(send(&world, &alice, chain.message(6, &[])).is_ok());
}

#[test]
fn one_names_only_so_many_strangers_as_members() {
    let world = World::with(|config| config.quotas.new_members.limit = 2);
    let people: Vec<_> = (1..=5).map(|number| world.register(number)).collect();
    let [alice, bob, carol, dave, eve] = &people[..] else { panic!() };
    let three = operation(alice, None, 9, create(ids(&[bob, carol, dave])));
    assert_eq!(refused(apply(&world, alice, &three)), Code::RetryAfter, "all or none");
    let mut chain = Chain::found(&world, alice, &[bob, carol]);
    let add = |who| GroupChange::Add(ids(&[who]));
    assert_eq!(refused(chain.change(&world, alice, add(dave))), Code::RetryAfter);
    // Whom one has written to is no stranger, and another account's strangers are its own.
    let fetch = wire::FetchKeys { accounts: vec![eve.id()], reset: false, device: None };
    world.ask(&alice.caller(), Request::FetchKeys(fetch)).unwrap();
    chain.change(&world, alice, add(eve)).unwrap();
    assert!(apply(&world, dave, &operation(dave, None, 8, create(ids(&[bob, carol])))).is_ok());
    world.clock.advance(Millis::from_days(1));
    chain.change(&world, alice, add(dave)).unwrap();
}

#[test]
fn reading_chains_has_a_quota() {
    let world = World::with(|config| config.quotas.group_reads.limit = 2);
    let (alice, bob) = (world.register(1), world.register(2));
    let chain = Chain::found(&world, &alice, &[&bob]);
    let read = |by: &Person| fetched(&world, &by.caller(), &chain, 0, None);
    (0..2).for_each(|_| assert_eq!(read(&alice), Ok((vec![0], false))));
    let refusal = read(&alice).unwrap_err();
    assert_eq!(refusal.code, Code::RetryAfter);
    assert!(read(&bob).is_ok(), "another account is not touched");
    world.clock.advance(refusal.retry_after.unwrap());
    assert!(read(&alice).is_ok());
}

#[test]
fn lists_and_keys_have_quotas() {
    let world = World::with(|config| {
        config.quotas.lists_read.limit = 3;
        config.quotas.list_changes.limit = 2;
        config.quotas.key_uploads.limit = 1;
    });
    let (alice, bob) = (world.register(1), world.register(2));
    let lists = |count| Request::GetDeviceLists(vec![bob.id(); count]);
    world.ask(&alice.caller(), lists(2)).unwrap();
    assert_eq!(refused(world.ask(&alice.caller(), lists(2))), Code::RetryAfter, "counted by the list");
    world.ask(&alice.caller(), lists(1)).unwrap();
    world.ask(&bob.caller(), lists(2)).unwrap();

    world.ask(&alice.caller(), alice.put_list(2, &[1])).unwrap();
    world.ask(&alice.caller(), alice.put_list(2, &[1])).unwrap();
    assert_eq!(refused(world.ask(&alice.caller(), alice.put_list(3, &[1]))), Code::RetryAfter);

    world.link(&bob, 2, &[1, 2]);
    let upload = || Request::UploadKeys(keys(10..=12));
    world.ask(&bob.caller(), upload()).unwrap();
    assert_eq!(refused(world.ask(&bob.caller(), upload())), Code::RetryAfter);
    let linked = Caller { mailbox: bob.linked(2), connection: 1 };
    world.ask(&linked, upload()).expect("another device has a pool of its own");
}

struct DeadExchange;

#[async_trait::async_trait]
impl server_ports::Exchange for DeadExchange {
    fn subscribe(&self, _: types::NodeId, _: std::sync::Arc<dyn server_ports::NodeInbox>) {}

    async fn claim(&self, _: server_ports::exchange::Route) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("away".to_owned()))
    }

    async fn release(&self, _: server_ports::exchange::Route) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("away".to_owned()))
    }

    async fn signal(&self, _: types::MailboxId, _: Signal) -> Result<bool, StoreError> {
        Err(StoreError::Unavailable("away".to_owned()))
    }

    fn tell(&self, _: types::NodeId, _: types::MailboxId, _: Signal) {}

    async fn spend(
        &self,
        _: server_ports::exchange::Spend,
    ) -> Result<server_ports::exchange::SpendOutcome, StoreError> {
        Err(StoreError::Unavailable("away".to_owned()))
    }
}
