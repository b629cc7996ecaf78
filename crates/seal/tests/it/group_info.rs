//! A group's name and its invite link: for members and invited people, not for the server.

use crate::support::rng;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use expect_test::expect;
use proptest::prelude::*;
use seal::group_info::{
    GROUP_DESCRIPTION_BYTES_MAX, GROUP_NAME_CHARS_MAX, GroupInfo, InfoInvalid, open, seal,
};
use seal::{GroupSecret, InviteSecret};
use signed::group::SEALED_INFO_BYTES_MAX;
use signed::keys::LinkSecret;

fn secret(byte: u8) -> GroupSecret {
    GroupSecret::from_slice(&[byte; 32]).unwrap()
}

fn info(name: &str) -> GroupInfo {
    GroupInfo::new(name, "").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_info_is_read_back(name in "[a-zA-Z0-9é你]{1,100}", description in "[^\u{0}]{0,500}") {
        let info = GroupInfo::new(&name, &description).unwrap();
        prop_assert_eq!((info.name(), info.description()), (name.as_str(), description.as_str()));
        prop_assert_eq!(open(&secret(1), &seal(&secret(1), &info, &mut rng(1))), Ok(info));
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(open(&secret(1), &bytes), Err(InfoInvalid));
    }

    #[test]
    fn an_invite_is_read_as_it_was_written(seed: [u8; 32], secret: [u8; 32]) {
        let group = GroupSecret::from_slice(&secret).unwrap();
        let invite = InviteSecret { link: LinkSecret::from_bytes(&seed), group };
        let text = invite.to_text();
        prop_assert_eq!(URL_SAFE_NO_PAD.decode(&*text).unwrap(), [seed, secret].concat());
        let read = InviteSecret::from_text(&text).unwrap();
        prop_assert_eq!(read.link.to_bytes(), invite.link.to_bytes());
        prop_assert_eq!(read.group, invite.group);
    }

    #[test]
    fn any_text_is_an_invite_or_not(text in "[A-Za-z0-9_=-]{80,90}") {
        if let Ok(invite) = InviteSecret::from_text(&text) {
            prop_assert_eq!(&*invite.to_text(), &text);
        }
    }
}

#[test]
fn the_largest_info_fits_into_an_operation() {
    let name = "𝄞".repeat(GROUP_NAME_CHARS_MAX);
    let description = "d".repeat(GROUP_DESCRIPTION_BYTES_MAX);
    let largest = GroupInfo::new(&name, &description).unwrap();
    let sealed = seal(&secret(1), &largest, &mut rng(1));
    assert!(sealed.len() <= SEALED_INFO_BYTES_MAX, "{}", sealed.len());
    assert_eq!(open(&secret(1), &sealed), Ok(largest));
    assert!(GroupInfo::new(&format!("{name}x"), "").is_err());
    assert!(GroupInfo::new("name", &format!("{description}x")).is_err());
    assert_eq!(GroupInfo::new(" Family\n", "two\nlines").unwrap().name(), "Family");
    for name in ["", " ", "two\nlines", "\u{1b}[31mred", "left\u{202e}tfel"] {
        assert!(GroupInfo::new(name, "").is_err(), "{name:?}");
    }
}

#[test]
fn an_info_opens_with_its_groups_secret_alone() {
    let sealed = seal(&secret(1), &info("Family"), &mut rng(1));
    assert_eq!(open(&secret(2), &sealed), Err(InfoInvalid));
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(open(&secret(1), &changed), Err(InfoInvalid), "byte {at}");
    }
    assert_eq!(seal(&secret(1), &info("Fam"), &mut rng(1)).len(), sealed.len(), "length says little");
    expect!["9a3744504560639ec670b7a17d492b273e077b0a96bef58b63119c86f21d7ac315d6257db8b397757d7f4340df5f8f7051ffec97317ad9e08151bb346e24e890f887367fd781a738732b9e054a0d10670e2fa0104ccd3e9979f22cd526c8ccdd27534b7e7e4beff0c7c602c001aaf334ccfa81bd6be32d7ead52403fd35a727be8f74df46ceec73d791a14d0f6dbdcdc995a0c3e001292210052e5ce3f933a1ca4fac572813e7defb05d5d113f807ec6a8499b6cd9c7e8f60aa0f2ce5cbcceb94461859623cd5b42"].assert_eq(&hex::encode(sealed));
}

#[test]
fn what_is_no_invite_is_refused() {
    let invite = InviteSecret { link: LinkSecret::from_bytes(&[1; 32]), group: secret(2) };
    let text = invite.to_text().to_string();
    expect!["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQECAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg"]
        .assert_eq(&text);
    assert_eq!(format!("{invite:?}"), "InviteSecret(redacted)");
    for wrong in [
        "",
        &text[1..],
        &format!("{text}A"),
        &format!("{text}="),
        &format!("#{text}"),
        &text.replace('E', "+"),
    ] {
        assert!(InviteSecret::from_text(wrong).is_err(), "{wrong}");
    }
}
