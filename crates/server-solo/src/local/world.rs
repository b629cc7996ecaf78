//! The machine's clock and the kernel's randomness.

use rand::{TryRngCore, rngs::OsRng};
use server_ports::{Clock, Entropy};
use std::time::SystemTime;
use types::{Millis, Timestamp};

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

#[async_trait::async_trait]
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(SystemTime::now())
    }

    async fn sleep(&self, length: Millis) {
        tokio::time::sleep(length.as_duration()).await;
    }
}

/// The kernel's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// # Panics
    /// If the kernel has no randomness: nothing secret may be made then, so nothing may go on.
    fn fill(&self, bytes: &mut [u8]) {
        OsRng.try_fill_bytes(bytes).expect("the kernel gives randomness from early boot on");
    }
}
