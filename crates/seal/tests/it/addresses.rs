//! A server that writes other names on what it carries, and keys that nobody listed.

use crate::control::{Bare, bare_open};
use crate::support::{Party, exchange, list_of, pair, settled_pair};
use seal::{Arrival, Content, DecryptFailure, Opened, Peer, SealError, SessionNeeded};
use types::{ConversationId, DeviceAddress, DeviceNumber};

const OF_A_GROUP: ConversationId = ConversationId::from_bytes([0x66; 16]);

/// A group's message that is sent again, or a note about the group: one-to-one, with the view of its chain.
#[test]
fn a_groups_content_comes_one_to_one_with_its_view() {
    let (mut alice, mut bob) = settled_pair(1);
    let honest = alice.content(bob.id(), "as I said to all of you");
    let view = Some(seal::GroupView { epoch: 9, head: [9; 32] });
    let content = Content { group: view, conversation: OF_A_GROUP, counter: 4, ..honest };
    let sealed = alice.seal(&bob.peer(), &content).unwrap();
    let opened = bob.open(&alice.peer(), &sealed).unwrap();
    assert_eq!(opened.verify(Some(&alice.peer())), Ok(content.clone()));
    let held = Opened::from_slice(&opened.to_bytes()).unwrap();
    assert_eq!(held.verify(Some(&alice.peer())), Ok(content));
    assert_eq!(held.verify(None), Err(DecryptFailure::Unlisted));
}

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
    // A group's view does not make a group of the two, and a group's content is still for one account.
    let view = Some(seal::GroupView { epoch: 1, head: [1; 32] });
    let view_of_two = Content { group: view, ..honest.clone() };
    let group_for_nobody =
        Content { group: view, recipient: None, conversation: OF_A_GROUP, ..honest.clone() };
    let group_for_another =
        Content { group: view, recipient: Some(other.id()), conversation: OF_A_GROUP, ..honest.clone() };
    let group_without_view = Content { conversation: OF_A_GROUP, ..honest.clone() };
    let direct = [wrong_conversation, wrong_recipient, no_recipient, wrong_sender, wrong_device];
    let group = [view_of_two, group_for_nobody, group_for_another, group_without_view];
    for lie in direct.into_iter().chain(group) {
        assert!(matches!(alice.seal(&bob.peer(), &lie), Err(SealError::WrongAddress)), "{lie:?}");
        // One who does not keep to the rules encrypts it all the same.
        let padded = seal::pad(lie.encode().unwrap());
        let (sealed, _) = crate::control::bare_seal_advancing(&alice, &bob, &padded);
        assert_eq!(bob.open(&alice.peer(), &sealed).err(), Some(DecryptFailure::WrongAddress), "{lie:?}");
    }
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
