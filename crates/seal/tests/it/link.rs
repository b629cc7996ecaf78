//! Linking: two ends with the same code agree, and whoever stands between them is refused or shows.

use crate::link_scene::{Scene, keys_of, message, nonce_of, number, scene};
use crate::protobuf::{Field, decode, encode, get};
use crate::support::rng;
use expect_test::expect;
use proptest::prelude::*;
use seal::link::{Completion, InvitedDevice, LinkCode, LinkError, NewDevice, Primary};
use sha2::{Digest, Sha256};
use signed::{DeviceCertificate, DeviceSecret, ListedDevice, account_id};
use types::limits;
use x25519_dalek::x25519;

#[test]
fn a_device_is_linked_and_both_sides_show_the_same() {
    let scene = scene(1);
    // Each side is started anew after every step.
    let new_device = NewDevice::from_slice(&scene.new_device.to_bytes()).unwrap();
    let code: LinkCode = new_device.code().to_string().parse().unwrap();
    assert_eq!(code.link(), new_device.link());
    let primary =
        Primary::invite(&code, new_device.offer().as_bytes(), scene.invitation(), &mut rng(2)).unwrap();
    let primary = Primary::from_slice(&primary.to_bytes()).unwrap();
    let invited = new_device.accept(primary.message(), &scene.device, &scene.name, &mut rng(3)).unwrap();
    let invited = InvitedDevice::from_slice(&invited.to_bytes()).unwrap();
    assert_eq!(invited.invitation(), &scene.invitation());
    assert_eq!(invited.invitation().account(), account_id(&scene.account.public()));

    let candidate = primary.open_answer(invited.answer()).unwrap();
    assert_eq!(invited.digits(), candidate.digits);
    assert_eq!(invited.digits().to_string().len(), 6);
    assert_eq!((&candidate.listed, candidate.name.as_str()), (&scene.listed(number(2)), "Laptop"));
    let completion = primary.complete(&scene.completion(), &mut rng(4)).unwrap();
    assert_eq!(invited.complete(&completion).unwrap(), scene.completion());
    assert_eq!((primary.link(), invited.link()), (code.link(), code.link()));
}

/// The same by hand: keys, digits and every body as the contract says.
#[test]
fn the_bytes_are_those_of_the_contract() {
    let scene = scene(1);
    let link = scene.new_device.link();
    let primary = scene.invite();
    let invited = scene.accept(primary.message()).unwrap();
    let completion = primary.complete(&scene.completion(), &mut rng(4)).unwrap();
    let keys = keys_of(&scene, primary.message());
    let nonce = nonce_of(&scene.new_device);
    let digits = keys.digits(primary.message(), &nonce);
    assert_eq!(digits, invited.digits().to_string());
    let commitment = Sha256::digest([b"waxwing link nonce v1".as_slice(), &nonce].concat());
    assert_eq!(get(scene.new_device.offer().as_bytes(), 5).unwrap(), commitment.as_slice());
    let invitation = keys.open(0, link, &get(primary.message(), 2).unwrap()).unwrap();
    let answer = keys.open(1, link, &get(invited.answer(), 1).unwrap()).unwrap();
    let completion = keys.open(2, link, &get(&completion, 1).unwrap()).unwrap();
    assert_eq!(get(&completion, 1).unwrap(), scene.completion().list.as_bytes());
    assert_eq!(get(&completion, 2).unwrap(), scene.completion().certificate.as_bytes());
    assert_eq!(get(&completion, 3).unwrap(), [0x5c; 32]);

    expect!["wxl1-c475afaa6e366d69060b7bb40d0294fd0c695f28bef73f239b7fd95a5365ca61aee8767ab5f69cefd1ceeead20c6e99b31d2ba98964f430c152f1ef08a712eb7"]
        .assert_eq(&scene.new_device.code().to_string());
    expect!["0a2105105dd2c6d70785c8f4cae085725a1afc467ace853da75a3843df4c259a11fe191220d68e3508ebd2572c64adc814ad18dbe9628f5e9bc985c51fe4fb0a332e30cb4e18e6462220060b4b3a905d151469459985992c962b3d07c9788c0fbd1bcfa9b1fbdf4757442a205ccc386d54873c27b00d4dbecc9e7a303dd192c3b2af8c21cc9f4bb655a75ae9"].assert_eq(&hex::encode(scene.new_device.offer().as_bytes()));
    expect!["931939"].assert_eq(&digits);
    expect!["0a20ef9e8df6a723454684925863677e0249cfc526f692bd2de18dda2de22f18c25912c801f81515092900477cf4d1fc97070aa8fa54aaf38c352f63d40175ba05a51a9fc742dad57eb3d16d0eb0a82af2270dbe56f38757b69788804d6790220593b608282d1d25a35bf78839ec168e2ad085bcaa24cebadd1b273904632220ce7ed86210f44c41f8407115e92f841f484b4ae948c147caaad29bb46f3614867cca5ab9815c8112dcebcf89a18088de7a2f57548f3a1db37931f95f2e44459b2d8cf5c1a562ee032979aa35dddef17aa23fcc97f9692b69a883245d3544089767984eeaccb963d1b7ae2798f4"].assert_eq(&hex::encode(primary.message()));
    expect![
        "0a20478b8e507e0bb2b18c0f9e0824769e8562d10df9abe2e774896f82b4b440526610021a0c2b3135353532303030313030"
    ]
    .assert_eq(&hex::encode(invitation));
    expect!["0a4082330032dd681d6827fffadb4fdfc2abbd5fe47b48833099e41deb30406dc230e51624db76a8084a51a3749e7376109ac5ab89bc71c673e0c228831365f0620512064c6170746f701a20d97df24f3bfa9f8282264757c154789d7e714576478972afe975e9631036c05d"].assert_eq(&hex::encode(answer));
    expect!["c994baa41d7aeff4fc7fc8e4d45b2e22c80e2869d235f1ed91feb8ce7a7862047feab528a99d0988ba57da5a29e0553dc3b1cfa4cf606b0d857811bd4cf5951851d170428d2a8931bc0d31e7aecbd27da0fe4edb888dc0b43fd1778a890467dd7f625bd4c41dc2e4e87b2267e230bb889211552149a6f7af3ef6c1fa58ddc4c5"].assert_eq(&hex::encode(keys.0));
}

#[test]
fn an_offer_with_other_keys_is_refused() {
    let (honest, server) = (scene(1), scene(2));
    let code = honest.new_device.code();
    let invite = |offer: &[u8]| Primary::invite(&code, offer, honest.invitation(), &mut rng(2)).err();
    assert_eq!(invite(server.new_device.offer().as_bytes()), Some(LinkError::OtherOffer));
    // Not even one field of it, and nothing beside it.
    let offer = honest.new_device.offer().as_bytes();
    let other = decode(server.new_device.offer().as_bytes());
    for (at, field) in other.into_iter().enumerate() {
        let mut fields = decode(offer);
        fields[at] = field;
        assert_eq!(invite(&encode(&fields)), Some(LinkError::OtherOffer), "field {at}");
    }
    let longer = [offer, &encode(&[Field::Number(99, 1)])].concat();
    assert_eq!(invite(&longer), Some(LinkError::OtherOffer));
    assert_eq!(invite(b"no offer"), Some(LinkError::Malformed));
    assert_eq!(invite(offer), None, "the control");
}

/// A server that has everything but the code's secret.
#[test]
fn without_the_secret_nobody_invites() {
    let scene = scene(1);
    let mut code = scene.new_device.code().to_string();
    let last = if code.ends_with('0') { '1' } else { '0' };
    code.pop();
    code.push(last);
    let guessed: LinkCode = code.parse().unwrap();
    assert_ne!(guessed, scene.new_device.code());
    let offer = scene.new_device.offer().as_bytes();
    let forged = Primary::invite(&guessed, offer, scene.invitation(), &mut rng(2)).unwrap();
    assert_eq!(scene.accept(forged.message()).err(), Some(LinkError::NotAuthentic));
    // And nobody answers for the device.
    let honest = scene.invite();
    let invited = scene.accept(honest.message()).unwrap();
    assert_eq!(forged.open_answer(invited.answer()), Err(LinkError::NotAuthentic));
}

#[test]
fn an_invitation_with_another_key_is_refused() {
    let scene = scene(1);
    let honest = scene.invite();
    let sealed = Field::Bytes(2, get(honest.message(), 2).unwrap());
    let with_key = |key: Vec<u8>| encode(&[Field::Bytes(1, key), sealed.clone()]);
    let other = x25519([3; 32], x25519_dalek::X25519_BASEPOINT_BYTES);
    assert_eq!(scene.accept(&with_key(other.to_vec())).err(), Some(LinkError::NotAuthentic));
    for point in crate::guard::low_order_points() {
        assert_eq!(scene.accept(&with_key(point.to_vec())).err(), Some(LinkError::WeakKey));
    }
    assert_eq!(scene.accept(&with_key(vec![9; 31])).err(), Some(LinkError::Malformed));
    assert!(scene.accept(&with_key(get(honest.message(), 1).unwrap())).is_ok(), "the control");
}

/// An offer with a weak key is refused even if the code commits to it.
#[test]
fn an_offer_with_a_weak_key_is_refused() {
    let scene = scene(1);
    for point in crate::guard::low_order_points() {
        let mut fields = decode(scene.new_device.offer().as_bytes());
        fields[3] = Field::Bytes(4, point.to_vec());
        let offer = encode(&fields);
        let bytes = [&[1; 16][..], &Sha256::digest(&offer), &[2; 16]].concat();
        let code: LinkCode = code_text(&bytes).parse().unwrap();
        let invited = Primary::invite(&code, &offer, scene.invitation(), &mut rng(2));
        assert_eq!(invited.err(), Some(LinkError::Malformed));
    }
}

/// Somebody who photographed the code and has the server on their side invites in the primary's place: the device
/// cannot know, and people see other digits; and the true primary signs nothing for it.
#[test]
fn who_saw_the_code_shows_other_digits() {
    let (honest, attacker) = (scene(1), scene(2));
    let (code, offer) = (honest.new_device.code(), honest.new_device.offer().as_bytes());
    let primary = honest.invite();
    let would_show = honest.accept(primary.message()).unwrap().digits();
    let middle = Primary::invite(&code, offer, attacker.invitation(), &mut rng(9)).unwrap();
    let invited = honest.accept(middle.message()).unwrap();
    assert_eq!(invited.digits(), middle.open_answer(invited.answer()).unwrap().digits);
    assert_ne!(invited.digits(), would_show);
    assert_eq!(primary.open_answer(invited.answer()), Err(LinkError::NotAuthentic));
}

#[test]
fn what_belongs_to_another_link_is_refused() {
    let (one, other) = (scene(1), scene(2));
    let of_other = other.invite();
    assert_eq!(one.accept(of_other.message()).err(), Some(LinkError::NotAuthentic));
    // The same device in a second link: it draws a new id, ephemeral key and secret.
    let again = NewDevice::begin(&one.device, &mut rng(77));
    let replayed = again.accept(one.invite().message(), &one.device, &one.name, &mut rng(3));
    assert_eq!(replayed.err(), Some(LinkError::NotAuthentic));
    // Of two invitations to one device, each has its own answer and completion.
    let first = one.invite();
    let code = one.new_device.code();
    let offer = one.new_device.offer().as_bytes();
    let second = Primary::invite(&code, offer, one.invitation(), &mut rng(55)).unwrap();
    let invited = one.accept(first.message()).unwrap();
    assert_eq!(second.open_answer(invited.answer()), Err(LinkError::NotAuthentic));
    let completion = second.complete(&one.completion(), &mut rng(4)).unwrap();
    assert_eq!(invited.complete(&completion), Err(LinkError::NotAuthentic));
    // The three messages are no substitutes for each other.
    let as_answer = message(get(first.message(), 2).unwrap());
    assert_eq!(first.open_answer(&as_answer), Err(LinkError::NotAuthentic));
    assert_eq!(invited.complete(invited.answer()), Err(LinkError::NotAuthentic));
}

/// The server gives the offer of one link under the id of another.
#[test]
fn the_links_id_is_bound() {
    let scene = scene(1);
    let mut bytes = code_bytes(&scene.new_device.code());
    bytes[0] ^= 1;
    let moved: LinkCode = code_text(&bytes).parse().unwrap();
    let offer = scene.new_device.offer().as_bytes();
    let primary = Primary::invite(&moved, offer, scene.invitation(), &mut rng(2)).unwrap();
    assert_eq!(scene.accept(primary.message()).err(), Some(LinkError::NotAuthentic));
}

/// A primary that keeps to nothing, with the right keys.
#[test]
fn an_invitation_names_an_account_and_a_linked_device() {
    let scene = scene(1);
    let honest = scene.invite();
    let keys = keys_of(&scene, honest.message());
    let key = get(honest.message(), 1).unwrap();
    let invite = |account_key: &[u8], device: u64, phone: &str| {
        let body = encode(&[
            Field::Bytes(1, account_key.to_vec()),
            Field::Number(2, device),
            Field::Bytes(3, phone.into()),
        ]);
        let sealed = keys.seal(0, scene.new_device.link(), &body);
        scene.accept(&encode(&[Field::Bytes(1, key.clone()), Field::Bytes(2, sealed)])).err()
    };
    let (account, phone) = (*scene.account.public().as_bytes(), "+15552000100");
    assert_eq!(invite(&account, 2, phone), None, "the control");
    assert_eq!(invite(&account, 127, phone), None);
    let wrong = [
        invite(&account, 1, phone),
        invite(&account, 0, phone),
        invite(&account, 128, phone),
        invite(&account[1..], 2, phone),
        invite(&[0; 32], 2, phone),
        invite(&account, 2, "a phone"),
        invite(&account, 2, ""),
    ];
    for refused in wrong {
        assert_eq!(refused, Some(LinkError::Malformed));
    }
}

#[test]
fn a_device_without_a_place_is_told_so_and_by_nobody_else() {
    let scene = scene(1);
    let (code, offer) = (scene.new_device.code(), scene.new_device.offer().as_bytes());
    let told = Primary::turn_away(&code, offer, &mut rng(7)).unwrap();
    assert_eq!(scene.accept(&told).err(), Some(LinkError::TooManyDevices));
    assert_eq!(told.len(), scene.invite().message().len(), "the server does not see the difference");

    let other = self::scene(2);
    assert_eq!(other.accept(&told).err(), Some(LinkError::NotAuthentic));
    let foreign = Primary::turn_away(&code, other.new_device.offer().as_bytes(), &mut rng(8));
    assert_eq!(foreign.err(), Some(LinkError::OtherOffer));
}

/// A device that keeps to nothing, with the right keys.
#[test]
fn an_answer_must_sign_for_this_account_number_and_these_keys() {
    let (honest, other) = (scene(1), scene(2));
    let primary = honest.invite();
    let keys = keys_of(&honest, primary.message());
    let answer = |signature: &[u8], name: &str| {
        let nonce = Field::Bytes(3, nonce_of(&honest.new_device));
        let body = encode(&[Field::Bytes(1, signature.to_vec()), Field::Bytes(2, name.into()), nonce]);
        message(keys.seal(1, honest.new_device.link(), &body))
    };
    let right = honest.listed(number(2));
    assert!(primary.open_answer(&answer(right.signature().as_bytes(), "Laptop")).is_ok(), "the control");
    for wrong in [honest.listed(number(3)), other.listed(number(2)), honest.primary.clone()] {
        let refused = primary.open_answer(&answer(wrong.signature().as_bytes(), "Laptop"));
        assert_eq!(refused, Err(LinkError::NotConsented));
    }
    let signature = right.signature().as_bytes();
    for name in ["", "two\nlines", &"x".repeat(65)] {
        assert_eq!(primary.open_answer(&answer(signature, name)), Err(LinkError::Malformed), "{name:?}");
    }
    assert_eq!(primary.open_answer(&answer(&signature[1..], "Laptop")), Err(LinkError::Malformed));
}

#[test]
fn a_completion_must_list_this_device_of_this_account() {
    let (honest, other) = (scene(1), scene(2));
    let primary = honest.invite();
    let invited = honest.accept(primary.message()).unwrap();
    let keys = keys_of(&honest, primary.message());
    let right = honest.completion();
    let certify = |scene: &Scene, device: u32, of: &Scene| {
        DeviceCertificate::sign(&scene.account, number(device), *of.listed(number(2)).device_key())
    };
    let account = account_id(&honest.account.public());
    let foreign = {
        let secret = DeviceSecret::from_bytes(other.device.device_key_seed.expose());
        let identity = *other.device.identity.public();
        ListedDevice::sign(account, number(2), other.device.registration, identity, &secret)
    };
    let wrong = [
        Completion { list: honest.list(vec![]), ..right.clone() },
        Completion { list: honest.list(vec![honest.listed(number(3))]), ..right.clone() },
        Completion { list: honest.list(vec![foreign]), ..right.clone() },
        Completion { list: other.completion().list, ..right.clone() },
        Completion { certificate: certify(&other, 2, &honest), ..right.clone() },
        Completion { certificate: certify(&honest, 3, &honest), ..right.clone() },
        Completion { certificate: certify(&honest, 2, &other), ..right.clone() },
    ];
    let forge = |completion: &Completion| {
        let body = encode(&[
            Field::Bytes(1, completion.list.as_bytes().to_vec()),
            Field::Bytes(2, completion.certificate.as_bytes().to_vec()),
            Field::Bytes(3, completion.sync_key.as_bytes().to_vec()),
        ]);
        message(keys.seal(2, honest.new_device.link(), &body))
    };
    assert_eq!(invited.complete(&forge(&right)), Ok(right.clone()), "the control");
    for completion in wrong {
        assert_eq!(primary.complete(&completion, &mut rng(4)), Err(LinkError::NotListed), "{completion:?}");
        assert_eq!(invited.complete(&forge(&completion)), Err(LinkError::NotListed), "{completion:?}");
    }
    assert_eq!(invited.complete(&vec![0; limits::LINK_COMPLETION_BYTES_MAX + 1]), Err(LinkError::Malformed));
}

/// A caller that mixes up two devices signs nothing.
#[test]
fn a_device_answers_with_the_keys_that_it_offered() {
    let (one, other) = (scene(1), scene(2));
    let refused = one.new_device.accept(one.invite().message(), &other.device, &one.name, &mut rng(3));
    assert_eq!(refused.err(), Some(LinkError::OtherDevice));
}

#[test]
fn every_bit_of_every_message_counts() {
    let scene = scene(1);
    let primary = scene.invite();
    let invited = scene.accept(primary.message()).unwrap();
    let completion = primary.complete(&scene.completion(), &mut rng(4)).unwrap();
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        bytes
    };
    for at in 0..8 * primary.message().len() {
        // The highest bit of a public key has no meaning (RFC 7748); it is bound all the same.
        assert!(scene.accept(&flipped(primary.message(), at)).is_err(), "invitation, bit {at}");
    }
    for at in 0..8 * invited.answer().len() {
        assert!(primary.open_answer(&flipped(invited.answer(), at)).is_err(), "answer, bit {at}");
    }
    for at in 0..8 * completion.len() {
        assert!(invited.complete(&flipped(&completion, at)).is_err(), "completion, bit {at}");
    }
}

#[test]
fn a_state_is_no_other_state() {
    let scene = scene(1);
    let primary = scene.invite();
    let invited = scene.accept(primary.message()).unwrap();
    let kept = [scene.new_device.to_bytes(), invited.to_bytes(), primary.to_bytes()];
    let read = |bytes: &[u8]| {
        [
            NewDevice::from_slice(bytes).is_ok(),
            InvitedDevice::from_slice(bytes).is_ok(),
            Primary::from_slice(bytes).is_ok(),
        ]
    };
    assert_eq!(
        kept.each_ref().map(|bytes| read(bytes)),
        [[true, false, false], [false, true, false], [false, false, true]]
    );
    assert_eq!(read(b""), [false; 3]);
    assert_eq!(NewDevice::from_slice(&kept[0]).unwrap().to_bytes(), kept[0]);
    assert_eq!(InvitedDevice::from_slice(&kept[1]).unwrap().to_bytes(), kept[1]);
    assert_eq!(Primary::from_slice(&kept[2]).unwrap().to_bytes(), kept[2]);
}

fn code_text(bytes: &[u8]) -> String {
    format!("wxl1-{}", hex::encode(bytes))
}

fn code_bytes(code: &LinkCode) -> Vec<u8> {
    hex::decode(&code.to_string()[5..]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_code_is_read_as_it_is_shown(bytes in prop::collection::vec(any::<u8>(), 64)) {
        let code: LinkCode = code_text(&bytes).parse().unwrap();
        prop_assert_eq!(code.to_string(), code_text(&bytes));
        let pasted: LinkCode = format!("  {code}\r\n").parse().unwrap();
        prop_assert_eq!(pasted, code);
    }

    #[test]
    fn a_code_is_read_in_any_case(bytes in prop::collection::vec(any::<u8>(), 64)) {
        let code: LinkCode = code_text(&bytes).parse().unwrap();
        prop_assert_eq!(code_text(&bytes).to_uppercase().parse::<LinkCode>().unwrap(), code);
    }

    #[test]
    fn any_text_is_a_code_or_not(text in "(wxl1-|WXL1-)?[A-Fa-f0-9]{127,129}") {
        if let Ok(code) = text.parse::<LinkCode>() {
            prop_assert_eq!(code.to_string(), text.to_lowercase());
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let scene = scene(1);
        prop_assert!(scene.accept(&bytes).is_err());
        prop_assert!(scene.invite().open_answer(&bytes).is_err());
    }
}

#[test]
fn what_is_no_code_is_refused() {
    let code = scene(1).new_device.code().to_string();
    let wrong = [
        code.replace("wxl1-", "wxl2-"),
        code.replace("wxl1-", ""),
        format!("{code}="),
        format!("{code}a"),
        format!("{code}aa"),
        code[..code.len() - 1].to_owned(),
        code[..code.len() - 2].to_owned(),
        format!("{}g", &code[..code.len() - 1]),
        format!("wxl1-\u{e9}{}", &code[7..]),
        String::new(),
    ];
    for text in wrong {
        assert!(text.parse::<LinkCode>().is_err(), "{text}");
    }
    assert!(!format!("{:?}", scene(1).new_device.code()).contains(&code[70..]));
}
