//! What a node does again and again: keep stamps reserved, let expired rows and old codes go.
//!
//! The shell calls [`Core::tick`] about once a second; what is due is decided here.

use crate::Core;
use server_ports::StoreError;
use std::sync::{Mutex, PoisonError};
use types::{Millis, Timestamp};

/// Expired rows are unreadable at once; deleting them only frees space.
const EXPIRE_ROWS_EVERY: Millis = Millis::from_mins(10);
/// The same for codes.
const EXPIRE_CODES_EVERY: Millis = Millis::from_mins(1);

/// When what was done last.
#[derive(Default)]
pub(crate) struct Duties {
    rows: Mutex<Option<Timestamp>>,
    codes: Mutex<Option<Timestamp>>,
}

impl Core {
    /// Does what is due. A duty that failed is tried again at the next tick.
    pub async fn tick(&self) {
        let now = self.now();
        let renewed = self.stamps.renew(&*self.ports.mailboxes, now).await;
        self.noted(renewed);
        if due(&self.duties.codes, now, EXPIRE_CODES_EVERY) {
            let expired = self.ports.directory.expire_registrations(now).await;
            if self.noted(expired).is_none() {
                forget(&self.duties.codes);
            }
        }
        if due(&self.duties.rows, now, EXPIRE_ROWS_EVERY) {
            // A bounded number at a time: the rest follows at the next tick.
            let expired = self.ports.mailboxes.expire(now).await;
            let expired = self.noted(expired);
            if expired != Some(0) {
                forget(&self.duties.rows);
            }
            metrics::counter!("waxwing_rows_expired_total").increment(expired.unwrap_or(0));
        }
        metrics::gauge!("waxwing_stamps_ahead_seconds").set(self.stamps.ahead_of(now).0 as f64 / 1_000.0);
    }

    fn noted<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        result.inspect_err(|error| self.note(error)).ok()
    }
}

/// Whether a duty is due; if so it counts as done. A clock that was set back makes it due.
fn due(last: &Mutex<Option<Timestamp>>, now: Timestamp, every: Millis) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.is_none_or(|last| now.since(last) >= every || now < last);
    if due {
        *last = Some(now);
    }
    due
}

fn forget(last: &Mutex<Option<Timestamp>>) {
    *last.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
