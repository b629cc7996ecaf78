//! Time and randomness, real in a service and virtual in simulation.

use std::sync::Arc;
use types::{Millis, Timestamp};

/// The wall clock of one node.
#[async_trait::async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time now. May step backwards, as wall clocks do.
    fn now(&self) -> Timestamp;

    /// Returns after `length`, never earlier.
    async fn sleep(&self, length: Millis);
}

/// Randomness fit for secrets.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy {
    /// An array of random bytes.
    pub fn array<const N: usize>(self: &Arc<Self>) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
