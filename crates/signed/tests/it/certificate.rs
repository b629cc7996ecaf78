use crate::fixtures::{UNKNOWN_FIELD, person, raw_signature};
use expect_test::expect;
use prost::Message;
use signed::{CertificateError, DeviceCertificate, proto};

fn forge(change: impl FnOnce(&mut proto::DeviceCertificate)) -> Result<DeviceCertificate, CertificateError> {
    let person = person(1);
    let carried = person.certificate().as_bytes().to_vec();
    let wrapper = proto::SignedDeviceCertificate::decode(&carried[..]).unwrap();
    let mut raw = proto::DeviceCertificate::decode(&wrapper.certificate[..]).unwrap();
    change(&mut raw);
    verify_signed(raw.encode_to_vec())
}

fn verify_signed(certificate: Vec<u8>) -> Result<DeviceCertificate, CertificateError> {
    let person = person(1);
    let signature = raw_signature(&person.account.to_bytes(), "waxwing device certificate v1", &certificate);
    let carried = proto::SignedDeviceCertificate { certificate, signature }.encode_to_vec();
    DeviceCertificate::verify(&carried, &person.account.public())
}

#[test]
fn a_certificate_verifies_and_its_bytes_are_fixed() {
    let person = person(1);
    let made = person.certificate();
    let read = DeviceCertificate::verify(made.as_bytes(), &person.account.public()).unwrap();
    assert_eq!(made, read);
    assert_eq!((read.account(), read.device_key()), (person.id(), &person.device.public()));
    expect!["0a360a104b735738f1fc2f9cbf98e1f6d12a6d7b10011a205ff2a7c4f7d53f31424aae7ee46fb5149ea984cbf5ff346e2373609b143fe1f812409913cebab41067f9c61c4d643a34a3ceb1cae2c3b4ac80d9d1259c953692925b83fefd0b958aba4e7e9863e5e37287bce4150fc6fd6f19bac124235ed947da0d"].assert_eq(&hex::encode(made.as_bytes()));
}

#[test]
fn every_field_is_checked() {
    use CertificateError::*;
    assert!(forge(|_| ()).is_ok());
    assert_eq!(forge(|raw| raw.account = person(2).id().as_bytes().to_vec()), Err(WrongAccount));
    assert_eq!(forge(|raw| raw.account.truncate(15)), Err(Malformed));
    assert_eq!(forge(|raw| raw.number = 0), Err(Malformed));
    assert_eq!(forge(|raw| raw.number = 128), Err(Malformed));
    assert_eq!(forge(|raw| raw.device_key = vec![0; 32]), Err(Malformed));
    assert_eq!(forge(|raw| raw.device_key.truncate(31)), Err(Malformed));
}

#[test]
fn another_accounts_key_does_not_verify_it() {
    let carried = person(1).certificate().as_bytes().to_vec();
    let refused = DeviceCertificate::verify(&carried, &person(2).account.public());
    assert_eq!(refused, Err(CertificateError::WrongAccount));
}

#[test]
fn no_byte_can_be_changed_and_nothing_be_added_outside() {
    let (carried, key) = (person(1).certificate().as_bytes().to_vec(), person(1).account.public());
    for at in 0..carried.len() {
        let mut changed = carried.clone();
        changed[at] ^= 1;
        assert!(DeviceCertificate::verify(&changed, &key).is_err(), "byte {at}");
    }
    assert!(DeviceCertificate::verify(&[&carried[..], &UNKNOWN_FIELD].concat(), &key).is_err());
}

#[test]
fn unknown_fields_inside_survive() {
    let wrapper = proto::SignedDeviceCertificate::decode(person(1).certificate().as_bytes()).unwrap();
    let extended = [&wrapper.certificate[..], &UNKNOWN_FIELD].concat();
    let certificate = verify_signed(extended).unwrap();
    assert!(certificate.as_bytes().windows(UNKNOWN_FIELD.len()).any(|window| window == UNKNOWN_FIELD));
}
