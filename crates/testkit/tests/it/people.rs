//! Ready-made people are what a server and a peer take for real ones.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use seal::{Arrival, Body, Content, Text};
use signed::{DeviceCertificate, DeviceList, Succession};
use std::collections::BTreeSet;
use testkit::{
    fixture::{EPOCH, message},
    people::{crowd, person},
};
use types::{DeviceAddress, DeviceNumber};

#[test]
fn everybody_is_somebody_else_and_always_the_same() {
    let crowd = crowd(50, 120);
    assert_eq!(crowd.iter().map(|(_, devices)| devices).sum::<usize>(), 120);
    let accounts: BTreeSet<_> = crowd.iter().map(|(person, _)| person.id()).collect();
    let devices = crowd.iter().flat_map(|(person, devices)| person.devices(*devices));
    let keys: BTreeSet<_> = devices.map(|device| *device.secrets().identity.public().as_bytes()).collect();
    assert_eq!((accounts.len(), keys.len()), (50, 120));
    // The bytes of one of them, so that nothing which is made of these people changes unseen.
    assert_eq!(person(7).id().to_string(), "c60e35b29547d80a0b7b0c5c9c063124");
}

#[test]
fn lists_and_certificates_verify() {
    let person = person(3);
    let one = DeviceList::verify(person.list(1, 1, EPOCH).as_bytes()).unwrap();
    let two = DeviceList::verify(person.list(2, 5, EPOCH).as_bytes()).unwrap();
    assert_eq!((one.account(), two.devices().len()), (person.id(), 5));
    assert_eq!(two.successor_of(&one), Ok(Succession::Newer));
    let fifth = person.device(DeviceNumber::new(5).unwrap());
    let certificate = fifth.certificate(person);
    let verified = DeviceCertificate::verify(certificate.as_bytes(), &person.account().public()).unwrap();
    assert_eq!(verified.device_key(), &fifth.key().public());
}

#[test]
fn what_is_sealed_with_an_upload_is_opened_with_its_store() {
    let (alice, bob) = (person(0).primary(), person(1).primary());
    let list = person(1).list(1, 1, EPOCH);
    let peer = seal::Peer::on_list(&list, DeviceNumber::PRIMARY).unwrap();
    let upload = bob.upload();
    let (signed, kem) = (upload.signed_prekey.unwrap(), upload.last_resort.unwrap());
    let bundle = seal::Bundle {
        device: bob.address(),
        registration: bob.mailbox().registration,
        signed: seal::SignedPrekey {
            id: signed.id,
            public_key: signed.public_key.as_ref().try_into().unwrap(),
            signature: signed.signature.as_ref().try_into().unwrap(),
        },
        kem: seal::KemPrekey {
            id: kem.id,
            public_key: kem.public_key.to_vec(),
            signature: kem.signature.as_ref().try_into().unwrap(),
            last_resort: kem.last_resort,
        },
        one_time: None,
    };
    let bundle = seal::verify_bundle(&peer, bundle).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (mut from, mut to) = (alice.store(), bob.store());
    seal::open_session(&mut from, &bundle, EPOCH, &mut rng).unwrap();
    let sealed = seal::encrypt(&mut from, &peer, &hello(alice.address(), bob.address()), EPOCH, &mut rng);
    let sealed = sealed.unwrap();
    let sender = seal::Peer::on_list(&person(0).list(1, 1, EPOCH), DeviceNumber::PRIMARY).unwrap();
    let arrival = Arrival {
        from: alice.address(),
        to: bob.address(),
        kind: sealed.kind,
        ciphertext: &sealed.ciphertext,
        listed: Some(sender),
        group: None,
    };
    let opened = seal::decrypt(&mut to, &arrival, &mut rng).unwrap().verify(Some(&sender)).unwrap();
    assert_eq!(opened.body, Body::Text(Text::from("hello")));
}

fn hello(from: DeviceAddress, to: DeviceAddress) -> Content {
    Content {
        message_id: message(1),
        conversation: signed::direct_conversation(from.account, to.account),
        sent_at: EPOCH,
        sender: from,
        recipient: Some(to.account),
        counter: 1,
        own_list: None,
        recipient_list: None,
        group: None,
        expire_after_seconds: 0,
        sender_phone: None,
        original_stamp: None,
        body: Body::Text(Text::from("hello")),
    }
}
