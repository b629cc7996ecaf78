//! Devices are added and removed, and nobody stands between.

use crate::link_world::{Fault, World};
use client::{AddDeviceError, AddingDevice, Closed, Effect, LinkError, NewDevice, RemoveDeviceError};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use seal::link::{Invitation, LinkCode, Primary};
use signed::AccountSecret;
use testkit::fixture;
use types::{DeviceNumber, Millis};
use wire::{Code, Refusal};

fn failed(world: &World, who: usize) -> Option<AddDeviceError> {
    world.machines[who].adding().into_iter().find_map(|adding| match adding {
        AddingDevice::Failed(error) => Some(error),
        _ => None,
    })
}

fn list_version(world: &World, who: usize) -> u64 {
    world.server.accounts[&world.account(who)].list.version()
}

/// Two people; the first one's primary waits for a device that shows its code.
fn code_shown() -> (World, usize, String) {
    let mut world = World::new(2);
    world.settle();
    let new = world.machine();
    world.try_link(new).unwrap();
    let code = world.machines[new].code.clone().unwrap();
    (world, new, code)
}

#[test]
fn a_linked_device_takes_part_from_then_on() {
    let mut world = World::new(2);
    world.send(1, 0, "before");
    world.settle();
    let new = world.machine();
    world.link(0, new, false);
    world.settle();
    assert_eq!(world.machines[new].account, world.machines[0].account);
    assert_eq!(world.machines[new].device.unwrap().get(), 2);

    world.send(1, 0, "to both");
    world.settle();
    world.send(new, 1, "from the linked one");
    world.settle();
    world.send(0, 1, "from the primary");
    world.settle();
    assert_eq!(world.texts(new, 1), ["to both", "from the linked one", "from the primary"]);
    assert_eq!(world.texts(0, 1), ["before", "to both", "from the linked one", "from the primary"]);
    assert_eq!(world.texts(1, 0), ["before", "to both", "from the linked one", "from the primary"]);
    assert_eq!(world.printed_texts(new), ["to both", "from the primary"]);

    let devices = world.machines[new].engine().view().devices().unwrap();
    let shown: Vec<_> =
        devices.iter().map(|device| (device.device.get(), device.name.clone(), device.this_device)).collect();
    assert_eq!(
        shown,
        [(1, Some("person 0".to_owned()), false), (2, Some("device 2".to_owned()), true)],
        "names come with the list"
    );
    let on_primary = world.machines[0].engine().view().devices().unwrap();
    assert_eq!(on_primary[1].added_at, devices[1].added_at);
    assert!(on_primary[0].this_device && on_primary[0].added_at < on_primary[1].added_at);
}

#[test]
fn a_profile_with_an_account_is_not_linked() {
    let mut world = World::new(1);
    let new = NewDevice { server: "http://127.0.0.1:4000".to_owned(), server_pin: None, name: None };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let now = world.now;
    let refused = world.machines[0].engine().begin_link(&new, now, &mut rng);
    assert!(matches!(refused, Err(LinkError::HasAccount)));
}

#[test]
fn keys_that_the_code_does_not_name_are_never_signed() {
    let (mut world, new, code) = code_shown();
    let other = world.machine();
    world.try_link(other).unwrap();
    // The server puts the keys of a device of its own in the place of the new one's.
    let id = code.parse::<LinkCode>().unwrap().link();
    let foreign = world.server.links.iter().find(|(other, _)| **other != id).unwrap().1.offer.clone();
    for link in world.server.links.values_mut() {
        link.offer = foreign.clone();
    }
    let before = list_version(&world, 0);
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(2));
    let error = failed(&world, 0);
    assert!(matches!(error, Some(AddDeviceError::Tampered(seal::link::LinkError::OtherOffer))), "{error:?}");
    assert!(world.server.links.values().all(|link| link.invited.is_none()));
    world.confirm(0);
    world.settle();
    assert_eq!(list_version(&world, 0), before);
    assert!(world.machines[new].linked.is_none());
}

#[test]
fn an_answer_or_invitation_of_somebody_else_ends_the_link() {
    let (mut world, new, code) = code_shown();
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(1));
    world.try_link(new).unwrap();
    for link in world.server.links.values_mut() {
        let answer = link.answer.as_mut().unwrap();
        let last = answer.len() - 1;
        answer[last] ^= 1;
    }
    world.pass(Millis::from_secs(1));
    assert!(matches!(failed(&world, 0), Some(AddDeviceError::Tampered(_))));
    world.confirm(0);
    world.settle();
    assert_eq!(list_version(&world, 0), 1);

    let (mut world, new, code) = code_shown();
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(1));
    for link in world.server.links.values_mut() {
        let (_, invitation, _) = link.invited.as_mut().unwrap();
        let mut bytes = invitation.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        *invitation = bytes.into();
    }
    assert!(matches!(world.try_link(new), Err(LinkError::Tampered(_))));
    assert!(matches!(world.try_link(new), Err(LinkError::NotBegun)), "a dead link is forgotten");
}

/// The first answer tells the nonce of the link: whoever could invite once more would choose the digits.
#[test]
fn one_link_takes_one_invitation() {
    for dies in [false, true] {
        let (mut world, new, code) = code_shown();
        world.add_device(0, &code, false).unwrap();
        world.pass(Millis::from_secs(1));
        world.try_link(new).unwrap();
        if dies {
            world.crash(new);
        }
        // Somebody who saw the code, too, makes an invitation that the device could have taken as well.
        let code: LinkCode = code.parse().unwrap();
        let link = world.server.links.get_mut(&code.link()).unwrap();
        let account_key = AccountSecret::random(&mut ChaCha20Rng::seed_from_u64(2)).public();
        let (device, phone) = (DeviceNumber::new(2).unwrap(), fixture::phone(9));
        let invitation = Invitation { account_key, device, phone };
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let other = Primary::invite(&code, &link.offer, invitation, &mut rng).unwrap();
        let (_, first, _) = link.invited.as_mut().unwrap();
        *first = other.message().to_vec().into();
        // The server says that it never got the answer.
        link.answer = None;
        let refused = world.try_link(new);
        assert!(matches!(refused, Err(LinkError::Tampered(_))), "{refused:?}");
        assert_eq!(world.server.links[&code.link()].answer, None, "nothing more is said");
    }
}

#[test]
fn a_completion_for_another_device_links_nobody() {
    let (mut world, new, code) = code_shown();
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(1));
    world.try_link(new).unwrap();
    world.pass(Millis::from_secs(1));
    world.confirm(0);
    world.pass(Millis::from_secs(1));
    for link in world.server.links.values_mut() {
        let mut bytes = link.completion.clone().unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        link.completion = Some(bytes.into());
    }
    assert!(matches!(world.try_link(new), Err(LinkError::Tampered(_))));
    assert!(world.machines[new].engine().view().whoami().unwrap().is_none());
}

#[test]
fn a_code_is_used_in_time_and_once() {
    let (mut world, new, code) = code_shown();
    world.pass(Millis::from_secs(61));
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(2));
    assert_eq!(failed(&world, 0), Some(AddDeviceError::LinkUnavailable));
    assert!(matches!(world.try_link(new), Err(LinkError::Expired)));

    // The next one works, once.
    world.machines[0].effects.clear();
    world.machines[new].code = None;
    world.link(0, new, false);
    let code = world.machines[new].code.clone().unwrap();
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(2));
    assert_eq!(failed(&world, 0), Some(AddDeviceError::LinkUnavailable));

    // Somebody else's is not ours.
    let (mut world, new, code) = code_shown();
    world.add_device(1, &code, false).unwrap();
    world.pass(Millis::from_secs(1));
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(1));
    assert_eq!(failed(&world, 0), Some(AddDeviceError::LinkUnavailable));
    world.try_link(new).unwrap();
    assert_eq!(world.add_device(0, "wxl1-nonsense", false), Err(AddDeviceError::BadCode));
}

#[test]
fn a_server_that_cannot_answer_now_ends_no_link() {
    let (mut world, new, _) = code_shown();
    let body = br#"{"title":"later","status":503,"code":"unavailable"}"#.to_vec();
    let (answer, now) = (client::HttpAnswer { status: 503, body }, world.now);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let polled = world.machines[new].engine().link_polled(&answer, now, &mut rng);
    assert!(matches!(polled, Err(LinkError::Server(_))));
    world.link(0, new, false);
    assert!(world.machines[new].linked.is_some());
}

#[test]
fn a_person_who_says_no_ends_the_link() {
    let (mut world, new, code) = code_shown();
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(1));
    world.try_link(new).unwrap();
    world.pass(Millis::from_secs(1));
    assert!(world.machines[0].adding().iter().any(|adding| matches!(adding, AddingDevice::Digits { .. })));
    assert_eq!(list_version(&world, 0), 1, "nothing is signed before the person has compared");
    world.refuse(0);
    world.settle();
    assert_eq!(failed(&world, 0), Some(AddDeviceError::Refused));
    assert!(matches!(world.try_link(new), Err(LinkError::Refused)));
    world.confirm(0);
    world.settle();
    assert_eq!(list_version(&world, 0), 1);
}

#[test]
fn five_devices_at_most_and_numbers_are_used_again() {
    let mut world = World::new(2);
    world.settle();
    let linked: Vec<usize> = (0..4)
        .map(|_| {
            let new = world.machine();
            world.link(0, new, false);
            new
        })
        .collect();
    let numbers = |world: &World| -> Vec<u32> {
        let list = &world.server.accounts[&world.account(0)].list;
        list.devices().iter().map(|device| device.number().get().into()).collect()
    };
    assert_eq!(numbers(&world), [1, 2, 3, 4, 5]);
    let sixth = world.machine();
    world.try_link(sixth).unwrap();
    let code = world.machines[sixth].code.clone().unwrap();
    world.add_device(0, &code, false).unwrap();
    world.pass(Millis::from_secs(1));
    assert_eq!(failed(&world, 0), Some(AddDeviceError::TooManyDevices));
    assert!(matches!(world.try_link(sixth), Err(LinkError::TooManyDevices)), "it does not wait a minute");
    world.machines[sixth].code = None;
    assert_eq!(world.add_device(linked[0], &code, false), Err(AddDeviceError::NotPrimary));

    world.remove(0, 3).unwrap();
    world.settle();
    assert_eq!(numbers(&world), [1, 2, 4, 5]);
    world.link(0, sixth, false);
    assert_eq!(world.machines[sixth].device.unwrap().get(), 3);
    world.settle();
    world.send(sixth, 1, "a new life of number three");
    world.settle();
    world.send(1, 0, "heard");
    world.settle();
    for who in [0, linked[0], linked[2], linked[3], sixth] {
        assert_eq!(world.texts(who, 1), ["a new life of number three", "heard"], "device {who}");
    }
    assert_eq!(world.texts(linked[1], 1), [""; 0]);
}

/// A drop in the second life of a number shows, although the first one counted further.
#[test]
fn the_next_life_of_a_number_counts_anew() {
    let mut world = World::new(2);
    let first = world.machine();
    world.settle();
    world.link(0, first, false);
    world.settle();
    for text in ["one", "two", "three", "four"] {
        world.send(first, 1, text);
        world.settle();
    }
    world.remove(0, 2).unwrap();
    world.settle();
    let second = world.machine();
    world.link(0, second, true);
    world.settle();
    assert_eq!(world.machines[second].device.unwrap().get(), 2);
    world.send(second, 1, "five");
    world.settle();
    world.print(1);
    world.print(0);

    for who in [0, 1] {
        world.held.insert(who);
    }
    world.send(second, 1, "dropped for both");
    world.run();
    for who in [0, 1] {
        let account = world.account(who);
        for device in world.server.accounts.get_mut(&account).unwrap().devices.values_mut() {
            device.mailbox.clear();
        }
    }
    world.held.clear();
    world.send(second, 1, "six");
    world.settle();
    for who in [0, 1] {
        let events = world.print(who);
        assert_eq!(events.iter().filter(|event| is_gap(event)).count(), 1, "device {who}");
    }
    assert_eq!(world.texts(1, 0), ["one", "two", "three", "four", "five", "dropped for both", "six"]);
    assert_eq!(world.texts(0, 1), world.texts(1, 0), "sent again to both");
}

#[test]
fn an_unlinked_device_gets_nothing_more_and_keeps_what_it_has() {
    let mut world = World::new(2);
    let new = world.machine();
    world.settle();
    world.link(0, new, false);
    world.settle();
    world.send(1, 0, "while it was linked");
    world.settle();
    assert_eq!(world.remove(new, 1), Err(RemoveDeviceError::NotPrimary));
    assert_eq!(world.remove(0, 1), Err(RemoveDeviceError::Primary));
    assert_eq!(world.remove(0, 9), Err(RemoveDeviceError::NoSuchDevice));
    world.remove(0, 2).unwrap();
    world.settle();
    let device = DeviceNumber::new(2).unwrap();
    assert!(world.machines[0].effects.contains(&Effect::DeviceRemoved { device, result: Ok(()) }));
    assert_eq!(world.machines[new].closed, Some(Closed::Revoked));
    assert!(world.machines[new].engine().view().is_revoked().unwrap());
    world.crash(new);
    assert!(world.machines[new].engine().view().is_revoked().unwrap(), "known after a restart");

    world.send(1, 0, "after it was unlinked");
    world.settle();
    world.send(0, 1, "and an answer");
    world.settle();
    assert_eq!(world.texts(0, 1), ["while it was linked", "after it was unlinked", "and an answer"]);
    assert_eq!(world.texts(new, 1), ["while it was linked"]);
    let now = world.now;
    let found = world.machines[new].engine().view().search("linked", 10, now).unwrap();
    assert_eq!(found.len(), 1, "search works offline");
}

#[test]
fn a_removal_survives_a_crash_and_a_lost_answer() {
    for fault in [Fault::Crash(0), Fault::Cut(0), Fault::CutAnswer(0)] {
        for step in 1.. {
            let mut world = World::new(1);
            let new = world.machine();
            world.settle();
            world.link(0, new, false);
            world.settle();
            world.steps[0] = 0;
            world.fault = Some((step, fault));
            world.remove(0, 2).unwrap();
            world.settle();
            assert_eq!(
                world.server.accounts[&world.account(0)].list.devices().len(),
                1,
                "{fault:?} at {step}"
            );
            assert_eq!(world.machines[0].engine().view().devices().unwrap().len(), 1);
            assert!(world.machines[0].engine().is_settled());
            assert_ne!(world.machines[0].closed, Some(Closed::Cloned), "{fault:?} at {step}");
            if !world.struck {
                break;
            }
        }
    }
}

/// The planted fault: a version that is not written as used is signed a second time, for another list.
#[test]
fn a_version_that_is_signed_twice_is_noticed() {
    let mut world = World::new(1);
    world.settle();
    for _ in 0..2 {
        let new = world.machine();
        world.link(0, new, false);
    }
    world.settle();
    let bugs = client::testing::Bugs { reuse_list_versions: true, ..Default::default() };
    world.plant(0, bugs);
    let versions = |world: &World| world.server.accounts[&world.account(0)].list.version();
    let before = versions(&world);
    world.server.refusals.push_back(("put_device_list", Refusal::from(Code::BadDeviceList)));
    world.remove(0, 2).unwrap();
    world.settle();
    world.remove(0, 3).unwrap();
    world.settle();
    assert_eq!(versions(&world), before + 1, "the number that was refused is signed again");
}

/// Whatever is lost at whatever step: both sides come to the same end, and every message is there once.
#[test]
fn linking_survives_a_loss_at_every_step() {
    let (primary, friend, new) = (0, 1, 2);
    for who in [primary, new] {
        for fault in [Fault::Crash(who), Fault::Cut(who), Fault::CutAnswer(who)] {
            for step in 1.. {
                let mut world = World::new(2);
                world.send(friend, primary, "one");
                world.settle();
                world.send(primary, friend, "two");
                world.settle();
                assert_eq!(world.machine(), new);
                world.steps.fill(0);
                world.fault = Some((step, fault));
                world.link(primary, new, true);
                world.send(friend, primary, "three");
                world.settle();
                let note = format!("{fault:?} at {step}");
                assert_eq!(world.texts(new, friend), ["one", "two", "three"], "{note}");
                assert_eq!(world.texts(primary, friend), ["one", "two", "three"], "{note}");
                assert_eq!(world.printed_texts(new), ["three"], "{note}");
                assert!(world.machines[new].printed.iter().all(|event| !is_gap(event)), "{note}");
                if !world.struck {
                    break;
                }
                world.fault = None;
            }
        }
    }
}

fn is_gap(event: &client::EventView) -> bool {
    matches!(event, client::EventView::Gap { .. })
}

#[test]
fn a_list_that_the_server_did_not_look_at_is_sent_again() {
    let mut world = World::new(1);
    let new = world.machine();
    world.link(0, new, false);
    world.settle();
    let busy = || ("put_device_list", Refusal::from(Code::TooManyInFlight));
    world.server.refusals.push_back(busy());
    world.remove(0, 2).unwrap();
    world.pass(Millis::from_mins(1));
    assert!(world.server.refusals.is_empty());
    assert_eq!(world.machines[0].engine().view().devices().unwrap().len(), 1);
}

#[test]
fn who_takes_an_addition_over_hears_that_the_device_is_in() {
    let mut world = World::new(1);
    let new = world.machine();
    // The list is stored, the server does not say so, and the process that asked ends.
    world.server.lies.push_back(("complete_link", Refusal::new(Code::Unavailable)));
    world.try_link(new).unwrap();
    let code = world.machines[new].code.clone().unwrap();
    world.connect(0);
    world.add_device(0, &code, false).unwrap();
    for _ in 0..20 {
        world.pass(Millis(300));
        world.try_link(new).unwrap();
    }
    world.confirm(0);
    world.run();
    assert!(world.server.lies.is_empty());
    world.crash(0);
    world.machines[0].effects.clear();
    world.connect(0);
    assert_eq!(world.add_device(0, &code, false), Ok(()), "it is the one whose list is on its way");
    let other = world.machine();
    world.try_link(other).unwrap();
    let foreign = world.machines[other].code.clone().unwrap();
    assert_eq!(world.add_device(0, &foreign, false), Err(AddDeviceError::Busy));
    world.pass(Millis::from_secs(10));
    let device = DeviceNumber::new(2).unwrap();
    assert!(world.machines[0].adding().ends_with(&[AddingDevice::Done { device }]));

    // After that the code is used up, and whoever takes over asks what became of it.
    world.crash(0);
    assert_eq!(world.machines[0].engine().view().device_added_by(&code).unwrap(), Some(device));
    assert_eq!(world.machines[0].engine().view().device_added_by(&foreign).unwrap(), None);
}
