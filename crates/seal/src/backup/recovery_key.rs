//! The recovery key: what a person writes down to open a backup.

use rand_core::CryptoRng;
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;
use types::Invalid;
use zeroize::Zeroizing;

/// Decimal digits: 212 bits, which nobody guesses.
const DIGITS: usize = 64;
/// They are shown in groups of so many.
const GROUP: usize = 4;

/// Sixty-four random decimal digits. Shown once ([`RecoveryKey::grouped`]), typed when a backup is opened.
#[derive(Clone)]
pub struct RecoveryKey(Zeroizing<[u8; DIGITS]>);

impl RecoveryKey {
    /// Draws a new key. Every digit is equally likely: bytes above the last multiple of ten are drawn again.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut digits = Zeroizing::new([0; DIGITS]);
        for digit in digits.iter_mut() {
            *digit = b'0' + draw_digit(rng);
        }
        Self(digits)
    }

    /// The digits as they are shown: sixteen groups of four with spaces between. Secret.
    pub fn grouped(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(DIGITS + DIGITS / GROUP));
        for (at, digit) in self.0.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push(' ');
            }
            text.push(char::from(*digit));
        }
        text
    }

    /// The digits as ASCII, from which the keys are derived.
    pub(super) fn as_bytes(&self) -> &[u8; DIGITS] {
        &self.0
    }
}

fn draw_digit(rng: &mut (impl CryptoRng + ?Sized)) -> u8 {
    loop {
        let mut byte = [0];
        rng.fill_bytes(&mut byte);
        if byte[0] < 250 {
            return byte[0] % 10;
        }
    }
}

impl FromStr for RecoveryKey {
    type Err = Invalid;

    /// Reads 64 digits with white space and dashes anywhere between them, as people write and copy them.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        read(text).ok_or(Invalid { what: "recovery key" })
    }
}

fn read(text: &str) -> Option<RecoveryKey> {
    let mut digits = Zeroizing::new([0; DIGITS]);
    let mut places = digits.iter_mut();
    for character in text.chars().filter(|character| !is_separator(*character)) {
        let digit = u8::try_from(character).ok().filter(u8::is_ascii_digit)?;
        *places.next()? = digit;
    }
    let is_complete = places.next().is_none();
    is_complete.then_some(RecoveryKey(digits))
}

/// White space, the hyphen, and what programs make of it: U+2010 to U+2015, and the minus sign.
fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

impl PartialEq for RecoveryKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for RecoveryKey {}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(redacted)")
    }
}
