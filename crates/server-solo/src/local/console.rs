//! What leaves the service, where there is no provider: codes for the administrator, no wake-ups.

use server_ports::{Pusher, TextError, Texter};
use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use types::{MailboxId, PhoneNumber, Redact, limits};

/// Codes kept for the administrator; the oldest goes when there are more.
const CODES_MAX: usize = 10_000;

/// Keeps codes in memory, for whoever administers the service to pass on. On a terminal it also shows
/// each, with the number masked. Nothing reaches a log or a disk.
#[derive(Debug)]
pub struct ConsoleTexter {
    shows: bool,
    codes: Mutex<Codes>,
}

#[derive(Debug, Default)]
struct Codes {
    sent: u64,
    by_number: BTreeMap<PhoneNumber, Kept>,
    by_age: BTreeMap<u64, PhoneNumber>,
}

/// A code, and when it was sent: by the directory's life of a code it is void some time after.
#[derive(Debug)]
struct Kept {
    age: u64,
    sent_at: Instant,
    code: Redact<String>,
}

impl ConsoleTexter {
    /// Shows codes if standard error is a terminal.
    pub fn new() -> Self {
        Self { shows: std::io::stderr().is_terminal(), codes: Mutex::default() }
    }

    /// The newest code for this number, until it is too old, was [`taken back`](Texter::forget) or pushed
    /// out by many newer ones.
    pub fn pending(&self, number: &PhoneNumber) -> Option<Redact<String>> {
        let codes = self.lock();
        let kept = codes.by_number.get(number)?;
        let good = kept.sent_at.elapsed() < limits::CODE_LIFE.as_duration();
        good.then(|| kept.code.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Codes> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ConsoleTexter {
    fn default() -> Self {
        Self::new()
    }
}

impl Codes {
    fn keep(&mut self, number: &PhoneNumber, code: &Redact<String>) {
        self.remove(number);
        self.sent += 1;
        let kept = Kept { age: self.sent, sent_at: Instant::now(), code: code.clone() };
        self.by_number.insert(number.clone(), kept);
        self.by_age.insert(self.sent, number.clone());
        if self.by_number.len() > CODES_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_number.remove(&oldest);
        }
    }

    fn remove(&mut self, number: &PhoneNumber) {
        if let Some(kept) = self.by_number.remove(number) {
            self.by_age.remove(&kept.age);
        }
    }
}

#[async_trait::async_trait]
impl Texter for ConsoleTexter {
    async fn send_code(&self, to: &PhoneNumber, code: &Redact<String>) -> Result<(), TextError> {
        self.lock().keep(to, code);
        if self.shows {
            // A terminal that is gone takes nothing from the code, which `pending` still gives.
            let _ = writeln!(std::io::stderr(), "code for {}: {}", to.masked(), code.expose());
        }
        Ok(())
    }

    fn forget(&self, number: &PhoneNumber) {
        self.lock().remove(number);
    }
}

/// Wakes nobody: a service without a push provider delivers when a device connects.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuietPusher;

#[async_trait::async_trait]
impl Pusher for QuietPusher {
    async fn wake(&self, _device: MailboxId) {}
}
