//! What must be true of the vocabulary.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use std::collections::BTreeSet;
use types::{
    AccountId, DeviceNumber, MessageId, NodeId, PhoneNumber, Redact, RegistrationId, Stamp, Timestamp,
};

/// A generator whose numbers the test chooses.
struct Fixed(u8);

impl rand_core::RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes([self.0; 4])
    }
    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes([self.0; 8])
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

proptest! {
    #[test]
    fn stamps_sort_as_their_text(a in any::<(u64, u16)>(), b in any::<(u64, u16)>()) {
        let [a, b] = [a, b].map(|(clock, node)| Stamp::new(clock, NodeId(node)));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(a.to_string().parse::<Stamp>().unwrap(), a);
        prop_assert_eq!(a.to_string().len(), 20);
    }

    #[test]
    fn ids_survive_their_text(bytes in any::<[u8; 16]>()) {
        let account = AccountId::from_bytes(bytes);
        prop_assert_eq!(account.to_string().parse::<AccountId>().unwrap(), account);
        let message = MessageId::from_bytes(bytes);
        prop_assert_eq!(message.to_string().parse::<MessageId>().unwrap(), message);
        prop_assert_eq!(message.to_string().to_uppercase().parse::<MessageId>().unwrap(), message);
    }

    #[test]
    fn reading_any_text_never_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<AccountId>();
        let _ = text.parse::<MessageId>();
        let _ = text.parse::<Stamp>();
        let _ = text.parse::<PhoneNumber>();
    }

    #[test]
    fn times_sort_as_their_text(a in 0..=Timestamp::MAX.as_millis(), b in 0..=Timestamp::MAX.as_millis()) {
        let [a, b] = [a, b].map(Timestamp::from_millis);
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }
}

#[test]
fn times_are_rfc_3339() {
    let cases = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_763_821_230_045, "2025-11-22T14:20:30.045Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (u64::MAX, "9999-12-31T23:59:59.999Z"),
    ];
    for (millis, text) in cases {
        assert_eq!(Timestamp::from_millis(millis).to_string(), text);
    }
}

#[test]
fn a_message_id_is_a_version_7_uuid() {
    let id = MessageId::new(Timestamp::from_millis(0x0199_0000_abcd), &mut Fixed(0xff));
    assert_eq!(id.to_string(), "01990000-abcd-7fff-bfff-ffffffffffff");
}

#[test]
fn what_is_not_a_uuid_is_refused() {
    for text in [
        "",
        "01990000abcd7fffbfffffffffffffff",
        "01990000-abcd-7fff-bfff-fffffffffff",
        "01990000-abcd-7fff-bfff-fffffffffffg",
        "0199000-0abcd-7fff-bfff-ffffffffffff",
        "€1990000-abcd-7fff-bfff-fffffffffff",
    ] {
        assert!(text.parse::<MessageId>().is_err(), "{text}");
    }
}

#[test]
fn numbers_are_e164() {
    for (text, number) in [
        ("+15552000100", "+15552000100"),
        ("+1 (555) 200-0100", "+15552000100"),
        ("+49.30.123456", "+4930123456"),
    ] {
        assert_eq!(text.parse::<PhoneNumber>().unwrap().e164(), number);
    }
    for text in [
        "",
        "+",
        "15552000100",
        "+0155520001",
        "+123456",
        "+1234567890123456",
        "+1555200010x",
        "++15552000100",
    ] {
        assert!(text.parse::<PhoneNumber>().is_err(), "{text}");
    }
}

#[test]
fn a_number_does_not_slip_out() {
    let number: PhoneNumber = "+15552000123".parse().unwrap();
    assert_eq!(number.masked(), "+155******23");
    assert!(!format!("{number:?} {:?}", Redact::new("+15552000123".to_owned())).contains("2000"));
}

#[test]
fn ranges_hold() {
    assert!(DeviceNumber::new(0).is_err() && DeviceNumber::new(128).is_err());
    assert!(DeviceNumber::new(1).is_ok() && DeviceNumber::new(127).is_ok());
    assert!(RegistrationId::new(0).is_err() && RegistrationId::new(RegistrationId::MAX + 1).is_err());
    let drawn: BTreeSet<_> = (0..=255).map(|byte| RegistrationId::random(&mut Fixed(byte)).get()).collect();
    assert!(drawn.iter().all(|id| (1..=RegistrationId::MAX).contains(id)));
}
