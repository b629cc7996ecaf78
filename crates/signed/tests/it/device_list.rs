use crate::fixtures::{UNKNOWN_FIELD, forge_list, identity, person, raw_signature, sign_list_bytes};
use expect_test::expect;
use proptest::prelude::*;
use prost::Message;
use signed::{
    DeviceList, DeviceListDraft, ListError, SEALED_NAMES_BYTES_MAX, Succession, SuccessionError, proto,
};
use types::{DeviceNumber, Timestamp};

fn raw(numbers: &[u32]) -> proto::DeviceList {
    let list = person(1).list(3, numbers);
    let wrapper = proto::SignedDeviceList::decode(list.as_bytes()).unwrap();
    proto::DeviceList::decode(&wrapper.list[..]).unwrap()
}

/// Changes a list of devices 1 and 2 and signs the result with the right account key.
fn forge(change: impl FnOnce(&mut proto::DeviceList)) -> Result<DeviceList, ListError> {
    let mut list = raw(&[1, 2]);
    change(&mut list);
    DeviceList::verify(&forge_list(&person(1), &list))
}

#[test]
fn a_signed_list_says_what_was_put_in() {
    let person = person(1);
    let made = person.list(3, &[1, 2, 127]);
    let read = DeviceList::verify(made.as_bytes()).unwrap();
    assert_eq!(made, read);
    assert_eq!((read.account(), read.version()), (person.id(), 3));
    assert_eq!(read.account_key(), &person.account.public());
    assert_eq!(read.issued_at(), Timestamp::from_millis(1_795_000_000_000));
    assert_eq!(read.sealed_names(), b"sealed");
    assert_eq!(read.devices(), [person.listed(1), person.listed(2), person.listed(127)]);
    assert_eq!(read.device(DeviceNumber::new(2).unwrap()), Some(&person.listed(2)));
    assert_eq!(read.device(DeviceNumber::new(3).unwrap()), None);
    assert_eq!(
        read.mailboxes().map(|mailbox| mailbox.registration.get()).collect::<Vec<_>>(),
        [1_001, 1_002, 1_127]
    );
}

#[test]
fn the_bytes_are_fixed() {
    let list = person(1).list(1, &[1]);
    expect!["0ad4010a104b735738f1fc2f9cbf98e1f6d12a6d7b122035f78f12be0637bf278a6ed27c140922016870f79164910cfcc54d994eaf942b18012080bcd9f29e342a8c01080110e9071a2105a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a20922208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c2a40d95c8144be4652aa15fb1e41600397704e8281b551a72e5c07f91239172857deeb58e92c9922e1a9ce2896d33cf8a535aef45ccfa217cf936e3445f9247bc30332067365616c656412408e9747666e693e33a8447e42f88366ed53561f3f74801ceb0813a7173f1cbcb7e790a2b863f40f0c97ad3067c55ff7a8a908d4b2353a96d4360fca312cca6d05"].assert_eq(&hex::encode(list.as_bytes()));
    expect!["2224d3fed2ea9ee9a3d0cb2813b69e56b0e1c4de407128e93ef1040702dbeb1f"]
        .assert_eq(&hex::encode(list.hash()));
}

#[test]
fn every_rule_refuses() {
    use ListError::*;
    assert!(forge(|_| ()).is_ok(), "the control: an unchanged list is accepted");
    assert_eq!(forge(|list| list.account = person(2).id().as_bytes().to_vec()), Err(WrongAccount));
    assert_eq!(forge(|list| list.account.truncate(15)), Err(Malformed));
    assert_eq!(
        forge(|list| list.account_key = person(2).account.public().as_bytes().to_vec()),
        Err(WrongAccount)
    );
    assert_eq!(forge(|list| list.account_key = vec![0; 32]), Err(Malformed));
    assert_eq!(forge(|list| list.version = 0), Err(VersionZero));
    assert_eq!(forge(|list| list.devices.clear()), Err(DeviceCount));
    assert_eq!(forge(|list| list.devices = raw(&[1, 2, 3, 4, 5]).devices).map(|_| ()), Ok(()));
    assert_eq!(forge(|list| *list = six_devices()), Err(DeviceCount));
    assert_eq!(forge(|list| list.devices.reverse()), Err(DeviceOrder));
    assert_eq!(forge(|list| list.devices[1] = list.devices[0].clone()), Err(DeviceOrder));
    assert_eq!(forge(|list| drop(list.devices.remove(0))), Err(PrimaryMissing));
    assert_eq!(forge(|list| list.devices[0].number = 0), Err(Malformed));
    assert_eq!(forge(|list| list.devices[1].number = 128), Err(Malformed));
    assert_eq!(forge(|list| list.devices[1].number = 3), Err(BadDeviceSignature));
    assert_eq!(forge(|list| list.devices[1].registration = 0), Err(Malformed));
    assert_eq!(forge(|list| list.devices[1].registration = 16_381), Err(Malformed));
    assert_eq!(forge(|list| list.devices[1].registration = 77), Err(BadDeviceSignature));
    assert_eq!(
        forge(|list| list.devices[1].identity_key = identity(9).as_bytes().to_vec()),
        Err(BadDeviceSignature)
    );
    assert_eq!(
        forge(|list| list.devices[1].identity_key = [&[5][..], &[0; 32]].concat()),
        Err(BadIdentityKey)
    );
    assert_eq!(forge(|list| list.devices[1].identity_key[0] = 6), Err(BadIdentityKey));
    assert_eq!(
        forge(|list| list.devices[1].device_key = person(9).device.public().as_bytes().to_vec()),
        Err(BadDeviceSignature)
    );
    assert_eq!(forge(|list| list.devices[1].device_key = vec![0; 32]), Err(BadDeviceKey));
    assert_eq!(forge(|list| list.devices[1].device_signature[5] ^= 1), Err(BadDeviceSignature));
    assert_eq!(forge(|list| list.devices[1].device_signature.clear()), Err(BadDeviceSignature));
    assert_eq!(forge(|list| list.sealed_names = vec![0; SEALED_NAMES_BYTES_MAX]).map(|_| ()), Ok(()));
    assert_eq!(forge(|list| list.sealed_names = vec![0; SEALED_NAMES_BYTES_MAX + 1]), Err(NamesTooLong));
    assert_eq!(forge(|list| list.sealed_names = vec![0; 20_000]), Err(TooLarge));
    assert_eq!(DeviceList::verify(&[]), Err(Malformed));
}

fn six_devices() -> proto::DeviceList {
    let mut list = raw(&[1, 2, 3, 4, 5]);
    list.devices.push(raw(&[1, 6]).devices.remove(1));
    list
}

/// Signs an entry for device 2 whose keys are those of device 1, in whole or in part.
fn sharing(identity_of: u8, device_key_of: u8) -> Result<DeviceList, ListError> {
    forge(|list| {
        let entry = &mut list.devices[1];
        let seed = [device_key_of; 32];
        entry.identity_key = identity(identity_of).as_bytes().to_vec();
        entry.device_key = signed::DeviceSecret::from_bytes(&seed).public().as_bytes().to_vec();
        let binding = proto::DeviceBinding {
            account: list.account.clone(),
            number: entry.number,
            registration: entry.registration,
            identity_key: entry.identity_key.clone(),
            device_key: entry.device_key.clone(),
        };
        entry.device_signature = raw_signature(&seed, "waxwing device binding v1", &binding.encode_to_vec());
    })
}

#[test]
fn no_two_devices_share_a_key() {
    assert!(sharing(2, 2).is_ok());
    assert_eq!(sharing(1, 2), Err(ListError::SharedKey));
    assert_eq!(sharing(2, 1), Err(ListError::SharedKey));
}

#[test]
fn a_device_of_another_account_cannot_be_listed() {
    let entry = person(2).listed(2);
    let refused = person(1).draft(1, vec![person(1).listed(1), entry]).sign(&person(1).account);
    assert_eq!(refused, Err(ListError::BadDeviceSignature));
}

#[test]
fn only_the_account_key_signs_and_only_for_this_purpose() {
    let list = raw(&[1]).encode_to_vec();
    let sign = |seed: &[u8; 32], label: &str| {
        let signature = raw_signature(seed, label, &list);
        DeviceList::verify(&proto::SignedDeviceList { list: list.clone(), signature }.encode_to_vec())
    };
    let (own, other) = (person(1).account.to_bytes(), person(2).account.to_bytes());
    assert!(sign(&own, "waxwing device list v1").is_ok());
    assert_eq!(sign(&other, "waxwing device list v1"), Err(ListError::BadSignature));
    assert_eq!(sign(&own, "waxwing device certificate v1"), Err(ListError::BadSignature));
    assert_eq!(sign(&own, "waxwing device list v"), Err(ListError::BadSignature));
}

#[test]
fn no_byte_can_be_changed() {
    let carried = person(1).list(3, &[1, 2]).as_bytes().to_vec();
    for at in 0..carried.len() {
        let mut changed = carried.clone();
        changed[at] ^= 1;
        assert!(DeviceList::verify(&changed).is_err(), "byte {at}");
    }
}

#[test]
fn the_wrapper_has_one_encoding() {
    let carried = person(1).list(3, &[1]).as_bytes().to_vec();
    let wrapper = proto::SignedDeviceList::decode(&carried[..]).unwrap();
    let only_list = proto::SignedDeviceList { list: wrapper.list, signature: vec![] }.encode_to_vec();
    let only_signature =
        proto::SignedDeviceList { list: vec![], signature: wrapper.signature }.encode_to_vec();
    assert_eq!([&only_list[..], &only_signature].concat(), carried);
    let second_forms = [
        [&only_signature[..], &only_list].concat(),
        [&carried[..], &UNKNOWN_FIELD].concat(),
        [&carried[..], &carried].concat(),
    ];
    for form in second_forms {
        assert_eq!(DeviceList::verify(&form), Err(ListError::Malformed));
    }
}

#[test]
fn unknown_fields_inside_survive_and_are_part_of_the_hash() {
    let plain = raw(&[1]).encode_to_vec();
    let extended = [&plain[..], &UNKNOWN_FIELD].concat();
    let carried = sign_list_bytes(&person(1), extended);
    let list = DeviceList::verify(&carried).unwrap();
    assert_eq!(list.as_bytes(), carried);
    assert_ne!(list.hash(), DeviceList::verify(&sign_list_bytes(&person(1), plain)).unwrap().hash());
}

#[test]
fn only_a_higher_version_of_the_same_account_succeeds() {
    let alice = person(1);
    let known = alice.list(3, &[1]);
    assert_eq!(alice.list(4, &[1, 2]).successor_of(&known), Ok(Succession::Newer));
    assert_eq!(alice.list(90, &[1]).successor_of(&known), Ok(Succession::Newer));
    assert_eq!(alice.list(3, &[1]).successor_of(&known), Ok(Succession::Same));
    assert_eq!(alice.list(2, &[1]).successor_of(&known), Err(SuccessionError::Rollback));
    assert_eq!(alice.list(3, &[1, 2]).successor_of(&known), Err(SuccessionError::Fork));
    assert_eq!(person(2).list(4, &[1]).successor_of(&known), Err(SuccessionError::OtherAccount));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_is_what_is_read(
        version in 1..=u64::MAX,
        issued_at in any::<u64>(),
        linked in proptest::collection::btree_set(2..=127u32, 0..=4),
        sealed_names in proptest::collection::vec(any::<u8>(), 0..=SEALED_NAMES_BYTES_MAX),
    ) {
        let person = person(1);
        let devices: Vec<_> = std::iter::once(1).chain(linked).map(|number| person.listed(number)).collect();
        let issued_at = Timestamp::from_millis(issued_at);
        let draft = DeviceListDraft { version, issued_at, devices: devices.clone(), sealed_names: sealed_names.clone() };
        let list = DeviceList::verify(draft.sign(&person.account).unwrap().as_bytes()).unwrap();
        prop_assert_eq!(list.version(), version);
        prop_assert_eq!(list.issued_at(), issued_at);
        prop_assert_eq!(list.devices(), &devices[..]);
        prop_assert_eq!(list.sealed_names(), &sealed_names[..]);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = DeviceList::verify(&bytes);
        let _ = DeviceList::verify(&sign_list_bytes(&person(1), bytes));
    }
}
