//! Quotas: fair use, counted in the exchange so that they hold across nodes and restarts.
//!
//! When the exchange does not answer, what is counted is refused: losing soft state opens no limit.
//! What protects a code or a parser is not a quota and does not stand here.

use crate::{Core, refusal::Rejection};
use hmac::{Hmac, Mac};
use server_ports::exchange::{Spend, SpendOutcome};
use sha2::Sha256;
use types::Millis;

/// After an exchange that did not answer.
const RETRY_WHEN_UNKNOWN: Millis = Millis::from_secs(5);

/// So much within such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The most within one window.
    pub limit: u32,
    /// The window.
    pub window: Millis,
}

impl Allowance {
    const fn new(limit: u32, window: Millis) -> Self {
        Self { limit, window }
    }
}

/// Every quota and its default. `enabled: false` switches all of them off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// The one switch.
    pub enabled: bool,
    /// Urgent and normal sends of one account: a person who types, with a wide margin.
    pub messages: Allowance,
    /// Silent sends of one account: every message received may cause a receipt. A message to a group is never one,
    /// whatever it says of itself: it takes room in the mailboxes of a thousand people.
    pub silent: Allowance,
    /// Bytes of ciphertext that one account sends, to people and to groups. A mailbox holds eight times as much, so
    /// that nobody fills a friend's in an hour; the keys of a sender to a full group take an eighth of it.
    pub message_bytes: Allowance,
    /// Numbers that one account looks up for the first time: a large address book in one day.
    pub new_numbers: Allowance,
    /// Lookups of one account with so many new numbers at once that they are an address book.
    pub contact_syncs: Allowance,
    /// Numbers of new chats that one account checks; they are outside the budget of new numbers.
    pub verified_senders: Allowance,
    /// Accounts that one account writes to for the first time.
    pub first_messages: Allowance,
    /// Who exhausts `first_messages` writes to nobody new for this long.
    pub first_messages_brake: Millis,
    /// Bundles that one device takes.
    pub bundles: Allowance,
    /// Uploads of keys by one device: whoever joins several large groups at once has its pool emptied, and fills it,
    /// dozens of times.
    pub key_uploads: Allowance,
    /// Device lists that one account has stored, with the waiting for sends that each brings.
    pub list_changes: Allowance,
    /// Device lists that one account reads: those of twenty full groups.
    pub lists_read: Allowance,
    /// One-time keys that leave one device's pool; beyond it bundles come without. Half a pool in the
    /// time that a flood needs to be noticed.
    pub one_time_keys: Allowance,
    /// One-time keys that one device takes from one other; beyond it bundles come without.
    pub one_time_keys_of_pair: Allowance,
    /// Codes for one number.
    pub codes_per_number: Allowance,
    /// Codes asked for from one address.
    pub codes_per_address: Allowance,
    /// Codes for the numbers of one prefix of seven digits: text-message fraud buys blocks of numbers.
    pub codes_per_prefix: Allowance,
    /// Codes in all: the brake on what a flood can cost.
    pub codes: Allowance,
    /// Accounts registered from one address.
    pub registrations_per_address: Allowance,
    /// Accounts restored from one address.
    pub restorations_per_address: Allowance,
    /// Link codes that devices at one address show: a person who fumbles, with a wide margin.
    pub links_per_address: Allowance,
    /// Links that one account takes.
    pub link_invitations: Allowance,
    /// Groups that one account makes.
    pub new_groups: Allowance,
    /// Strangers that one account names as members of its groups: two full groups. Whoever is in a group can be
    /// written to, so without it naming would be a way around `first_messages`.
    pub new_members: Allowance,
    /// Changes that one account makes to groups. Each is written to every device of every member.
    pub group_changes: Allowance,
    /// Pieces of group chains that one account reads: after a removal each device may fetch every chain that it has.
    pub group_reads: Allowance,
    /// Bundles of fellow members that one device takes: every device of a full group, once.
    pub bundles_of_fellows: Allowance,
    /// Signals of one account that are never stored.
    pub ephemeral: Allowance,
    /// Bytes of blobs that one account uploads.
    pub blob_bytes: Allowance,
}

impl Default for Quotas {
    fn default() -> Self {
        let (minute, hour, day) = (Millis::from_mins(1), Millis::from_hours(1), Millis::from_days(1));
        Self {
            enabled: true,
            messages: Allowance::new(100, minute),
            silent: Allowance::new(3_000, minute),
            message_bytes: Allowance::new(64 * 1024 * 1024, hour),
            new_numbers: Allowance::new(1_000, day),
            contact_syncs: Allowance::new(1, hour),
            verified_senders: Allowance::new(500, day),
            first_messages: Allowance::new(50, day),
            first_messages_brake: Millis::from_days(7),
            bundles: Allowance::new(300, hour),
            key_uploads: Allowance::new(600, hour),
            list_changes: Allowance::new(60, hour),
            lists_read: Allowance::new(20_480, hour),
            one_time_keys: Allowance::new(50, Millis::from_mins(10)),
            one_time_keys_of_pair: Allowance::new(3, day),
            codes_per_number: Allowance::new(3, hour),
            codes_per_address: Allowance::new(30, hour),
            codes_per_prefix: Allowance::new(100, hour),
            codes: Allowance::new(5_000, hour),
            registrations_per_address: Allowance::new(10, day),
            restorations_per_address: Allowance::new(10, hour),
            links_per_address: Allowance::new(30, hour),
            link_invitations: Allowance::new(20, hour),
            new_groups: Allowance::new(10, hour),
            new_members: Allowance::new(2_048, day),
            group_changes: Allowance::new(60, minute),
            group_reads: Allowance::new(600, minute),
            bundles_of_fellows: Allowance::new(6_000, hour),
            ephemeral: Allowance::new(600, minute),
            blob_bytes: Allowance::new(512 * 1024 * 1024, hour),
        }
    }
}

/// One count: which quota, whose, and how much there is.
#[derive(Clone, Copy)]
pub(crate) struct Count<'a> {
    pub(crate) quota: &'static str,
    /// Whose. Hashed before it leaves, so that no exchange holds an account, a number or an address.
    pub(crate) subject: &'a [&'a [u8]],
    pub(crate) allowance: Allowance,
}

/// Spends `amount`, or refuses and says when it would fit.
pub(crate) async fn spend(core: &Core, count: Count<'_>, amount: u32) -> Result<(), Rejection> {
    if !core.config.quotas.enabled || amount == 0 {
        return Ok(());
    }
    match settle(core, count, amount).await? {
        SpendOutcome::Allowed => Ok(()),
        SpendOutcome::RetryAfter(retry_after) => Err(Rejection::Quota { retry_after }),
    }
}

/// Without spending: `None` if one more would fit, else how long until it would.
pub(crate) async fn exhausted(core: &Core, count: Count<'_>) -> Result<Option<Millis>, Rejection> {
    if !core.config.quotas.enabled {
        return Ok(None);
    }
    match settle(core, count, 0).await? {
        SpendOutcome::Allowed => Ok(None),
        SpendOutcome::RetryAfter(wait) => Ok(Some(wait)),
    }
}

async fn settle(core: &Core, count: Count<'_>, amount: u32) -> Result<SpendOutcome, Rejection> {
    let spend = Spend {
        quota: count.quota,
        subject: subject_hash(core, count),
        amount,
        limit: count.allowance.limit,
        window: count.allowance.window,
        now: core.now(),
    };
    core.ports.exchange.spend(spend).await.map_err(|error| {
        core.note(&error);
        Rejection::Quota { retry_after: RETRY_WHEN_UNKNOWN }
    })
}

fn subject_hash(core: &Core, count: Count<'_>) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(core.identity.pepper.expose())
        .expect("HMAC takes keys of every length");
    mac.update(b"waxwing quota\0");
    for part in [count.quota.as_bytes()].iter().chain(count.subject) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
