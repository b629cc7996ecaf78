//! Waking who a send is for: a hint to the node that holds the socket, else a content-free push.
//!
//! Nothing here can lose a message: the rows are on disk, and a session that misses its hint reads
//! them on its slow timer or when it comes back.

use crate::{Core, accept::Committed};
use bytes::{Bytes, BytesMut};
use server_ports::{
    Signal,
    mailboxes::{NewRow, Placed},
};
use types::AccountId;

/// Hints for the rows that were written. Devices of accounts that `wakes` names, and that hold no socket, are
/// woken by a push.
pub(crate) async fn hint(core: &Core, committed: &Committed, wakes: impl Fn(AccountId) -> bool) {
    if core.config.bugs.drop_hints {
        return;
    }
    let (mut reached, mut missed, mut pushes) = (0, 0, 0);
    for (row, placed) in committed.rows.iter().zip(&committed.placed) {
        let Placed::At { position, previous } = *placed else { continue };
        let signal = Signal::Hint { position, previous, envelope: envelope(row) };
        if core.ports.exchange.signal(row.to, signal).await.unwrap_or(false) {
            reached += 1;
            continue;
        }
        missed += 1;
        if wakes(row.to.account) {
            pushes += 1;
            core.ports.pusher.wake(row.to).await;
        }
    }
    // Counted once: a group has thousands of devices.
    metrics::counter!("waxwing_hints_total", "reached" => "yes").increment(reached);
    metrics::counter!("waxwing_hints_total", "reached" => "no").increment(missed);
    metrics::counter!("waxwing_pushes_total").increment(pushes);
}

fn envelope(row: &NewRow) -> Bytes {
    if row.body.is_empty() {
        return row.head.clone();
    }
    let mut whole = BytesMut::with_capacity(row.head.len() + row.body.len());
    whole.extend_from_slice(&row.head);
    whole.extend_from_slice(&row.body);
    whole.freeze()
}
