//! A device is removed from a group's member: three devices from the first distribution to the last message, with a
//! server that gives everything to everybody.

use crate::support::{Party, devices_of_one, list_of_all};
use seal::{
    Arrival, Body, Content, DecryptFailure, GroupSecret, GroupView, Peer, SealKind, Sealed,
    SenderKeyDistribution, Text,
};
use types::{ConversationId, DeviceAddress, GroupId};

const GROUP: GroupId = GroupId::from_bytes([7; 16]);

/// An envelope, and for whom it was.
struct Sent {
    from: DeviceAddress,
    sealed: Sealed,
}

/// Gives a device's current sender key, or a new one, to these devices and no other.
fn distribute(sender: &mut Party, receivers: &mut [&mut Party], rotate: bool) -> Vec<Sent> {
    let (store, rng) = (&mut sender.store, &mut sender.rng);
    let distribution = if rotate {
        seal::rotate_sender_key(store, GROUP, rng)
    } else {
        seal::sender_key_distribution(store, GROUP, rng)
    };
    let body = Body::SenderKeyDistribution(SenderKeyDistribution {
        group: GROUP,
        distribution: distribution.unwrap(),
        secret: GroupSecret::from_slice(&[5; 32]).unwrap(),
        counter: 0,
    });
    let mut sent = Vec::new();
    for receiver in receivers {
        if seal::session_needed(&sender.store, &receiver.peer(), sender.now).unwrap().is_some() {
            let bundle = receiver.bundle();
            sender.open_session(bundle, &receiver.peer());
        }
        let content = Content { counter: 0, body: body.clone(), ..sender.content(receiver.id(), "") };
        let sealed = sender.seal(&receiver.peer(), &content).unwrap();
        take_in(receiver, &sender.peer(), &sealed).unwrap();
        sent.push(Sent { from: sender.address(), sealed });
    }
    sent
}

/// Opens a distribution and keeps the key, as an engine does.
fn take_in(receiver: &mut Party, sender: &Peer, sealed: &Sealed) -> Result<(), DecryptFailure> {
    let content = receiver.open(sender, sealed)?.verify(Some(sender))?;
    let Body::SenderKeyDistribution(key) = content.body else { panic!("another body") };
    seal::process_distribution(&mut receiver.store, sender, key.group, &key.distribution).unwrap();
    Ok(())
}

fn say(sender: &mut Party, text: &str) -> Sent {
    let id = sender.id();
    let content = Content {
        conversation: ConversationId::from_bytes(*GROUP.as_bytes()),
        recipient: None,
        group: Some(GroupView { epoch: 3, head: [3; 32] }),
        body: Body::Text(Text::from(text)),
        ..sender.content(id, "")
    };
    let sealed = seal::group_encrypt(&mut sender.store, GROUP, &content, &mut sender.rng).unwrap();
    Sent { from: sender.address(), sealed }
}

/// Opens whatever it is as if it had been sent to this device; `listed`: what the sender's list says.
fn open(receiver: &mut Party, sent: &Sent, listed: Option<&Peer>) -> Result<Body, DecryptFailure> {
    let group = (sent.sealed.kind == SealKind::SenderKey).then_some(GROUP);
    let arrival = Arrival {
        from: sent.from,
        to: receiver.address(),
        kind: sent.sealed.kind,
        ciphertext: &sent.sealed.ciphertext,
        listed: listed.copied(),
        group,
    };
    Ok(receiver.open_arrival(&arrival)?.verify(listed)?.body)
}

#[test]
fn a_removed_device_opens_nothing_sent_after() {
    let mut alice = Party::new(1);
    let mut bobs = devices_of_one(2, 2);
    let (mut laptop, mut phone) = (bobs.remove(1), bobs.remove(0));

    // All three have each other's keys.
    distribute(&mut alice, &mut [&mut phone, &mut laptop], false);
    distribute(&mut phone, &mut [&mut alice, &mut laptop], false);
    distribute(&mut laptop, &mut [&mut alice, &mut phone], false);
    let before = say(&mut alice, "hello, all devices");
    for device in [&mut phone, &mut laptop] {
        assert_eq!(
            open(device, &before, Some(&alice.peer())),
            Ok(Body::Text(Text::from("hello, all devices")))
        );
    }
    let late = say(&mut alice, "sent before the removal");
    let of_laptop = say(&mut laptop, "from the lost laptop");

    // The laptop is lost: Bob's phone signs a list without it, and everybody rotates.
    let list = list_of_all(&phone.account, 2, &[&phone]);
    assert_eq!(Peer::on_list(&list, laptop.local.address.device), None, "nothing can be sealed to it");
    phone.list = list;
    let keys =
        [distribute(&mut alice, &mut [&mut phone], true), distribute(&mut phone, &mut [&mut alice], true)];
    let after = [say(&mut alice, "without the laptop"), say(&mut phone, "indeed")];
    assert_eq!(
        open(&mut phone, &after[0], Some(&alice.peer())),
        Ok(Body::Text(Text::from("without the laptop")))
    );
    assert_eq!(open(&mut alice, &after[1], Some(&phone.peer())), Ok(Body::Text(Text::from("indeed"))));

    // The server gives the laptop everything: the keys that were meant for others, and what was sent under them.
    let (alice_peer, phone_peer) = (alice.peer(), phone.peer());
    for sent in keys.iter().flatten().chain(&after) {
        let listed = if sent.from == alice.address() { &alice_peer } else { &phone_peer };
        assert!(open(&mut laptop, sent, Some(listed)).is_err());
        assert!(open(&mut laptop, sent, None).is_err());
    }
    // The control: it is no broken laptop. What was sent before the removal it still opens.
    assert!(open(&mut laptop, &late, Some(&alice_peer)).is_ok());

    // And what it sends under the key that the others still have shows nowhere: it is on no list.
    for device in [&mut alice, &mut phone] {
        assert_eq!(open(device, &of_laptop, None), Err(DecryptFailure::Unlisted));
    }
}

/// Without the rotation the removed device would read on: the test above can fail.
#[test]
fn a_removed_device_opens_what_is_sent_under_its_key() {
    let mut alice = Party::new(1);
    let mut bobs = devices_of_one(2, 2);
    let (mut laptop, mut phone) = (bobs.remove(1), bobs.remove(0));
    distribute(&mut alice, &mut [&mut phone, &mut laptop], false);
    distribute(&mut alice, &mut [&mut phone], false);
    let after = say(&mut alice, "nobody rotated");
    assert!(open(&mut laptop, &after, Some(&alice.peer())).is_ok());
}
