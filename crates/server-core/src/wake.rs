//! Waking who a send is for: a hint to the node that holds the socket, else a content-free push.
//!
//! Nothing here can lose a message: the rows are on disk, and a session that misses its hint reads
//! them on its slow timer or when it comes back.

use crate::Core;
use bytes::{Bytes, BytesMut};
use server_ports::{
    Signal,
    mailboxes::{NewRow, Placed},
};
use types::{AccountId, MailboxId};

/// Hints for the rows that were written. Devices of `wakes` that hold no socket are woken by a push;
/// the sender's own devices never are.
pub(crate) async fn hint(core: &Core, rows: &[NewRow], placed: &[Placed], wakes: Option<AccountId>) {
    if core.config.bugs.drop_hints {
        return;
    }
    for (row, placed) in rows.iter().zip(placed) {
        let Placed::At { position, previous } = *placed else { continue };
        let signal = Signal::Hint { position, previous, envelope: envelope(row) };
        if !signalled(core, row.to, signal).await && wakes == Some(row.to.account) {
            metrics::counter!("waxwing_pushes_total").increment(1);
            core.ports.pusher.wake(row.to).await;
        }
    }
}

async fn signalled(core: &Core, device: MailboxId, signal: Signal) -> bool {
    let reached = core.ports.exchange.signal(device, signal).await.unwrap_or(false);
    metrics::counter!("waxwing_hints_total", "reached" => if reached { "yes" } else { "no" }).increment(1);
    reached
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
