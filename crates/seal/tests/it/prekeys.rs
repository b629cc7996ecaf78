//! A device's own keys, and the checks of others'.

use crate::support::{NOW, Party, list_of, rng};
use seal::{BundleRefused, DeviceSecrets, IdentityKeyPair, Peer};
use std::collections::BTreeSet;
use types::DeviceNumber;

#[test]
fn the_same_randomness_gives_the_same_keys() {
    let make = |seed| {
        let mut rng = rng(seed);
        let secrets = DeviceSecrets::generate(&mut rng);
        let signed = seal::generate_signed(&secrets.identity, 5, NOW, &mut rng);
        let kem = seal::generate_last_resort(&secrets.identity, 6, NOW, &mut rng);
        (secrets.identity.to_bytes(), secrets.registration, signed.record, kem.record, kem.public)
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1).0, make(2).0);
}

#[test]
fn identities_are_read_back_and_stay_hidden() {
    let pair = IdentityKeyPair::generate(&mut rng(1));
    let again = IdentityKeyPair::from_slice(&pair.to_bytes()).unwrap();
    assert_eq!(again.to_bytes(), pair.to_bytes());
    assert_eq!(again.public(), pair.public());
    assert_eq!(format!("{pair:?}"), "IdentityKeyPair(redacted)");
    assert!(IdentityKeyPair::from_slice(&pair.to_bytes()[..64]).is_err());
    assert!(IdentityKeyPair::from_slice(&[0; 65]).is_err());
}

#[test]
fn ids_are_consecutive_and_wrap_without_zero() {
    let ids = |start| -> Vec<u32> {
        seal::generate_one_time(start, 3, &mut rng(1)).iter().map(|prekey| prekey.public.id).collect()
    };
    assert_eq!(ids(1), [1, 2, 3]);
    assert_eq!(ids(0xff_fffe), [0xff_fffe, 0xff_ffff, 1]);
    let keys = seal::generate_one_time(1, 100, &mut rng(1));
    let distinct: BTreeSet<_> = keys.iter().map(|prekey| prekey.public.public_key).collect();
    assert_eq!(distinct.len(), 100);
}

#[test]
fn a_bundle_must_be_signed_by_the_listed_identity() {
    let mut bob = Party::new(1);
    let mallory = Party::new(2);
    let honest = bob.bundle();
    let peer = bob.peer();
    assert!(seal::verify_bundle(&peer, honest.clone()).is_ok());

    let mut other_signed = honest.clone();
    other_signed.signed = mallory.signed.public.clone();
    let mut other_kem = honest.clone();
    other_kem.kem = mallory.last_resort.public.clone();
    let mut flipped = honest.clone();
    flipped.kem.signature[10] ^= 1;
    for forged in [other_signed, other_kem, flipped] {
        assert_eq!(seal::verify_bundle(&peer, forged).err(), Some(BundleRefused::Signature));
    }

    let mut short = honest.clone();
    short.kem.public_key.pop();
    let mut other_type = honest.clone();
    other_type.kem.public_key[0] = 7;
    let mut not_a_key = honest.clone();
    not_a_key.signed.public_key[0] = 6;
    for malformed in [short, other_type, not_a_key] {
        assert_eq!(seal::verify_bundle(&peer, malformed).err(), Some(BundleRefused::Malformed));
    }

    let mut other_device = honest.clone();
    other_device.device = mallory.address();
    let mut other_life = honest.clone();
    other_life.registration = types::RegistrationId::new(honest.registration.get() % 16_000 + 1).unwrap();
    for misplaced in [other_device, other_life] {
        assert_eq!(seal::verify_bundle(&peer, misplaced).err(), Some(BundleRefused::AnotherDevice));
    }
}

#[test]
fn a_peer_comes_from_a_list_only() {
    let bob = Party::new(1);
    assert_eq!(Peer::on_list(&bob.list, DeviceNumber::new(2).unwrap()), None);
    let peer = bob.peer();
    assert_eq!(peer.address(), bob.address());
    assert_eq!(peer.registration(), bob.local.registration);
    assert_eq!(peer.identity(), bob.local.identity.public());
    let other = list_of(&bob.account, bob.local.registration, *Party::new(2).local.identity.public());
    assert_ne!(Peer::on_list(&other, DeviceNumber::PRIMARY), Some(peer));
}
