//! What a node does again and again: keep stamps reserved, let expired rows, blobs, codes and links go, finish what
//! was left behind.
//!
//! The shell calls [`Core::tick`] about once a second; what is due is decided here.

use crate::{Core, groups, links, retire};
use server_ports::StoreError;
use std::sync::{Mutex, PoisonError};
use types::{Millis, Timestamp};

/// Expired rows are unreadable at once; deleting them only frees space.
const EXPIRE_ROWS_EVERY: Millis = Millis::from_mins(10);
/// The same for codes.
const EXPIRE_CODES_EVERY: Millis = Millis::from_mins(1);
/// A group operation is left behind when a store failed between the chain and the mailboxes, a mailbox when one failed
/// between a device list and it; who touches the group, or repeats the list, finishes it too.
const FINISH_LATE_EVERY: Millis = Millis::from_secs(10);
/// Blobs that are deleted in one go.
const BLOBS_AT_A_TIME: usize = 256;

/// When what was done last.
#[derive(Default)]
pub(crate) struct Duties {
    rows: Mutex<Option<Timestamp>>,
    codes: Mutex<Option<Timestamp>>,
    blobs: Mutex<Option<Timestamp>>,
    late: Mutex<Option<Timestamp>>,
    departed: Mutex<Option<Timestamp>>,
}

impl Duties {
    /// When devices that departed were looked for last.
    pub(crate) fn looked_at(&self) -> Option<Timestamp> {
        *self.departed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn looked(&self, now: Timestamp) {
        *self.departed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

impl Core {
    /// Does what is due. A duty that failed is tried again at the next tick.
    pub async fn tick(&self) {
        let now = self.now();
        let renewed = self.stamps.renew(&*self.ports.mailboxes, now).await;
        self.noted(renewed);
        if due(&self.duties.codes, now, EXPIRE_CODES_EVERY) {
            let codes = self.ports.directory.expire_registrations(now).await;
            let links = self.ports.directory.expire_links(now - links::REMEMBERED).await;
            let (codes, links) = (self.noted(codes), self.noted(links));
            if codes.is_none() || links.is_none() {
                forget(&self.duties.codes);
            }
        }
        if due(&self.duties.late, now, FINISH_LATE_EVERY) {
            let retired = retire::retire(self, None).await;
            self.noted(retired);
            let delivered = groups::deliver_late(self).await;
            self.noted(delivered);
        }
        if due(&self.duties.blobs, now, EXPIRE_ROWS_EVERY) {
            let expired = self.ports.blobs.expire(now, BLOBS_AT_A_TIME).await;
            let expired = self.noted(expired);
            if expired != Some(0) {
                forget(&self.duties.blobs);
            }
            metrics::counter!("waxwing_blobs_expired_total").increment(expired.unwrap_or(0));
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

    /// Ends the sockets that this node holds of devices that were removed. The shell calls it every
    /// [`LOOK_EVERY`](retire::LOOK_EVERY), whatever else it waits for; the next call makes up for one that failed.
    pub async fn end_departed(&self) {
        let ended = retire::end_departed(self).await;
        self.noted(ended);
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
