//! Registration: codes, sessions, and what becomes of a number that moves.

use crate::world::{HOME, Person, World, keys, refused};
use futures_util::future::join_all;
use server_core::{CODE_DIGITS, KeyError, RegistrationError};
use server_ports::{Signal, fake::FaultPlan};
use std::collections::BTreeSet;
use types::{Millis, Redact, limits};
use wire::{Code, KeyUpload, Request, Response};

#[test]
fn a_number_becomes_an_account_with_keys_and_a_mailbox() {
    let world = World::new();
    let bob = Person::new(2);
    let (session, code) = world.begin(&bob);
    assert!(code.len() == CODE_DIGITS && code.bytes().all(|digit| digit.is_ascii_digit()));
    let registered = world.finish(&bob, (session, code), |_| ()).unwrap();
    assert_eq!((registered.account, registered.device.get()), (bob.id(), 1));
    assert_eq!(registered.registration, bob.mailbox().registration);
    assert_eq!(registered.phone, bob.phone);
    assert!(world.mailboxes.open_mailboxes().contains(&bob.mailbox()));
    let counts = world.ask(&bob.caller(), Request::KeyCount).unwrap();
    assert_eq!(counts, Response::KeyCounts(wire::KeyCounts { one_time: 5, one_time_kem: 5 }));
    world.connect(&bob, 1);
}

#[test]
fn only_the_code_of_this_session_proves_the_number() {
    let world = World::new();
    let (bob, carol) = (Person::new(2), Person::new(3));
    let (bobs, code) = world.begin(&bob);
    let (carols, other_code) = world.begin(&carol);
    assert_eq!(world.finish(&bob, ([9; 16], code.clone()), |_| ()), Err(RegistrationError::NoSession));
    if code != other_code {
        let wrong = world.finish(&carol, (carols, code.clone()), |_| ());
        assert_eq!(wrong, Err(RegistrationError::WrongCode { tries_left: 4 }));
    }
    assert!(world.finish(&bob, (bobs, code), |_| ()).is_ok());
}

#[test]
fn codes_are_drawn_evenly_and_never_stored_as_they_are() {
    let world = World::with(|config| config.quotas.enabled = false);
    let bob = Person::new(2);
    let codes: BTreeSet<_> = (0..200).map(|_| world.begin(&bob).1).collect();
    assert!(codes.len() > 195, "codes repeat");
    assert!(codes.iter().any(|code| code.starts_with('0')), "leading zeros are kept");
    assert!(!format!("{:?}", world.directory).contains(codes.last().unwrap()));
}

#[test]
fn five_tries_and_no_sixth_even_with_the_right_code() {
    let world = World::new();
    let bob = Person::new(2);
    let (session, code) = world.begin(&bob);
    for left in (0..5).rev() {
        let answer = world.finish(&bob, (session, wrong(&code)), |_| ());
        assert_eq!(answer, Err(RegistrationError::WrongCode { tries_left: left }));
    }
    assert_eq!(world.finish(&bob, (session, code), |_| ()), Err(RegistrationError::CodeExhausted));
}

fn wrong(code: &str) -> String {
    let last = if code.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &code[..code.len() - 1])
}

#[test]
fn a_hundred_parallel_tries_on_two_nodes_get_no_sixth() {
    for seed in 0..10 {
        let world = World::slow(seed, Millis(300));
        let other = world.node(2, 0);
        let bob = Person::new(2);
        let (session, code) = world.begin(&bob);
        let guesses = (0..100).map(|turn| {
            let core = if turn % 2 == 0 { &world.core } else { &other };
            core.registration_finish(bob.finishing(session, &wrong(&code)), HOME)
        });
        let answers = world.run(join_all(guesses));
        let tried = |answer: &Result<_, _>| matches!(answer, Err(RegistrationError::WrongCode { .. }));
        assert_eq!(answers.iter().filter(|answer| tried(answer)).count(), 5);
        assert_eq!(
            answers.iter().filter(|answer| **answer == Err(RegistrationError::CodeExhausted)).count(),
            95
        );
        assert_eq!(world.finish(&bob, (session, code), |_| ()), Err(RegistrationError::CodeExhausted));
    }
}

#[test]
fn a_code_lives_ten_minutes() {
    let world = World::new();
    let (bob, carol) = (Person::new(2), Person::new(3));
    let (bobs, carols) = (world.begin(&bob), world.begin(&carol));
    world.clock.advance(Millis(limits::CODE_LIFE.0 - 1));
    assert!(world.finish(&bob, bobs, |_| ()).is_ok());
    world.clock.advance(Millis(1));
    assert_eq!(world.finish(&carol, carols, |_| ()), Err(RegistrationError::CodeExpired));
}

#[test]
fn asking_again_voids_the_earlier_code() {
    let world = World::new();
    let bob = Person::new(2);
    let first = world.begin(&bob);
    let second = world.begin(&bob);
    assert_eq!(world.finish(&bob, first, |_| ()), Err(RegistrationError::NoSession));
    assert!(world.finish(&bob, second, |_| ()).is_ok());
}

#[test]
fn a_lost_answer_is_given_again_to_the_same_session_and_key_only() {
    let world = World::new();
    let bob = Person::new(2);
    let (session, code) = world.begin(&bob);
    let first = world.finish(&bob, (session, code.clone()), |_| ()).unwrap();
    assert_eq!(world.finish(&bob, (session, code.clone()), |_| ()).unwrap(), first);
    world.connect(&bob, 1);
    // The device lost its memory of the first try, and chose another token.
    let token = Redact::new([9; 32]);
    let again = world.finish(&bob, (session, code.clone()), |finish| finish.token = token.clone());
    assert_eq!(again.unwrap(), first);
    let void = world.run(world.core.authenticate(&bob.proof(2, [7; 32]), [7; 32]));
    assert_eq!(refused(void), Code::Unauthenticated, "the token before is void");
    world.connect(&Person { token, ..Person::new(2) }, 3);
    // Another key in the same session, or the same key in another session, is no repeat.
    let carol = Person { phone: bob.phone.clone(), ..Person::new(3) };
    assert_eq!(world.finish(&carol, (session, code), |_| ()), Err(RegistrationError::NoSession));
    let later = world.begin(&bob);
    assert_eq!(world.finish(&bob, later, |_| ()), Err(RegistrationError::AccountKeyUsed));
}

#[test]
fn an_unknown_outcome_is_settled_by_asking_again() {
    for fails_after in [0, 1_000] {
        let world = World::new();
        let bob = Person::new(2);
        let (session, code) = world.begin(&bob);
        let plan = FaultPlan { store_fails: 400, store_fails_after: fails_after, ..FaultPlan::default() };
        world.directory.faults().set(plan);
        for _ in 0..20 {
            let answer = world.finish(&bob, (session, code.clone()), |_| ());
            assert!(answer.is_ok() || answer == Err(RegistrationError::Unavailable), "{answer:?}");
        }
        world.directory.faults().heal();
        world.finish(&bob, (session, code), |_| ()).unwrap();
        world.connect(&bob, 1);
    }
}

#[test]
fn a_number_with_an_account_moves_only_when_confirmed_and_asked_only_after_the_code() {
    let world = World::new();
    let (alice, old) = (world.register(1), world.register(2));
    let new = Person { phone: old.phone.clone(), ..Person::new(3) };
    let (session, code) = world.begin(&new);
    // Whoever has not proved the number learns nothing, whatever they ask.
    for replace in [false, true] {
        let guess = world.finish(&new, (session, wrong(&code)), |finish| finish.replace = replace);
        assert!(matches!(guess, Err(RegistrationError::WrongCode { .. })));
        let no_session = world.finish(&new, ([1; 16], code.clone()), |finish| finish.replace = replace);
        assert_eq!(no_session, Err(RegistrationError::NoSession));
    }
    assert_eq!(world.finish(&new, (session, code.clone()), |_| ()), Err(RegistrationError::NumberTaken));
    assert!(world.send(&alice, alice.message(&old, 1)).is_ok(), "nothing has changed");

    let inbox = world.listen();
    world.connect(&old, 1);
    let registered = world.finish(&new, (session, code), |finish| finish.replace = true).unwrap();
    assert_eq!(registered.account, new.id());
    assert_eq!(inbox.take(), [(old.mailbox(), 1, Signal::Ended(Code::Revoked))]);
    assert_eq!(world.mailbox(old.mailbox()), []);
    assert!(!world.mailboxes.open_mailboxes().contains(&old.mailbox()));
    assert_eq!(refused(world.send(&alice, alice.message(&old, 2))), Code::AccountClosed);
    assert_eq!(refused(world.run(world.core.authenticate(&old.proof(2, [7; 32]), [7; 32]))), Code::Revoked);
    let lookup = Request::Lookup { numbers: vec![new.phone.clone()], verify_sender: false };
    assert_eq!(world.ask(&alice.caller(), lookup), Ok(Response::LookupResult(vec![Some(new.id())])));
    assert!(world.send(&alice, alice.message(&new, 3)).is_ok());
}

#[test]
fn what_a_device_signs_and_uploads_is_checked_before_the_code_is_tried() {
    let world = World::new();
    let bob = Person::new(2);
    let (session, code) = world.begin(&bob);
    let finish =
        |change: &dyn Fn(&mut server_core::Finish)| world.finish(&bob, (session, wrong(&code)), change);
    let list = |list: signed::DeviceList| bytes::Bytes::from(list.as_bytes().to_vec());
    let broken = |finish: &mut server_core::Finish| {
        let mut bytes = finish.device_list.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        finish.device_list = bytes.into();
    };
    assert_eq!(finish(&broken), Err(RegistrationError::BadDeviceList(signed::ListError::BadSignature)));
    let second = |finish: &mut server_core::Finish| finish.device_list = list(bob.list(2, &[1]));
    assert_eq!(finish(&second), Err(RegistrationError::NotAFirstList));
    let two = |finish: &mut server_core::Finish| finish.device_list = list(bob.list(1, &[1, 2]));
    assert_eq!(finish(&two), Err(RegistrationError::NotAFirstList));
    let unsigned = |finish: &mut server_core::Finish| finish.keys.signed_prekey = None;
    assert_eq!(finish(&unsigned), Err(RegistrationError::KeysMissing));
    let no_last =
        |finish: &mut server_core::Finish| finish.keys = KeyUpload { last_resort: None, ..keys(1..=2) };
    assert_eq!(finish(&no_last), Err(RegistrationError::KeysMissing));
    let short = |finish: &mut server_core::Finish| {
        let key = finish.keys.signed_prekey.as_mut().unwrap();
        key.public_key = vec![5; 9].into();
    };
    assert_eq!(finish(&short), Err(RegistrationError::BadKeys(KeyError::Length)));
    assert!(world.finish(&bob, (session, code.clone()), |_| ()).is_ok(), "no try was used up");
}

#[test]
fn numbers_are_checked() {
    let world = World::new();
    let begin = |phone: &str| world.run(world.core.registration_begin(phone, HOME));
    for bad in ["", "5552000100", "+1555", "+99912345678", "+1555200010x"] {
        assert_eq!(begin(bad), Err(RegistrationError::BadNumber), "{bad}");
    }
    assert!(begin("+1 555 200 0100").is_ok());
    let strict = World::with(|config| config.strict_numbers = true);
    let begin = |phone: &str| strict.run(strict.core.registration_begin(phone, HOME));
    assert_eq!(begin("+15552000100"), Err(RegistrationError::BadNumber));
    assert!(begin("+41446681800").is_ok());
}

#[test]
fn codes_are_limited_by_number_address_prefix_and_in_all() {
    let from = |host: u8| std::net::IpAddr::from([198, 51, 100, host]);
    let is_limited =
        |answer: Result<_, RegistrationError>| matches!(answer, Err(RegistrationError::RetryAfter(_)));
    let world = World::new();
    for host in 0..3 {
        world.run(world.core.registration_begin("+15552000100", from(host))).unwrap();
    }
    assert!(is_limited(world.run(world.core.registration_begin("+15552000100", from(9)))), "the number");
    world.clock.advance(Millis::from_hours(1));
    assert!(world.run(world.core.registration_begin("+15552000100", from(9))).is_ok());

    let one = |change: fn(&mut server_core::Quotas)| {
        let world = World::with(|config| change(&mut config.quotas));
        let first = world.run(world.core.registration_begin("+15552000101", from(1)));
        (world, first.is_ok())
    };
    let (world, first) = one(|quotas| quotas.codes_per_address.limit = 1);
    assert!(first && is_limited(world.run(world.core.registration_begin("+41446681800", from(1)))));
    assert!(world.run(world.core.registration_begin("+41446681800", from(2))).is_ok());
    let (world, first) = one(|quotas| quotas.codes_per_prefix.limit = 1);
    assert!(first && is_limited(world.run(world.core.registration_begin("+15552000999", from(2)))));
    assert!(world.run(world.core.registration_begin("+41446681800", from(2))).is_ok());
    let (world, first) = one(|quotas| quotas.codes.limit = 1);
    assert!(first && is_limited(world.run(world.core.registration_begin("+41446681800", from(2)))));
    let (world, _) = one(|quotas| quotas.enabled = false);
    for _ in 0..10 {
        world.run(world.core.registration_begin("+15552000101", from(1))).unwrap();
    }
}

#[test]
fn one_address_cannot_use_up_the_codes_of_all() {
    let from = |host: u8| std::net::IpAddr::from([198, 51, 100, host]);
    let world = World::with(|config| {
        config.quotas.codes_per_address.limit = 2;
        config.quotas.codes_per_prefix.limit = 4;
        config.quotas.codes.limit = 4;
    });
    let begin = |phone: &str, host| world.run(world.core.registration_begin(phone, from(host)));
    for number in 0..20 {
        let answer = begin(&format!("+155520001{number:02}"), 1);
        assert_eq!(answer.is_ok(), number < 2, "{answer:?}");
    }
    assert!(begin("+15552000150", 2).is_ok(), "the same prefix, another address");
    for host in 3..20 {
        let _ = begin("+15552000150", host);
    }
    assert!(matches!(begin("+41446681800", 40), Err(RegistrationError::RetryAfter(_))), "the brake on all");
}

#[test]
fn one_address_registers_ten_accounts_a_day() {
    let world = World::new();
    for number in 1..=10 {
        world.register(number);
    }
    let late = Person::new(11);
    let (session, code) = world.begin(&late);
    let refused = world.finish(&late, (session, code.clone()), |_| ());
    assert!(matches!(refused, Err(RegistrationError::RetryAfter(_))), "{refused:?}");
    let elsewhere = std::net::IpAddr::from([192, 0, 2, 1]);
    let finish = late.finishing(session, &code);
    assert!(world.run(world.core.registration_finish(finish, elsewhere)).is_ok(), "the code was not used up");
}

#[test]
fn a_text_that_cannot_be_sent_is_said_so() {
    let world = World::new();
    world.texter.faults().set(FaultPlan { text_fails: 1_000, ..FaultPlan::default() });
    let answer = world.run(world.core.registration_begin("+15552000100", HOME));
    assert_eq!(answer, Err(RegistrationError::NotSent));
}

#[test]
fn nothing_personal_shows_in_errors() {
    let world = World::new();
    let bob = Person::new(2);
    let (session, code) = world.begin(&bob);
    let finish = server_core::Finish { code: Redact::new(code.clone()), ..bob.finishing(session, &code) };
    let error = world.finish(&bob, (session, wrong(&code)), |_| ()).unwrap_err();
    let shown = format!("{error} {error:?} {finish:?}");
    assert!(!shown.contains(&code) && !shown.contains("5552000"), "{shown}");
}
