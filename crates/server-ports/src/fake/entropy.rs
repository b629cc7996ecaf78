//! Randomness from a seed.

use super::lock;
use crate::Entropy;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::sync::Mutex;

/// The same seed gives the same bytes in every run.
#[derive(Debug)]
pub struct FakeEntropy(Mutex<ChaCha20Rng>);

impl FakeEntropy {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl Entropy for FakeEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        lock(&self.0).fill_bytes(bytes);
    }
}
