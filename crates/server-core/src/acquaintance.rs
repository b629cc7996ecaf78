//! Who has been in touch with whom, as far as fair use needs it: one account may write to only so many
//! strangers a day, and who exhausts that writes to nobody new for a week.
//!
//! Soft state in the exchange, under keyed hashes. Losing it makes strangers of acquaintances; it never
//! lets anybody write to more.

use crate::{
    Core,
    quota::{self, Allowance, Count},
    refusal::Rejection,
};
use types::{AccountId, Millis};

/// An acquaintance is forgotten after so long without a new session.
const REMEMBERED: Millis = Millis::from_days(30);

/// `account` is about to open a session with `other`: free for acquaintances, counted for strangers.
pub(crate) async fn meet(core: &Core, account: AccountId, other: AccountId) -> Result<(), Rejection> {
    let quotas = &core.config.quotas;
    if account == other || !quotas.enabled || are_acquainted(core, account, other).await? {
        return Ok(());
    }
    let subject: &[&[u8]] = &[account.as_bytes()];
    let once = Allowance { limit: 1, window: quotas.first_messages_brake };
    let brake = Count { quota: "first_messages_brake", subject, allowance: once };
    if let Some(retry_after) = quota::exhausted(core, brake).await? {
        return Err(Rejection::Quota { retry_after });
    }
    let first = Count { quota: "first_messages", subject, allowance: quotas.first_messages };
    if quota::exhausted(core, first).await?.is_some() {
        quota::spend(core, brake, 1).await?;
        return Err(Rejection::Quota { retry_after: quotas.first_messages_brake });
    }
    quota::spend(core, first, 1).await?;
    know(core, account, other).await;
    Ok(())
}

/// Whether `account` may write to `other` as to an acquaintance.
pub(crate) async fn are_acquainted(
    core: &Core,
    account: AccountId,
    other: AccountId,
) -> Result<bool, Rejection> {
    let known = quota::exhausted(core, pair(&[account.as_bytes(), other.as_bytes()])).await?;
    Ok(known.is_some())
}

/// From now on `account` may write to `other` as to an acquaintance.
pub(crate) async fn know(core: &Core, account: AccountId, other: AccountId) {
    // Already known, or the exchange is away: then they stay strangers, which opens nothing.
    let _ = quota::spend(core, pair(&[account.as_bytes(), other.as_bytes()]), 1).await;
}

/// A pair is known while its one unit is spent.
fn pair<'a>(subject: &'a [&'a [u8]]) -> Count<'a> {
    Count { quota: "acquaintances", subject, allowance: Allowance { limit: 1, window: REMEMBERED } }
}
