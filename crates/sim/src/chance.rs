//! Chance from one seed, in independent streams, so that a draw more in one place changes no other.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_core::RngCore;

/// One stream of a seed.
#[derive(Clone, Debug)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of that number.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number below `end`; 0 if `end` is 0. (The bias of a remainder is far below what matters here.)
    pub fn below(&mut self, end: u64) -> u64 {
        let drawn = self.0.next_u64();
        if end == 0 { 0 } else { drawn % end }
    }

    /// True so many times in a thousand.
    pub fn per_mille(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// One of the items.
    ///
    /// # Panics
    /// If there is none.
    pub fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// The generator itself, for those that draw by themselves.
    pub const fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}
