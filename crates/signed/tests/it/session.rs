use crate::fixtures::{person, raw_signature};
use expect_test::expect;
use proptest::prelude::*;
use signed::{SessionProof, Signature};
use types::{AccountId, DeviceNumber};

fn proof() -> SessionProof<'static> {
    SessionProof {
        version: 1,
        origin: "https://chat.example.org",
        account: person(1).id(),
        device: DeviceNumber::PRIMARY,
        connection_number: 7,
        nonce: [9; 32],
    }
}

#[test]
fn a_device_proves_its_key() {
    let secret = person(1).device;
    assert!(proof().verify(&secret.public(), &proof().sign(&secret)));
    assert!(!proof().verify(&person(2).device.public(), &proof().sign(&secret)));
}

#[test]
fn a_proof_opens_nothing_but_what_it_was_made_for() {
    let secret = person(1).device;
    let signature = proof().sign(&secret);
    let others = [
        SessionProof { version: 2, ..proof() },
        SessionProof { origin: "https://chat.example.com", ..proof() },
        SessionProof { account: person(2).id(), ..proof() },
        SessionProof { device: DeviceNumber::new(2).unwrap(), ..proof() },
        SessionProof { connection_number: 8, ..proof() },
        SessionProof { nonce: [8; 32], ..proof() },
    ];
    for other in others {
        assert!(!other.verify(&secret.public(), &signature), "{other:?}");
    }
}

#[test]
fn the_bytes_are_fixed() {
    expect!["0777617877696e6700000001001868747470733a2f2f636861742e6578616d706c652e6f72674b735738f1fc2f9cbf98e1f6d12a6d7b0100000000000000070909090909090909090909090909090909090909090909090909090909090909"].assert_eq(&hex::encode(proof().to_bytes()));
    let secret = person(1).device;
    let raw = raw_signature(&secret.to_bytes(), "waxwing session v1", &proof().to_bytes());
    assert_eq!(proof().sign(&secret).as_bytes()[..], raw[..]);
}

#[test]
fn an_origin_over_the_limit_is_never_verified() {
    let secret = person(1).device;
    let long = "o".repeat(signed::ORIGIN_BYTES_MAX + 1);
    let proof = SessionProof { origin: &long, ..proof() };
    assert!(!proof.verify(&secret.public(), &proof.sign(&secret)));
}

#[test]
fn a_signature_made_for_another_purpose_is_refused() {
    let secret = person(1).device;
    let bytes = proof().to_bytes();
    for label in ["waxwing device binding v1", "waxwing group operation v1", "waxwing session v", ""] {
        let signature = Signature::from_slice(&raw_signature(&secret.to_bytes(), label, &bytes)).unwrap();
        assert!(!proof().verify(&secret.public(), &signature), "{label}");
    }
}

proptest! {
    #[test]
    fn different_proofs_never_have_the_same_bytes(
        one in (any::<u32>(), "[a-z:/.]{0,40}", any::<[u8; 16]>(), 1..=127u32, any::<u64>()),
        two in (any::<u32>(), "[a-z:/.]{0,40}", any::<[u8; 16]>(), 1..=127u32, any::<u64>()),
    ) {
        let bytes = |(version, origin, account, device, connection_number): &(u32, String, [u8; 16], u32, u64)| {
            SessionProof {
                version: *version,
                origin,
                account: AccountId::from_bytes(*account),
                device: DeviceNumber::new(*device).unwrap(),
                connection_number: *connection_number,
                nonce: [0; 32],
            }
            .to_bytes()
        };
        prop_assert_eq!(one == two, bytes(&one) == bytes(&two));
    }
}
