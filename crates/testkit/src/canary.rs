//! Canaries: texts and keys that must never stand in a byte that a server received or stored.

use std::collections::BTreeMap;

/// A set of byte strings to look for.
#[derive(Clone, Debug, Default)]
pub struct Canaries {
    /// By the first four bytes, so that a scan looks at each place once.
    by_prefix: BTreeMap<[u8; 4], Vec<Canary>>,
}

#[derive(Clone, Debug)]
struct Canary {
    name: String,
    bytes: Vec<u8>,
}

impl Canaries {
    /// Adds a canary; shorter than eight bytes would be found by chance and is refused.
    ///
    /// # Panics
    /// If `bytes` has fewer than eight bytes: the test itself is wrong.
    pub fn add(&mut self, name: impl Into<String>, bytes: &[u8]) {
        assert!(bytes.len() >= 8, "a canary of fewer than eight bytes would be found by chance");
        let prefix = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let canary = Canary { name: name.into(), bytes: bytes.to_vec() };
        self.by_prefix.entry(prefix).or_default().push(canary);
    }

    /// The names of the canaries in `bytes`, each once, in the order of their places.
    pub fn find_in(&self, bytes: &[u8]) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for (at, window) in bytes.windows(4).enumerate() {
            let prefix = [window[0], window[1], window[2], window[3]];
            let candidates = self.by_prefix.get(&prefix).into_iter().flatten();
            for canary in candidates.filter(|canary| bytes[at..].starts_with(&canary.bytes)) {
                if !found.contains(&canary.name.as_str()) {
                    found.push(&canary.name);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_canary_anywhere_and_nothing_else() {
        let mut canaries = Canaries::default();
        canaries.add("text", b"tell nobody");
        canaries.add("key", &[7; 32]);
        assert_eq!(canaries.find_in(b"tell nobod"), Vec::<&str>::new());
        assert_eq!(canaries.find_in(b"xxtell nobody"), ["text"]);
        let mut both = vec![7; 40];
        both.extend_from_slice(b"tell nobody");
        assert_eq!(canaries.find_in(&both), ["key", "text"]);
    }
}
