//! A server that writes other names on what it carries, and keys that nobody listed.

use crate::control::{Bare, bare_open};
use crate::support::{Party, exchange, list_of, pair, settled_pair};
use seal::{Arrival, DecryptFailure, Opened, Peer, SealError, SessionNeeded};
use types::{DeviceAddress, DeviceNumber};

/// Mallory's message to Bob, delivered as if it came from Alice.
#[test]
fn a_message_delivered_under_another_name_is_refused() {
    let (alice, mut bob, mut mallory) = (Party::new(1), Party::new(2), Party::new(3));
    let bundle = bob.bundle();
    mallory.open_session(bundle, &bob.peer());
    let sealed = mallory.seal_text(&bob.peer(), "this is Alice");
    assert!(matches!(bare_open(&bob, &alice, sealed.kind, &sealed.ciphertext), Bare::Opened { .. }));
    let as_alice = Arrival { from: alice.address(), ..bob.arrival(&alice.peer(), &sealed) };
    assert_eq!(bob.open_arrival(&as_alice).err(), Some(DecryptFailure::Unlisted));
    let list_unknown = Arrival { listed: None, ..as_alice };
    assert_eq!(bob.open_arrival(&list_unknown).err(), Some(DecryptFailure::WrongAddress));
    assert_eq!(bob.open_text(&mallory.peer(), &sealed).unwrap(), "this is Alice");
}

/// A server that knows everything but Alice's identity key writes to Bob as Alice, with right addresses inside.
#[test]
fn a_listed_account_with_an_unlisted_key_shows_nothing() {
    let (mut alice, mut bob) = settled_pair(1);
    let mut forger = Party::new(99);
    forger.local.address = alice.address();
    forger.store = seal::memory::MemoryStore::new(forger.local.clone());
    for round in 0..20 {
        let bundle = bob.bundle_without_one_time();
        forger.open_session(bundle, &bob.peer());
        let sealed = forger.seal_text(&bob.peer(), "send me money");
        assert_eq!(bob.open(&alice.peer(), &sealed).err(), Some(DecryptFailure::Unlisted), "round {round}");
    }
    // Its openings never took the place of the real session.
    exchange(&mut alice, &mut bob, "is that you?");
    exchange(&mut bob, &mut alice, "it is");
}

/// The same while Bob does not know Alice's list yet: it is opened, held, and never shown.
#[test]
fn what_was_held_for_a_list_is_not_shown_if_the_list_says_otherwise() {
    let (alice, mut bob) = (Party::new(1), Party::new(2));
    let mut forger = Party::new(99);
    forger.local.address = alice.address();
    forger.store = seal::memory::MemoryStore::new(forger.local.clone());
    let bundle = bob.bundle();
    forger.open_session(bundle, &bob.peer());
    let sealed = forger.seal_text(&bob.peer(), "send me money");
    let arrival = Arrival { listed: None, ..bob.arrival(&alice.peer(), &sealed) };
    let held = bob.open_arrival(&arrival).unwrap().to_bytes();
    let held = Opened::from_slice(&held).unwrap();
    assert_eq!(held.verify(None).err(), Some(DecryptFailure::Unlisted));
    assert_eq!(held.verify(Some(&alice.peer())).err(), Some(DecryptFailure::Unlisted));
    assert_eq!(held.verify(Some(&bob.peer())).err(), Some(DecryptFailure::Unlisted));
    // And Bob does not answer into that session.
    let content = bob.content(alice.id(), "how much?");
    let refused = bob.seal(&alice.peer(), &content);
    assert!(matches!(refused, Err(SealError::SessionNeeded(SessionNeeded::Changed))), "{refused:?}");
}

#[test]
fn what_was_held_for_a_list_is_shown_when_the_list_has_the_key() {
    let (mut alice, mut bob) = pair(1);
    let sealed = alice.seal_text(&bob.peer(), "hello");
    let arrival = Arrival { listed: None, ..bob.arrival(&alice.peer(), &sealed) };
    let opened = bob.open_arrival(&arrival).unwrap();
    assert_eq!(opened.sender_list().map(|view| view.version), Some(1));
    let held = Opened::from_slice(&opened.to_bytes()).unwrap();
    assert_eq!(held.verify(Some(&alice.peer())), opened.verify(Some(&alice.peer())));
    assert!(held.verify(Some(&alice.peer())).is_ok());
    let bytes = opened.to_bytes();
    let header = bytes.len() - alice_content_length(&opened, &alice);
    for length in 0..=header {
        assert!(Opened::from_slice(&bytes[..length]).is_err(), "cut to {length}");
    }
}

fn alice_content_length(opened: &Opened, alice: &Party) -> usize {
    opened.verify(Some(&alice.peer())).unwrap().encode().unwrap().len()
}

/// A relinked device: the list has moved on, and a message under the old identity is not its device's any more.
#[test]
fn a_replaced_identity_opens_and_receives_nothing() {
    let (mut alice, mut bob) = settled_pair(1);
    let late = alice.seal_text(&bob.peer(), "from the old phone");
    let new = Party::new(50);
    let list = list_of(&alice.account, new.local.registration, *new.local.identity.public());
    let renewed = Peer::on_list(&list, DeviceNumber::PRIMARY).unwrap();
    assert_eq!(bob.open_text(&renewed, &late), Err(DecryptFailure::Unlisted));
    let content = bob.content(alice.id(), "to the new phone");
    let refused = bob.seal(&renewed, &content);
    assert!(matches!(refused, Err(SealError::SessionNeeded(SessionNeeded::Changed))), "{refused:?}");
}

/// The same identity in a new life of its device number has lost its sessions.
#[test]
fn another_registration_of_the_device_needs_a_new_session() {
    let (alice, mut bob) = settled_pair(1);
    let next = types::RegistrationId::new(alice.local.registration.get() % 16_000 + 1).unwrap();
    let list = list_of(&alice.account, next, *alice.local.identity.public());
    let content = bob.content(alice.id(), "hello again");
    let refused = bob.seal(&Peer::on_list(&list, DeviceNumber::PRIMARY).unwrap(), &content);
    assert!(matches!(refused, Err(SealError::SessionNeeded(SessionNeeded::Changed))), "{refused:?}");
}

#[test]
fn a_message_for_another_device_is_refused() {
    let (mut alice, mut bob) = pair(1);
    let sealed = alice.seal_text(&bob.peer(), "to device 1");
    let second = DeviceAddress::new(bob.id(), DeviceNumber::new(2).unwrap());
    let misdelivered = Arrival { to: second, ..bob.arrival(&alice.peer(), &sealed) };
    assert_eq!(bob.open_arrival(&misdelivered).err(), Some(DecryptFailure::WrongAddress));
}

/// A listed device that lies inside the seal.
#[test]
fn the_addresses_inside_must_be_those_outside() {
    let (mut alice, mut bob) = settled_pair(1);
    let other = Party::new(7);
    let honest = alice.content(bob.id(), "hello");
    let mut wrong_conversation = honest.clone();
    wrong_conversation.conversation = signed::direct_conversation(bob.id(), other.id());
    let mut wrong_recipient = honest.clone();
    wrong_recipient.recipient = Some(other.id());
    let mut no_recipient = honest.clone();
    no_recipient.recipient = None;
    let mut wrong_sender = honest.clone();
    wrong_sender.sender = other.address();
    let mut wrong_device = honest.clone();
    wrong_device.sender = DeviceAddress::new(alice.id(), DeviceNumber::new(2).unwrap());
    for lie in [wrong_conversation, wrong_recipient, no_recipient, wrong_sender, wrong_device] {
        assert!(matches!(alice.seal(&bob.peer(), &lie), Err(SealError::WrongAddress)), "{lie:?}");
        // One who does not keep to the rules encrypts it all the same.
        let padded = seal::pad(lie.encode().unwrap());
        let (sealed, _) = crate::control::bare_seal_advancing(&alice, &bob, &padded);
        assert_eq!(bob.open(&alice.peer(), &sealed).err(), Some(DecryptFailure::WrongAddress), "{lie:?}");
    }
    // A claim to belong to a group does not open the door to another conversation.
    let mut of_a_group = honest.clone();
    of_a_group.conversation = signed::direct_conversation(bob.id(), other.id());
    of_a_group.group = Some(seal::GroupView { epoch: 1, head: [1; 32] });
    let padded = seal::pad(of_a_group.encode().unwrap());
    let (sealed, _) = crate::control::bare_seal_advancing(&alice, &bob, &padded);
    assert_eq!(bob.open(&alice.peer(), &sealed).err(), Some(DecryptFailure::Unsupported));
    let (sealed, _) = crate::control::bare_seal_advancing(&alice, &bob, &seal::pad(honest.encode().unwrap()));
    assert_eq!(bob.open_text(&alice.peer(), &sealed).unwrap(), "hello");
}

#[test]
fn bad_padding_and_bad_content_are_refused_with_their_own_codes() {
    let (mut alice, mut bob) = settled_pair(1);
    let good = seal::pad(alice.content(bob.id(), "hello").encode().unwrap());
    let mut longer = good.clone();
    longer.push(0);
    let unpadded = alice.content(bob.id(), "hello").encode().unwrap();
    for plaintext in [longer, unpadded, vec![0; 160], vec![]] {
        let (sealed, _) = crate::control::bare_seal_advancing(&alice, &bob, &plaintext);
        assert_eq!(bob.open(&alice.peer(), &sealed).err(), Some(DecryptFailure::BadPadding));
    }
    let (sealed, _) = crate::control::bare_seal_advancing(&alice, &bob, &seal::pad(b"not protobuf".to_vec()));
    assert_eq!(bob.open(&alice.peer(), &sealed).err(), Some(DecryptFailure::BadContent));
}

/// What we sent, sent back to us.
#[test]
fn our_own_messages_do_not_open_at_home() {
    let (mut alice, bob) = pair(1);
    let sealed = alice.seal_text(&bob.peer(), "to Bob");
    let arrival = Arrival {
        from: bob.address(),
        to: alice.address(),
        listed: None,
        ..bob.arrival(&alice.peer(), &sealed)
    };
    assert_eq!(alice.open_arrival(&arrival).err(), Some(DecryptFailure::GuardRefused));
    let bundle = alice.bundle();
    let verified = seal::verify_bundle(&alice.peer(), bundle).unwrap();
    let to_self = seal::open_session(&mut alice.store, &verified, alice.now, &mut alice.rng);
    assert!(matches!(to_self, Err(SealError::WrongAddress)));
}
