//! Closing an account.

use crate::{Core, admission::settle, lists, refusal::Rejection, retire::retire};
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
    let id = caller.mailbox.account;
    let account = core.ports.directory.account(id).await?.ok_or(AccountError::Closed)?;
    if !lists::mailboxes(&account).any(|mailbox| mailbox == caller.mailbox) {
        // An earlier try may have closed it without knowing.
        if account.closed {
            retire(core, Some(id)).await?;
        }
        return Err(AccountError::Closed.into());
    }
    core.ports.directory.close(id).await?.ok_or(AccountError::Closed)?;
    retire(core, Some(id)).await?;
    settle(core, id).await?;
    metrics::counter!("waxwing_accounts_closed_total").increment(1);
    Ok(Response::Done)
}
