//! Contact discovery: which accounts have these numbers, within a budget of numbers that are new to
//! the account that asks. Hit and miss look alike and cost alike.

use crate::{
    Core,
    quota::{self, Allowance, Count},
    refusal::Rejection,
};
use server_ports::Caller;
use std::collections::BTreeSet;
use types::{AccountId, Millis, PhoneNumber};
use wire::{Code, Response};

/// A lookup with more new numbers than this is an address book, not a person who types.
const CONTACT_SYNC_ABOVE: usize = 20;

/// A number is new again to an account after so long.
const REMEMBERED: Millis = Millis::from_days(30);

/// Answers which accounts have these numbers, in the order asked.
pub(crate) async fn lookup(
    core: &Core,
    caller: &Caller,
    numbers: Vec<PhoneNumber>,
    verify_sender: bool,
) -> Result<Response, Rejection> {
    let account = caller.mailbox.account;
    if verify_sender {
        spend_verification(core, account, &numbers).await?;
    } else {
        spend_budget(core, account, &numbers).await?;
    }
    Ok(Response::LookupResult(core.ports.directory.find(&numbers).await?))
}

/// The number of a new chat: outside the budget, but bounded, or the budget would be no bound.
async fn spend_verification(
    core: &Core,
    account: AccountId,
    numbers: &[PhoneNumber],
) -> Result<(), Rejection> {
    if numbers.len() != 1 {
        return Err(Rejection::Code(Code::Malformed));
    }
    let allowance = core.config.quotas.verified_senders;
    quota::spend(core, Count { quota: "verified_senders", subject: &[account.as_bytes()], allowance }, 1)
        .await
}

/// Numbers that this account looked up before are free; the new ones are paid for all together, and are
/// remembered only once they were paid for.
async fn spend_budget(core: &Core, account: AccountId, numbers: &[PhoneNumber]) -> Result<(), Rejection> {
    if !core.config.quotas.enabled {
        return Ok(());
    }
    let mut new = BTreeSet::new();
    for number in numbers {
        let subject: &[&[u8]] = &[account.as_bytes(), number.e164().as_bytes()];
        if quota::exhausted(core, known(subject)).await?.is_none() {
            new.insert(number);
        }
    }
    let quotas = &core.config.quotas;
    let subject: &[&[u8]] = &[account.as_bytes()];
    if new.len() > CONTACT_SYNC_ABOVE {
        let syncs = Count { quota: "contact_syncs", subject, allowance: quotas.contact_syncs };
        quota::spend(core, syncs, 1).await?;
    }
    let budget = Count { quota: "new_numbers", subject, allowance: quotas.new_numbers };
    quota::spend(core, budget, u32::try_from(new.len()).unwrap_or(u32::MAX)).await?;
    for number in new {
        // Should the exchange forget, the number is paid for again.
        let _ = quota::spend(core, known(&[account.as_bytes(), number.e164().as_bytes()]), 1).await;
    }
    Ok(())
}

/// A number is known to an account while its one unit is spent.
fn known<'a>(subject: &'a [&'a [u8]]) -> Count<'a> {
    Count { quota: "known_numbers", subject, allowance: Allowance { limit: 1, window: REMEMBERED } }
}
