use crate::fixtures::{UNKNOWN_FIELD, identity, person};
use expect_test::expect;
use proptest::prelude::*;
use prost::Message;
use signed::{DeviceKey, DeviceSecret, LinkOffer, ListError, ListedDevice, Signature, proto::link as proto};
use types::{DeviceNumber, RegistrationId, limits};

fn device_key(number: u8) -> DeviceKey {
    DeviceSecret::from_bytes(&[number; 32]).public()
}

fn offer() -> LinkOffer {
    let registration = RegistrationId::new(1_002).unwrap();
    LinkOffer::new(identity(2), device_key(2), registration, [9; 32], [8; 32])
}

fn forge(change: impl FnOnce(&mut proto::LinkOffer)) -> Result<LinkOffer, types::Invalid> {
    let mut raw = proto::LinkOffer::decode(offer().as_bytes()).unwrap();
    change(&mut raw);
    LinkOffer::decode(&raw.encode_to_vec())
}

#[test]
fn an_offer_is_read_as_it_was_made() {
    let read = LinkOffer::decode(offer().as_bytes()).unwrap();
    assert_eq!(read, offer());
    assert_eq!(read.identity_key(), &identity(2));
    assert_eq!(read.device_key(), &device_key(2));
    assert_eq!((read.registration().get(), read.ephemeral_key()), (1_002, &[9; 32]));
    assert_eq!(read.nonce_commitment(), &[8; 32]);
    expect!["0a2105ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d5912208139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b39418ea07222009090909090909090909090909090909090909090909090909090909090909092a200808080808080808080808080808080808080808080808080808080808080808"].assert_eq(&hex::encode(read.as_bytes()));
    expect!["76ae8f07c4c9ab7641edb611d8a7f2512d31d827fb646da10a126442e6f3e75f"]
        .assert_eq(&hex::encode(read.hash()));
}

/// The code commits to these very bytes, so nothing may be lost or tidied on the way.
#[test]
fn what_a_later_version_adds_is_kept_and_hashed() {
    let longer = [offer().as_bytes(), &UNKNOWN_FIELD].concat();
    let read = LinkOffer::decode(&longer).unwrap();
    assert_eq!(read.as_bytes(), longer);
    assert_ne!(read.hash(), offer().hash());
}

#[test]
fn every_rule_refuses() {
    assert!(forge(|_| ()).is_ok(), "the control: an unchanged offer is read");
    assert!(forge(|offer| offer.identity_key.truncate(32)).is_err());
    assert!(forge(|offer| offer.identity_key[0] = 6).is_err());
    assert!(forge(|offer| offer.device_key = vec![0; 32]).is_err());
    assert!(forge(|offer| offer.registration = 0).is_err());
    assert!(forge(|offer| offer.registration = 16_381).is_err());
    assert!(forge(|offer| offer.ephemeral_key.push(1)).is_err());
    assert!(forge(|offer| offer.nonce_commitment.clear()).is_err(), "nothing binds it to a nonce");
    assert!(forge(|offer| offer.nonce_commitment.truncate(31)).is_err());
    let one = [&[1][..], &[0; 31]].concat();
    assert!(forge(|offer| offer.ephemeral_key = vec![0; 32]).is_err(), "of low order");
    assert!(forge(|offer| offer.ephemeral_key = one).is_err(), "of low order");
    let longer = |fields| [offer().as_bytes(), UNKNOWN_FIELD.repeat(fields).as_slice()].concat();
    let fitting = (limits::LINK_MESSAGE_BYTES_MAX - offer().as_bytes().len()) / UNKNOWN_FIELD.len();
    assert!(LinkOffer::decode(&longer(fitting)).is_ok());
    assert!(LinkOffer::decode(&longer(fitting + 1)).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(offer) = LinkOffer::decode(&bytes) {
            prop_assert_eq!(offer.as_bytes(), bytes);
        }
    }
}

/// The primary puts a device on the list by a signature that it was given.
#[test]
fn an_entry_is_taken_over_only_with_its_own_signature() {
    let (person, number) = (person(1), DeviceNumber::new(2).unwrap());
    let listed = person.listed(2);
    let take = |account, number, registration, identity, key, signature: &Signature| {
        ListedDevice::verify(account, number, registration, identity, key, *signature)
    };
    let (registration, identity_key, key) =
        (listed.registration(), *listed.identity_key(), *listed.device_key());
    let signature = listed.signature();
    assert_eq!(take(person.id(), number, registration, identity_key, key, signature), Ok(listed.clone()));
    let refused = Err(ListError::BadDeviceSignature);
    let other = crate::fixtures::person(2).id();
    assert_eq!(take(other, number, registration, identity_key, key, signature), refused);
    let third = DeviceNumber::new(3).unwrap();
    assert_eq!(take(person.id(), third, registration, identity_key, key, signature), refused);
    let next = RegistrationId::new(7).unwrap();
    assert_eq!(take(person.id(), number, next, identity_key, key, signature), refused);
    assert_eq!(take(person.id(), number, registration, identity(9), key, signature), refused);
    let other_key = device_key(3);
    assert_eq!(take(person.id(), number, registration, identity_key, other_key, signature), refused);
}
