//! Ids, stamps and numbers in their text forms, as they come in JSON and on command lines.

use crate::{Outcome, Sample, Target};
use std::{fmt::Display, str::FromStr};
use types::{AccountId, MessageId, PhoneNumber, Stamp};

/// Everything that is read from text.
pub(super) const IDS: Target = Target {
    name: "text_ids",
    run: read,
    samples: || {
        vec![
            Sample::new("account", *b"000102030405060708090a0b0c0d0e0f"),
            Sample::new("message", *b"0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10"),
            Sample::new("stamp", *b"0123456789ab00010002"),
            Sample::new("phone", "+1 (555) 200-0100"),
        ]
    },
    short_runs: 20_000,
    input_bytes_max: 256,
};

fn read(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused("not UTF-8".to_owned()) };
    let phone = text.parse::<PhoneNumber>();
    if let Ok(phone) = &phone {
        assert_eq!(phone.e164().parse().as_ref(), Ok(phone), "the printed number is the number");
        assert_eq!(
            phone.masked().chars().count(),
            phone.e164().len(),
            "a mask hides digits, not their count"
        );
    }
    let any = [is::<AccountId>(text), is::<MessageId>(text), is::<Stamp>(text), phone.is_ok()];
    if any.contains(&true) { Outcome::Accepted } else { Outcome::Refused("none of these".to_owned()) }
}

/// Whether the text is one; if so, it is the only text of its value but for upper case.
fn is<T: FromStr + Display>(text: &str) -> bool {
    let read = text.parse::<T>();
    if let Ok(value) = &read {
        assert_eq!(value.to_string(), text.to_ascii_lowercase(), "a value has one text");
    }
    read.is_ok()
}
