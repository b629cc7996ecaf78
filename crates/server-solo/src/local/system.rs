//! The machine's clock and randomness.

use rand::{TryRngCore as _, rngs::OsRng};
use server_ports::{Clock, Entropy};
use std::time::SystemTime;
use types::{Millis, Timestamp};

/// The wall clock of this machine; sleeps on the tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(SystemTime::now())
    }

    async fn sleep(&self, length: Millis) {
        tokio::time::sleep(length.as_duration()).await;
    }
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        OsRng.try_fill_bytes(bytes).expect("a system without random numbers cannot run a service safely");
    }
}
