//! Emptying the mailboxes of devices that are gone, and ending their sessions.
//!
//! The change that takes a device from its account, and its mailbox, are in two stores. The directory therefore
//! remembers in that change which devices are retiring, so that whoever comes next finishes what was begun: the
//! request itself, its repeat, a tick, or the node that starts after a crash.

use crate::Core;
use server_ports::{Signal, StoreError};
use types::{AccountId, MailboxId};
use wire::Code;

/// Devices that are retired in one go.
const AT_A_TIME: usize = 64;

/// Retires the devices of an account, or of all, that lost their place: closes their mailboxes, deleting the rows, and
/// ends the sessions that hold them. A send that was admitted before finds a mailbox closed and is dropped.
pub(crate) async fn retire(core: &Core, of: Option<AccountId>) -> Result<(), StoreError> {
    loop {
        let retiring = core.ports.directory.retiring(of, AT_A_TIME).await?;
        if retiring.is_empty() {
            return Ok(());
        }
        for mailbox in &retiring {
            end(core, *mailbox).await?;
        }
        core.ports.directory.retired(&retiring).await?;
    }
}

async fn end(core: &Core, mailbox: MailboxId) -> Result<(), StoreError> {
    if core.config.bugs.keep_revoked {
        return Ok(());
    }
    core.ports.mailboxes.close(mailbox).await?;
    // Best effort: a session that misses it finds its mailbox closed and its device unlisted.
    let _ = core.ports.exchange.signal(mailbox, Signal::Ended(Code::Revoked)).await;
    Ok(())
}
