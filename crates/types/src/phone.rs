//! Phone numbers in E.164 form.

use crate::Invalid;
use std::{fmt, str::FromStr};

/// A phone number: `+`, then 7 to 15 digits of which the first is not 0 (ITU-T E.164).
///
/// Only syntax is checked here; country codes and numbering plans are the server's to check.
/// There is no `Display` and `Debug` hides the number, so that it cannot slip into a log:
/// [`PhoneNumber::e164`] says where one is meant to be seen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// The number as it is dialled, without spaces.
    pub fn e164(&self) -> &str {
        &self.0
    }

    /// For a person who must recognise the number without its being shown: `+155******00`.
    pub fn masked(&self) -> String {
        let length = self.0.len();
        let tail = length - 2;
        self.0.char_indices().map(|(at, c)| if at < 4 || at >= tail { c } else { '*' }).collect()
    }
}

impl FromStr for PhoneNumber {
    type Err = Invalid;

    /// Accepts spaces, hyphens, dots and parentheses between the digits.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number: String =
            text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '\u{a0}')).collect();
        let digits = number.strip_prefix('+').unwrap_or_default();
        let valid = (7..=15).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && !digits.starts_with('0');
        if valid { Ok(Self(number)) } else { Err(Invalid { what: "phone number" }) }
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(redacted)")
    }
}
