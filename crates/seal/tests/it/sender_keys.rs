//! Groups: one ciphertext for all, under a key that came through one-to-one sessions.

use crate::support::Party;
use seal::{Arrival, Body, Content, DecryptFailure, GroupView, Opened, SealError, Sealed, Text};
use types::GroupId;

const GROUP: GroupId = GroupId::from_bytes([7; 16]);

fn group_content(sender: &mut Party, text: &str) -> Content {
    let id = sender.id();
    Content {
        conversation: types::ConversationId::from_bytes(*GROUP.as_bytes()),
        recipient: None,
        group: Some(GroupView { epoch: 3, head: [3; 32] }),
        body: Body::Text(Text::from(text)),
        ..sender.content(id, "")
    }
}

fn send(sender: &mut Party, text: &str) -> Result<Sealed, SealError> {
    let content = group_content(sender, text);
    seal::group_encrypt(&mut sender.store, GROUP, &content, &mut sender.rng)
}

fn open(receiver: &mut Party, sender: &Party, sealed: &Sealed) -> Result<String, DecryptFailure> {
    let arrival = Arrival { group: Some(GROUP), ..receiver.arrival(&sender.peer(), sealed) };
    let opened: Opened = receiver.open_arrival(&arrival)?;
    match opened.verify(Some(&sender.peer()))?.body {
        Body::Text(text) => Ok(text.text),
        other => panic!("not a text: {other:?}"),
    }
}

fn distribute(sender: &mut Party, receivers: &mut [&mut Party]) {
    let message = seal::sender_key_distribution(&mut sender.store, GROUP, &mut sender.rng).unwrap();
    for receiver in receivers {
        seal::process_distribution(&mut receiver.store, &sender.peer(), GROUP, &message).unwrap();
    }
}

#[test]
fn one_ciphertext_opens_for_every_member_in_any_order_once() {
    let (mut alice, mut bob, mut carol) = (Party::new(1), Party::new(2), Party::new(3));
    assert!(matches!(send(&mut alice, "too early"), Err(SealError::NoSenderKey)));
    distribute(&mut alice, &mut [&mut bob, &mut carol]);
    let sent: Vec<Sealed> = (0..50).map(|n| send(&mut alice, &n.to_string()).unwrap()).collect();
    for (n, sealed) in sent.iter().enumerate() {
        assert_eq!(open(&mut bob, &alice, sealed).unwrap(), n.to_string());
    }
    for (n, sealed) in sent.iter().enumerate().rev() {
        assert_eq!(open(&mut carol, &alice, sealed).unwrap(), n.to_string());
        assert_eq!(open(&mut carol, &alice, sealed), Err(DecryptFailure::Duplicate));
    }
}

#[test]
fn a_new_member_opens_what_comes_and_nothing_older() {
    let (mut alice, mut bob) = (Party::new(1), Party::new(2));
    distribute(&mut alice, &mut []);
    let before = send(&mut alice, "before").unwrap();
    assert_eq!(open(&mut bob, &alice, &before), Err(DecryptFailure::NoSenderKey));
    distribute(&mut alice, &mut [&mut bob]);
    assert!(open(&mut bob, &alice, &before).is_err());
    let after = send(&mut alice, "after").unwrap();
    assert_eq!(open(&mut bob, &alice, &after).unwrap(), "after");
}

#[test]
fn a_rotated_key_shuts_out_who_did_not_get_it() {
    let (mut alice, mut bob, mut carol) = (Party::new(1), Party::new(2), Party::new(3));
    distribute(&mut alice, &mut [&mut bob, &mut carol]);
    let late = send(&mut alice, "under the old key").unwrap();
    let message = seal::rotate_sender_key(&mut alice.store, GROUP, &mut alice.rng).unwrap();
    seal::process_distribution(&mut bob.store, &alice.peer(), GROUP, &message).unwrap();
    let after = send(&mut alice, "without Carol").unwrap();
    assert_eq!(open(&mut bob, &alice, &after).unwrap(), "without Carol");
    assert_eq!(open(&mut bob, &alice, &late).unwrap(), "under the old key");
    assert_eq!(open(&mut carol, &alice, &after), Err(DecryptFailure::NoSenderKey));
}

#[test]
fn a_member_cannot_speak_for_another() {
    let (mut alice, mut bob, mut mallory) = (Party::new(1), Party::new(2), Party::new(3));
    distribute(&mut alice, &mut [&mut bob]);
    distribute(&mut mallory, &mut [&mut bob]);
    let forged = send(&mut mallory, "I am Alice").unwrap();
    // Delivered as Alice's: her chain does not know it.
    assert_eq!(open(&mut bob, &alice, &forged), Err(DecryptFailure::NoSenderKey));
    let mut tampered = send(&mut alice, "hello").unwrap();
    let last = tampered.ciphertext.len() - 1;
    tampered.ciphertext[last] ^= 1;
    assert_eq!(open(&mut bob, &alice, &tampered), Err(DecryptFailure::BadMac));
    let other_group =
        Arrival { group: Some(GroupId::from_bytes([8; 16])), ..bob.arrival(&mallory.peer(), &forged) };
    assert_eq!(bob.open_arrival(&other_group).err(), Some(DecryptFailure::WrongAddress));
}

#[test]
fn a_sender_key_of_an_identity_that_is_not_listed_any_more_shows_nothing() {
    let (mut alice, mut bob) = (Party::new(1), Party::new(2));
    distribute(&mut alice, &mut [&mut bob]);
    let sealed = send(&mut alice, "from the old phone").unwrap();
    let new = crate::support::list_of(
        &alice.account,
        alice.local.registration,
        *Party::new(9).local.identity.public(),
    );
    let renewed = seal::Peer::on_list(&new, types::DeviceNumber::PRIMARY).unwrap();
    let arrival = Arrival { group: Some(GROUP), ..bob.arrival(&renewed, &sealed) };
    assert_eq!(bob.open_arrival(&arrival).err(), Some(DecryptFailure::Unlisted));
    let unknown = Arrival { listed: None, ..arrival };
    let held = bob.open_arrival(&unknown).unwrap();
    assert_eq!(held.verify(Some(&renewed)).err(), Some(DecryptFailure::Unlisted));
    assert!(Opened::from_slice(&held.to_bytes()).unwrap().verify(Some(&alice.peer())).is_ok());
}

#[test]
fn a_message_too_far_ahead_is_refused() {
    let (mut alice, mut bob) = (Party::new(1), Party::new(2));
    distribute(&mut alice, &mut [&mut bob]);
    let mut last = None;
    for n in 0..=seal::guard::FORWARD_MAX + 1 {
        let sealed = send(&mut alice, "x").unwrap();
        if n == seal::guard::FORWARD_MAX {
            last = Some(sealed.clone());
        }
        if n > seal::guard::FORWARD_MAX {
            assert_eq!(open(&mut bob, &alice, &sealed), Err(DecryptFailure::TooFarAhead));
        }
    }
    assert_eq!(open(&mut bob, &alice, &last.unwrap()).unwrap(), "x");
}
