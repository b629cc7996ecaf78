use crate::fixtures::{identity, person};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use signed::{AccountKey, AccountSecret, DeviceKey, DeviceSecret, IdentityKey, Signature, keys};

/// Every u-coordinate of low order below 2^255 (RFC 7748 and cr.yp.to/ecdh.html, "Do not validate").
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn low_order_points() -> impl Iterator<Item = [u8; 32]> {
    LOW_ORDER.iter().flat_map(|point| {
        let point: [u8; 32] = hex::decode(point).unwrap().try_into().unwrap();
        let mut with_top_bit = point;
        with_top_bit[31] |= 0x80;
        [point, with_top_bit]
    })
}

#[test]
fn low_order_points_are_found_and_no_honest_key_is() {
    assert!(low_order_points().all(|point| keys::is_low_order(&point)));
    for seed in 0..=255 {
        let point: [u8; 32] = identity(seed).as_bytes()[1..].try_into().unwrap();
        assert!(!keys::is_low_order(&point));
    }
}

#[test]
fn an_identity_key_is_33_bytes_of_type_5_in_canonical_form_and_not_of_low_order() {
    let honest = *identity(1).as_bytes();
    assert!(IdentityKey::from_slice(&honest).is_ok());
    for point in low_order_points() {
        assert!(IdentityKey::from_slice(&[&[5][..], &point].concat()).is_err());
    }
    let mut other_type = honest;
    other_type[0] = 4;
    let mut second_form = honest;
    second_form[32] |= 0x80;
    // 9 + p encodes the base point once more.
    let mut above_prime = [0xff; 33];
    (above_prime[0], above_prime[1], above_prime[32]) = (5, 0xf6, 0x7f);
    for refused in [&other_type[..], &second_form, &above_prime, &honest[..32], &[]] {
        assert!(IdentityKey::from_slice(refused).is_err());
    }
}

#[test]
fn ed25519_keys_of_low_order_or_off_the_curve_are_refused() {
    let refused = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "0200000000000000000000000000000000000000000000000000000000000000",
    ];
    for key in refused {
        let bytes = hex::decode(key).unwrap();
        assert!(AccountKey::from_slice(&bytes).is_err(), "{key}");
        assert!(DeviceKey::from_slice(&bytes).is_err(), "{key}");
    }
    assert!(AccountKey::from_slice(&[1; 31]).is_err());
    assert!(Signature::from_slice(&[1; 63]).is_err());
}

#[test]
fn a_secret_survives_its_bytes() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let secret = AccountSecret::random(&mut rng);
    assert_eq!(AccountSecret::from_bytes(&secret.to_bytes()).public(), secret.public());
    assert_ne!(AccountSecret::random(&mut rng).public(), secret.public());
    let device = DeviceSecret::random(&mut rng);
    assert_eq!(DeviceKey::from_slice(device.public().as_bytes()).unwrap(), device.public());
}

#[test]
fn no_key_shows_its_bytes() {
    let person = person(1);
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        person.account,
        person.account.public(),
        person.device,
        person.device.public(),
        identity(1)
    );
    assert_eq!(
        shown,
        "AccountSecret(redacted) AccountKey(redacted) DeviceSecret(redacted) DeviceKey(redacted) \
         IdentityKey(redacted)"
    );
}
