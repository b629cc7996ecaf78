//! What every adapter of [`Clock`] and [`Entropy`] does.

use crate::{Clock, Entropy};
use std::collections::BTreeSet;
use types::Millis;

/// A sleep is never shorter than asked. Whoever drives a virtual clock must move it meanwhile.
pub async fn a_sleep_is_never_too_short(clock: &dyn Clock) {
    for length in [0, 1, 5, 20] {
        let before = clock.now();
        clock.sleep(Millis(length)).await;
        assert!(clock.now() >= before + Millis(length), "woken too early");
    }
}

/// Bytes are filled to the last one, and no draw comes twice.
pub fn entropy_fills_and_does_not_repeat(entropy: &dyn Entropy) {
    let mut seen = BTreeSet::new();
    for _ in 0..1_000 {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        assert!(seen.insert(bytes), "drawn twice");
    }
    for length in [0, 1, 31, 4_097] {
        let mut touched = vec![false; length];
        for _ in 0..64 {
            let mut bytes = vec![0; length];
            entropy.fill(&mut bytes);
            touched.iter_mut().zip(&bytes).for_each(|(touched, byte)| *touched |= *byte != 0);
        }
        assert!(touched.iter().all(|touched| *touched), "a byte that is never filled");
    }
}
