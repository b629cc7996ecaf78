//! Emptying the mailboxes of devices that are gone, and ending their sessions.
//!
//! Whether a session ends must not hang on one signal, which goes by soft state and may be lost. A node cannot ask for
//! each of its hundred thousand sessions every few seconds whether it may stay; but few devices are removed, so each
//! node asks every [`LOOK_EVERY`] which ones were, and ends those sockets itself. That is one small read a node,
//! whatever it holds, and an idle connection costs nothing.
//!
//! The change that takes a device from its account, and its mailbox, are in two stores. The directory therefore
//! remembers in that change which devices are retiring, so that whoever comes next finishes what was begun: the
//! request itself, its repeat, a tick, or the node that starts after a crash.

use crate::Core;
use server_ports::{Signal, StoreError};
use types::{AccountId, MailboxId, Millis};
use wire::Code;

/// Devices that are retired in one go.
const AT_A_TIME: usize = 64;

/// How often a node looks for sockets of devices that are gone. They end within five seconds of the answer to a removal,
/// also if one look fails.
pub const LOOK_EVERY: Millis = Millis::from_secs(2);
/// Each look goes back so much further than the last one that succeeded: nodes' clocks differ, and a removal may be
/// seen later than it was stamped.
const LOOK_BACK: Millis = Millis::from_secs(30);

/// Ends the sessions that this node holds of devices that have departed since the last look.
pub(crate) async fn end_departed(core: &Core) -> Result<(), StoreError> {
    if core.config.bugs.overlook_departed || core.config.bugs.keep_revoked {
        return Ok(());
    }
    let now = core.now();
    let looked = core.duties.looked_at().unwrap_or(now).min(now);
    for mailbox in core.ports.directory.departed(looked - LOOK_BACK).await? {
        core.ports.exchange.tell(core.config.node, mailbox, Signal::Ended(Code::Revoked));
    }
    core.duties.looked(now);
    Ok(())
}

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
        core.ports.directory.retired(&retiring, core.now()).await?;
    }
}

async fn end(core: &Core, mailbox: MailboxId) -> Result<(), StoreError> {
    if core.config.bugs.keep_revoked {
        return Ok(());
    }
    core.ports.mailboxes.close(mailbox).await?;
    // The quick way, and best effort: the node that holds the session looks by itself, too.
    let _ = core.ports.exchange.signal(mailbox, Signal::Ended(Code::Revoked)).await;
    Ok(())
}
