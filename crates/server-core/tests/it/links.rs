//! Linking: one new device, one primary, one minute.

use crate::world::{HOME, Person, World, complete, invite, keys, refused, send_to, stale};
use futures_util::{FutureExt, future::join_all};
use server_core::{KeyError, LinkError, LinkView, NewDevice};
use server_ports::{
    Caller,
    directory::{LinkState, Links},
    fake::FaultPlan,
};
use std::pin::pin;
use types::{LinkId, MailboxId, Millis, Redact, limits};
use wire::{Code, KeyUpload, Refusal, Request, Response};

fn poll(world: &World, person: &Person, link: LinkId, device: MailboxId) -> LinkView {
    world.run(world.core.link_poll(link, &person.token_of(device))).unwrap()
}

fn answer(world: &World, person: &Person, link: LinkId, device: MailboxId) -> Result<(), LinkError> {
    world.run(world.core.link_answer(link, &person.token_of(device), b"answer"[..].into()))
}

fn get(world: &World, person: &Person, link: LinkId) -> Result<wire::LinkState, Refusal> {
    match world.ask(&person.caller(), Request::GetLink(link))? {
        Response::LinkState(state) => Ok(state),
        other => panic!("{other:?}"),
    }
}

/// Bob with a device 2 that shows its code.
fn begun() -> (World, Person, LinkId, MailboxId) {
    let world = World::new();
    let bob = world.register(2);
    let device = bob.linked(2);
    let link = bob.begun_link(&world, device);
    (world, bob, link, device)
}

#[test]
fn a_device_is_linked_step_by_step() {
    let (world, bob, link, device) = begun();
    let waiting = poll(&world, &bob, link, device);
    assert_eq!((waiting.state, waiting.expires_in), (LinkState::Waiting, limits::LINK_CODE_LIFE));
    assert_eq!((waiting.invitation, waiting.completion), (None, None));

    let seen = get(&world, &bob, link).unwrap();
    assert_eq!((seen.offer, seen.answer), (bob.offer(device).offer, None));
    world.ask(&bob.caller(), invite(link)).unwrap();
    let invited = poll(&world, &bob, link, device);
    assert_eq!((invited.state, invited.expires_in), (LinkState::Invited, limits::LINK_LIFE_INVITED));
    assert_eq!(invited.invitation.as_deref(), Some(&b"invitation"[..]));

    answer(&world, &bob, link, device).unwrap();
    assert_eq!(poll(&world, &bob, link, device).state, LinkState::Answered);
    assert_eq!(get(&world, &bob, link).unwrap().answer.as_deref(), Some(&b"answer"[..]));

    let list = bob.list(2, &[1, 2]);
    assert_eq!(world.ask(&bob.caller(), complete(link, &list)), Ok(Response::Done));
    let linked = poll(&world, &bob, link, device);
    assert_eq!((linked.state, linked.completion.as_deref()), (LinkState::Linked, Some(&b"completion"[..])));
    assert!(world.mailboxes.open_mailboxes().contains(&device));

    // It connects with its own token and key, has its keys here, and gets messages.
    let admitted = world.run(world.core.authenticate(&bob.proof_of(device, 1, [7; 32]), [7; 32])).unwrap();
    assert_eq!((admitted.caller.mailbox, admitted.device_list_version), (device, 2));
    let counts = world.ask(&admitted.caller, Request::KeyCount).unwrap();
    assert_eq!(counts, Response::KeyCounts(wire::KeyCounts { one_time: 5, one_time_kem: 5 }));
    let alice = world.register(1);
    assert_eq!(stale(world.send(&alice, alice.message(&bob, 1))).missing, [device]);
    world.send(&alice, send_to(bob.id(), 2, &[bob.mailbox(), device])).unwrap();
    assert_eq!(world.mailbox(device).len(), 1);
}

#[test]
fn every_step_can_be_repeated() {
    let (world, bob, link, device) = begun();
    world.clock.advance(Millis::from_secs(20));
    let again = world.run(world.core.link_begin(bob.offer(device), HOME));
    assert_eq!(again, Ok(Millis::from_secs(40)), "the same link, whose time goes on");
    let list = bob.list(2, &[1, 2]);
    for _ in 0..2 {
        world.ask(&bob.caller(), invite(link)).unwrap();
    }
    for _ in 0..2 {
        answer(&world, &bob, link, device).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(world.ask(&bob.caller(), complete(link, &list)), Ok(Response::Done));
    }
}

#[test]
fn an_unknown_outcome_of_the_last_step_is_settled_by_asking_again() {
    for fails_after in [0, 1_000] {
        let (world, bob, link, device) = begun();
        world.ask(&bob.caller(), invite(link)).unwrap();
        answer(&world, &bob, link, device).unwrap();
        let plan = FaultPlan { store_fails: 300, store_fails_after: fails_after, ..FaultPlan::default() };
        world.directory.faults().set(plan);
        for _ in 0..10 {
            let answer = world.ask(&bob.caller(), complete(link, &bob.list(2, &[1, 2])));
            assert!(
                answer.as_ref().map_or_else(|refusal| refusal.code == Code::Unavailable, |_| true),
                "{answer:?}"
            );
        }
        world.directory.faults().heal();
        assert_eq!(world.ask(&bob.caller(), complete(link, &bob.list(2, &[1, 2]))), Ok(Response::Done));
        world.run(world.core.authenticate(&bob.proof_of(device, 1, [7; 32]), [7; 32])).unwrap();
    }
}

#[test]
fn a_code_is_void_after_a_minute_and_an_invitation_gives_five_more() {
    let (world, bob, link, device) = begun();
    world.clock.advance(limits::LINK_CODE_LIFE);
    assert_eq!(refused(world.ask(&bob.caller(), invite(link))), Code::LinkUnavailable);
    assert_eq!(refused(get(&world, &bob, link)), Code::LinkUnavailable);
    assert_eq!(poll(&world, &bob, link, device).state, LinkState::Expired);

    let other = bob.linked_as(2, 44);
    let link = bob.begun_link(&world, other);
    world.clock.advance(Millis(limits::LINK_CODE_LIFE.0 - 1));
    world.ask(&bob.caller(), invite(link)).unwrap();
    world.clock.advance(Millis(limits::LINK_LIFE_INVITED.0 - 1));
    answer(&world, &bob, link, other).unwrap();
    world.clock.advance(Millis(1));
    let list = bob.list_of(2, &[bob.mailbox(), other]);
    assert_eq!(refused(world.ask(&bob.caller(), complete(link, &list))), Code::LinkUnavailable);
}

#[test]
fn who_invites_first_has_the_link() {
    let (world, bob, link, device) = begun();
    let eve = world.register(6);
    world.ask(&bob.caller(), invite(link)).unwrap();
    let other_words = Request::InviteLink { link, invitation: b"another"[..].into() };
    assert_eq!(refused(world.ask(&bob.caller(), other_words)), Code::LinkUnavailable);
    for request in [invite(link), Request::GetLink(link), Request::RefuseLink(link)] {
        assert_eq!(refused(world.ask(&eve.caller(), request)), Code::LinkUnavailable);
    }
    answer(&world, &bob, link, device).unwrap();
    let hers = eve.list_of(2, &[eve.mailbox(), eve.linked(2)]);
    assert_eq!(refused(world.ask(&eve.caller(), complete(link, &hers))), Code::LinkUnavailable);
    assert_eq!(poll(&world, &bob, link, device).state, LinkState::Answered);
}

#[test]
fn of_many_inviters_at_once_one_has_the_link() {
    for seed in 0..10 {
        let world = World::slow(seed, Millis(50));
        let people: Vec<_> = (1..=4).map(|number| world.register(number)).collect();
        let link = people[0].begun_link(&world, people[0].linked(2));
        let callers: Vec<_> = people.iter().map(Person::caller).collect();
        let invitations = callers.iter().map(|caller| world.core.handle(caller, invite(link)));
        let answers = world.run(join_all(invitations));
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    }
}

#[test]
fn a_refused_link_is_dead_and_the_device_learns_it() {
    let (world, bob, link, device) = begun();
    world.ask(&bob.caller(), invite(link)).unwrap();
    answer(&world, &bob, link, device).unwrap();
    assert_eq!(world.ask(&bob.caller(), Request::RefuseLink(link)), Ok(Response::Done));
    assert_eq!(poll(&world, &bob, link, device).state, LinkState::Refused);
    let list = bob.list(2, &[1, 2]);
    assert_eq!(refused(world.ask(&bob.caller(), complete(link, &list))), Code::LinkUnavailable);
    assert_eq!(refused(world.ask(&bob.caller(), invite(link))), Code::LinkUnavailable);
}

#[test]
fn the_list_must_name_the_offered_device_with_its_keys() {
    let (world, bob, link, device) = begun();
    world.ask(&bob.caller(), invite(link)).unwrap();
    answer(&world, &bob, link, device).unwrap();
    let other = bob.linked_as(2, 55);
    for list in [
        bob.list(2, &[1]),
        bob.list_of(2, &[bob.mailbox(), other]),
        bob.list_of(2, &[bob.mailbox(), device, bob.linked(3)]),
    ] {
        assert_eq!(refused(world.ask(&bob.caller(), complete(link, &list))), Code::BadDeviceList);
    }
    // The same registration id with keys that nobody offered.
    let swapped = signed::ListedDevice::sign(
        bob.id(),
        device.device,
        device.registration,
        *bob.listed(other).identity_key(),
        &bob.secret_of(device),
    );
    let devices = vec![bob.listed(bob.mailbox()), swapped];
    let draft = signed::DeviceListDraft { version: 2, issued_at: world.now(), devices, sealed_names: vec![] };
    let list = draft.sign(&bob.account).unwrap();
    assert_eq!(refused(world.ask(&bob.caller(), complete(link, &list))), Code::BadDeviceList);
    assert_eq!(world.ask(&bob.caller(), complete(link, &bob.list(2, &[1, 2]))), Ok(Response::Done));
}

#[test]
fn nothing_is_completed_before_the_device_has_answered() {
    let (world, bob, link, device) = begun();
    let list = bob.list(2, &[1, 2]);
    assert_eq!(refused(world.ask(&bob.caller(), complete(link, &list))), Code::LinkUnavailable);
    world.ask(&bob.caller(), invite(link)).unwrap();
    assert_eq!(refused(world.ask(&bob.caller(), complete(link, &list))), Code::LinkUnavailable);
    let token = world.run(world.core.authenticate(&bob.proof_of(device, 1, [7; 32]), [7; 32]));
    assert_eq!(refused(token), Code::Revoked, "not listed");
}

#[test]
fn only_the_listed_primary_links() {
    let (world, bob, link, device) = begun();
    world.link(&bob, 2, &[1, 3]);
    let list = bob.list(3, &[1, 2, 3]);
    let linked = Caller { mailbox: bob.linked(3), connection: 1 };
    for request in [Request::GetLink(link), invite(link), Request::RefuseLink(link), complete(link, &list)] {
        assert_eq!(refused(world.ask(&linked, request.clone())), Code::Forbidden);
        let replaced = Caller { mailbox: bob.linked_as(1, 9), connection: 1 };
        assert_eq!(refused(world.ask(&replaced, request)), Code::Revoked);
    }
    assert_eq!(poll(&world, &bob, link, device).state, LinkState::Waiting);
}

#[test]
fn an_account_has_five_devices() {
    let world = World::new();
    let bob = world.register(2);
    (2..=5_u32).for_each(|count| world.link(&bob, count.into(), &(1..=count).collect::<Vec<_>>()));
    let devices: Vec<_> = (1..=6).map(|number| bob.listed(bob.linked(number))).collect();
    let draft = signed::DeviceListDraft { version: 6, issued_at: world.now(), devices, sealed_names: vec![] };
    assert!(
        draft.sign(&bob.account).is_err(),
        "no honest primary signs it, and the server verifies the same"
    );
}

#[test]
fn who_has_not_the_token_learns_nothing_of_a_link() {
    let (world, bob, link, _) = begun();
    let guess = Redact::new([1; 32]);
    assert_eq!(world.run(world.core.link_poll(link, &guess)), Err(LinkError::NoLink));
    let unknown = LinkId::from_bytes([9; 16]);
    assert_eq!(world.run(world.core.link_poll(unknown, &guess)), Err(LinkError::NoLink));
    world.ask(&bob.caller(), invite(link)).unwrap();
    let forged = world.run(world.core.link_answer(link, &guess, b"forged"[..].into()));
    assert_eq!(forged, Err(LinkError::NoLink));
    assert_eq!(get(&world, &bob, link).unwrap().answer, None);
}

#[test]
fn what_a_device_offers_is_checked() {
    let world = World::new();
    let bob = world.register(2);
    let offer = bob.offer(bob.linked(2));
    let begin = |device: NewDevice| world.run(world.core.link_begin(device, HOME));
    let malformed = NewDevice { offer: vec![1; 50].into(), ..offer.clone() };
    assert_eq!(begin(malformed), Err(LinkError::Malformed("the offer")));
    let keyless = NewDevice { keys: KeyUpload { last_resort: None, ..keys(1..=1) }, ..offer.clone() };
    assert_eq!(begin(keyless), Err(LinkError::KeysMissing));
    let mut weak = offer.clone();
    weak.keys.one_time[0].public_key = [&[5][..], &[0; 32]].concat().into();
    assert_eq!(begin(weak), Err(LinkError::BadKeys(KeyError::Weak)));
    begin(offer.clone()).unwrap();
    let thief = NewDevice { token: Redact::new([3; 32]), ..offer };
    assert_eq!(begin(thief), Err(LinkError::Exists));
}

#[test]
fn codes_have_a_quota_by_address_and_repeats_are_free() {
    let world = World::with(|config| config.quotas.links_per_address.limit = 2);
    let bob = world.register(2);
    for _ in 0..5 {
        bob.begun_link(&world, bob.linked(2));
    }
    bob.begun_link(&world, bob.linked(3));
    let third = world.run(world.core.link_begin(bob.offer(bob.linked(4)), HOME));
    assert!(matches!(third, Err(LinkError::RetryAfter(_))), "{third:?}");
}

#[test]
fn links_are_forgotten_some_time_after_they_ended() {
    let (world, _, link, _) = begun();
    world.clock.advance(Millis::from_mins(10));
    world.run(world.core.tick());
    assert!(world.run(world.directory.link(link)).unwrap().is_some(), "the device may still ask");
    world.clock.advance(Millis::from_mins(2));
    world.run(world.core.tick());
    assert!(world.run(world.directory.link(link)).unwrap().is_none());
}

#[test]
fn a_link_is_answered_only_after_the_sends_before_it() {
    let (world, bob, link, device) = begun();
    let alice = world.register(1);
    world.ask(&bob.caller(), invite(link)).unwrap();
    answer(&world, &bob, link, device).unwrap();
    let (sender, receiver) = (alice.caller(), bob.caller());
    let mut send = pin!(world.core.handle(&sender, Request::Send(alice.message(&bob, 1))));
    let mut change = pin!(world.core.handle(&receiver, complete(link, &bob.list(2, &[1, 2]))));
    let slow = FaultPlan { seed: 3, store_delay_max: Millis(5_000), ..FaultPlan::default() };
    world.mailboxes.faults().set(slow);
    assert!(send.as_mut().now_or_never().is_none());
    world.mailboxes.faults().heal();
    assert!(change.as_mut().now_or_never().is_none(), "answered before the send had ended");
    world.run(&mut send).unwrap();
    assert_eq!(change.now_or_never(), Some(Ok(Response::Done)));
}
