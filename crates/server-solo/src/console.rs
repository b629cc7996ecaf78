//! The text sender and pusher of a machine without either: codes stay in memory for the operator.
//!
//! Invariants: the plain code is nowhere but in this process's memory, and on the operator's terminal with
//! the number masked; it is forgotten when it expires, and when another is sent to the same number.

use server_ports::{Clock, Pusher, TextError, Texter};
use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use types::{MailboxId, PhoneNumber, Redact, Timestamp, limits};

/// Codes that wait at once; the oldest ones are forgotten first.
const PENDING_MAX: usize = 100_000;

/// Keeps one-time codes for the operator.
pub struct ConsoleTexter {
    clock: Arc<dyn Clock>,
    pending: Mutex<HashMap<PhoneNumber, Pending>>,
}

struct Pending {
    code: Redact<String>,
    expires_at: Timestamp,
}

impl ConsoleTexter {
    /// With the clock by which codes expire.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, pending: Mutex::default() }
    }

    /// The code that this number waits for.
    pub fn pending(&self, number: &PhoneNumber) -> Option<Redact<String>> {
        let now = self.clock.now();
        self.lock().get(number).filter(|pending| now < pending.expires_at).map(|pending| pending.code.clone())
    }

    /// The number has proved itself, or never will.
    pub fn forget(&self, number: &PhoneNumber) {
        self.lock().remove(number);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PhoneNumber, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Texter for ConsoleTexter {
    async fn send_code(&self, to: &PhoneNumber, code: &Redact<String>) -> Result<(), TextError> {
        let now = self.clock.now();
        {
            let mut pending = self.lock();
            if pending.len() >= PENDING_MAX {
                pending.retain(|_, pending| now < pending.expires_at);
            }
            if pending.len() >= PENDING_MAX {
                return Err(TextError("too many codes wait".to_owned()));
            }
            let waiting = Pending { code: code.clone(), expires_at: now + limits::CODE_LIFE };
            pending.insert(to.clone(), waiting);
        }
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            // A terminal that went away takes nothing from anybody.
            let _ = writeln!(stderr, "one-time code for {}: {}", to.masked(), code.expose());
        }
        Ok(())
    }
}

/// Wakes nobody: devices of this service fetch when they connect.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPusher;

#[async_trait::async_trait]
impl Pusher for NoPusher {
    async fn wake(&self, _device: MailboxId) {}
}
