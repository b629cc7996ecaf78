//! Device names: what a person may call a device, and who can read it.

use crate::support::{NOW, rng};
use expect_test::expect;
use proptest::prelude::*;
use seal::SyncKey;
use seal::names::{DEVICE_NAME_CHARS_MAX, DeviceName, NamedDevice, NamesInvalid, open, seal};
use types::{AccountId, DeviceNumber};

const ME: AccountId = AccountId::from_bytes([0xa1; 16]);

fn key(byte: u8) -> SyncKey {
    SyncKey::from_slice(&[byte; 32]).unwrap()
}

fn named(number: u32, name: &str) -> NamedDevice {
    NamedDevice { device: DeviceNumber::new(number).unwrap(), name: name.parse().unwrap(), added_at: NOW }
}

#[test]
fn a_name_is_one_line_that_says_what_it_shows() {
    for good in
        ["Laptop", "Jörgs Rechner", "我的电脑", "a", "שולחן", "👩‍💻 work", &"é".repeat(DEVICE_NAME_CHARS_MAX)]
    {
        assert_eq!(good.parse::<DeviceName>().unwrap().as_str(), good);
    }
    assert_eq!("  Laptop\n".parse::<DeviceName>().unwrap().to_string(), "Laptop");
    let long = "é".repeat(DEVICE_NAME_CHARS_MAX + 1);
    for bad in [
        "",
        "   ",
        "a\nb",
        "a\rb",
        "\u{1b}[2Jx",
        "a\tb",
        "a\0b",
        "a\u{85}b",
        "a\u{202e}b",
        "a\u{2028}b",
        &long,
    ] {
        assert!(bad.parse::<DeviceName>().is_err(), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_are_read_back(names in prop::collection::vec("[a-zA-Z0-9é你]{1,64}", 0..=5)) {
        let names: Vec<_> = names.iter().zip(1..).map(|(name, number)| named(number, name)).collect();
        let sealed = seal(&key(1), ME, &names, &mut rng(1)).unwrap();
        prop_assert!(sealed.len() <= signed::SEALED_NAMES_BYTES_MAX);
        prop_assert_eq!(open(&key(1), ME, &sealed), Ok(names));
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(open(&key(1), ME, &bytes), Err(NamesInvalid));
    }
}

#[test]
fn the_longest_names_fit_into_a_list() {
    let longest = "𝄞".repeat(DEVICE_NAME_CHARS_MAX);
    let names: Vec<_> = (123..=127).map(|number| named(number, &longest)).collect();
    let sealed = seal(&key(1), ME, &names, &mut rng(1)).unwrap();
    assert!(sealed.len() <= signed::SEALED_NAMES_BYTES_MAX, "{}", sealed.len());
    assert_eq!(open(&key(1), ME, &sealed), Ok(names.clone()));
    let six: Vec<_> = names.into_iter().chain([named(1, "one too many")]).collect();
    assert_eq!(seal(&key(1), ME, &six, &mut rng(1)), Err(NamesInvalid));
}

#[test]
fn names_open_for_devices_of_the_account_alone() {
    let sealed = seal(&key(1), ME, &[named(1, "Phone"), named(2, "Laptop")], &mut rng(1)).unwrap();
    assert_eq!(open(&key(2), ME, &sealed), Err(NamesInvalid));
    assert_eq!(open(&key(1), AccountId::from_bytes([0xa2; 16]), &sealed), Err(NamesInvalid));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(open(&key(1), ME, &changed), Err(NamesInvalid), "byte {at}");
    }
    // Names of nearly the same length look alike to others.
    let shorter = seal(&key(1), ME, &[named(1, "Phone"), named(2, "Tablet 2")], &mut rng(1)).unwrap();
    assert_eq!(shorter.len(), sealed.len());
    expect!["9a3744504560639ec670b7a17d492b273e077b0a96bef58bf45f8a8d422a9713106312399de8fb6e4340df106b357941e7c34e8bd1e2faf70d03e79c04675e4116ff6fc0d238e1bc9b21c387627d548a60320cc2d3be40babee626ed1baa1b30d9043cbf7653a0904010d19dc24176de07a4dcbda22768d7f5b375eeebe43025580d80b71e61a01c09e709a8bf0c48cb6114b3c875df28d9618a48a293faa0ddb057e48bfab599fc1a46cca5dee7542f4478f43c2c98b2377199fec81f3341de54fa021be5a3b02b"].assert_eq(&hex::encode(sealed));
}
