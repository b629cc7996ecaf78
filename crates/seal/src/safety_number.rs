//! Sixty digits that two people compare: the same on both sides exactly if both see the same account keys.
//!
//! Construction: Signal's numeric fingerprint, version 0, with 5,200 iterations. For each account
//! `h0 = SHA-512(0x0000 || key || id || key)`, then `h = SHA-512(h || key)` until 5,200 hashes were made; six groups of
//! five digits, each from five bytes of the last hash, big-endian, modulo 100,000. The lesser of the two
//! halves stands first. `key` is the 32-byte Ed25519 account key, `id` the 16-byte account id.

use sha2::{Digest, Sha512};
use signed::{AccountKey, account_id};
use std::fmt;

/// Signal's number: makes a search for a key with a like-looking number 5,200 times as expensive.
const ITERATIONS: u32 = 5_200;

/// Sixty decimal digits. Text form: twelve groups of five, with spaces between them.
#[derive(Clone, PartialEq, Eq)]
pub struct SafetyNumber(String);

impl SafetyNumber {
    /// The sixty digits without spaces.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<&str> =
            (0..self.0.len()).step_by(5).filter_map(|start| self.0.get(start..start + 5)).collect();
        f.write_str(&groups.join(" "))
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SafetyNumber(redacted)")
    }
}

/// The safety number of two accounts; the order of the two does not matter.
pub fn safety_number(one: &AccountKey, other: &AccountKey) -> SafetyNumber {
    let mut halves = [one, other].map(|key| half(account_id(key).as_bytes(), key.as_bytes()));
    halves.sort();
    SafetyNumber(halves.concat())
}

fn half(id: &[u8], key: &[u8]) -> String {
    let mut hash =
        Sha512::new().chain_update([0, 0]).chain_update(key).chain_update(id).chain_update(key).finalize();
    for _ in 1..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(key).finalize();
    }
    hash.chunks_exact(5).take(6).map(five_digits).collect()
}

fn five_digits(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{:05}", number % 100_000)
}

#[cfg(test)]
mod tests {
    use super::half;

    /// The vector in Signal's own tests: 33-byte keys, phone numbers as ids.
    #[test]
    fn the_halves_are_those_of_signal() {
        let key = |hex| hex::decode(hex).expect("the vector is hex");
        let alice = key("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868");
        let bob = key("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b");
        let (alice, bob) = (half(b"+14152222222", &alice), half(b"+14153333333", &bob));
        assert_eq!(alice + &bob, "300354477692869396892869876765458257569162576843440918079131");
    }
}
