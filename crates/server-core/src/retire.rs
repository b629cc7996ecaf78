//! Emptying the mailboxes of devices that are gone, and ending their sessions.

use crate::Core;
use server_ports::{Signal, StoreError};
use types::MailboxId;
use wire::Code;

/// Closes the mailboxes, deleting their rows, then ends the sessions that hold them. A send that was
/// admitted before finds them closed and is dropped.
pub(crate) async fn retire(core: &Core, mailboxes: &[MailboxId]) -> Result<(), StoreError> {
    if core.config.bugs.keep_revoked {
        return Ok(());
    }
    for mailbox in mailboxes {
        core.ports.mailboxes.close(*mailbox).await?;
        // Best effort: a session that misses it finds its mailbox closed and its device unlisted.
        let _ = core.ports.exchange.signal(*mailbox, Signal::Ended(Code::Revoked)).await;
    }
    Ok(())
}
