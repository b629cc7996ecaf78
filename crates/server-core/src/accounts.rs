//! Closing an account.

use crate::{Core, refusal::Rejection, retire::retire};
use server_ports::Caller;
use wire::Response;

/// Why an account was not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// It is closed already, or the device is not listed any more.
    #[error("the account is closed")]
    Closed,
}

/// Closes the caller's account: its number is free, its mailboxes are empty, its sessions over, and
/// whoever writes to it is told so.
pub(crate) async fn close(core: &Core, caller: &Caller) -> Result<Response, Rejection> {
    let record = core.ports.directory.device(caller.address()).await?;
    if record.is_none_or(|record| record.mailbox != caller.mailbox) {
        return Err(AccountError::Closed.into());
    }
    let Some(closed) = core.ports.directory.close(caller.mailbox.account).await? else {
        return Err(AccountError::Closed.into());
    };
    retire(core, &closed.mailboxes).await?;
    core.admissions.settle(closed.id).await;
    metrics::counter!("waxwing_accounts_closed_total").increment(1);
    Ok(Response::Done)
}
