//! Texts and wake-ups that stay in memory, for a test to look at.

use super::{Faults, Setup, lock};
use crate::{Pusher, TextError, Texter};
use std::sync::Mutex;
use types::{MailboxId, PhoneNumber, Redact};

/// Keeps every code that it was asked to send.
#[derive(Debug)]
pub struct FakeTexter {
    faults: Faults,
    sent: Mutex<Vec<(PhoneNumber, Redact<String>)>>,
}

impl FakeTexter {
    /// Nothing sent yet.
    pub fn new(setup: &Setup) -> Self {
        Self { faults: Faults::new(setup.plan.clone(), 3), sent: Mutex::default() }
    }

    /// The faults, to be changed or ended.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The newest code sent to this number.
    pub fn newest_code(&self, to: &PhoneNumber) -> Option<String> {
        lock(&self.sent).iter().rev().find(|(number, _)| number == to).map(|(_, code)| code.expose().clone())
    }

    /// How many texts this number got.
    pub fn count(&self, to: &PhoneNumber) -> usize {
        lock(&self.sent).iter().filter(|(number, _)| number == to).count()
    }
}

#[async_trait::async_trait]
impl Texter for FakeTexter {
    async fn send_code(&self, to: &PhoneNumber, code: &Redact<String>) -> Result<(), TextError> {
        if self.faults.strikes(|plan| plan.text_fails) {
            return Err(TextError("an injected fault".to_owned()));
        }
        lock(&self.sent).push((to.clone(), code.clone()));
        Ok(())
    }
}

/// Keeps whom it was asked to wake, in order.
#[derive(Debug, Default)]
pub struct FakePusher(Mutex<Vec<MailboxId>>);

impl FakePusher {
    /// Nobody woken yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every wake-up so far, in order.
    pub fn wakes(&self) -> Vec<MailboxId> {
        lock(&self.0).clone()
    }
}

#[async_trait::async_trait]
impl Pusher for FakePusher {
    async fn wake(&self, device: MailboxId) {
        lock(&self.0).push(device);
    }
}
