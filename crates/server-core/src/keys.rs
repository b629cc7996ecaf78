//! Prekeys: checked when they are uploaded, given out so that no one-time key is used twice and nobody
//! can empty a pool.

use crate::{
    Core,
    accept::{RETRY_NOT_READY, SendError},
    acquaintance,
    quota::{self, Count},
    refusal::Rejection,
};
use server_ports::{
    Caller, Signal,
    directory::{Account, TakeKeys, TakenKeys},
};
use std::{collections::BTreeSet, sync::PoisonError};
use types::{AccountId, DeviceAddress, MailboxId, limits};
use wire::{AccountKeys, Bundle, FetchKeys, KemPrekey, KeyUpload, OneTimePrekey, Response, SignedPrekey};

/// An X25519 public key with its type byte (Signal's `PublicKey`).
const POINT_BYTES: usize = 33;
/// The type byte of X25519 keys.
const POINT_TYPE: u8 = 5;
/// A Kyber-1024 public key with its type byte (Signal's `kem::PublicKey`).
const KEM_BYTES: usize = 1_569;
/// The type byte of Kyber-1024 keys.
const KEM_TYPE: u8 = 8;
/// An XEdDSA signature.
const SIGNATURE_BYTES: usize = 64;

/// Why keys were refused. Nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key or signature has the wrong length.
    #[error("a key or signature has the wrong length")]
    Length,
    /// A key has another type byte than its kind asks for.
    #[error("a key has the wrong type byte")]
    Type,
    /// A key is of low order: an agreement with it would be known to everybody.
    #[error("a key is of low order")]
    Weak,
    /// A last-resort key among the one-time keys, or the other way round.
    #[error("a last-resort key and a one-time key are mixed up")]
    Kind,
    /// Two one-time keys of one upload have the same id.
    #[error("two keys have the same id")]
    RepeatedId,
    /// More one-time keys than are stored for a device.
    #[error("too many one-time keys")]
    TooMany,
    /// The device is not listed any more.
    #[error("the device is not listed")]
    NotListed,
}

/// Stores keys of the caller's device.
pub(crate) async fn upload(core: &Core, caller: &Caller, keys: KeyUpload) -> Result<Response, Rejection> {
    check(&keys)?;
    let subject: &[&[u8]] = &[&device_subject(caller.mailbox)];
    let count = Count { quota: "key_uploads", subject, allowance: core.config.quotas.key_uploads };
    quota::spend(core, count, 1).await?;
    let stored = core.ports.directory.put_keys(caller.mailbox, keys).await?;
    stored.map(|_| Response::Done).ok_or(KeyError::NotListed.into())
}

/// How many one-time keys of the caller's device are left.
pub(crate) async fn count(core: &Core, caller: &Caller) -> Result<Response, Rejection> {
    let counts = core.ports.directory.key_counts(caller.mailbox).await?;
    counts.map(Response::KeyCounts).ok_or(KeyError::NotListed.into())
}

/// Gives out the device lists and bundles of some accounts, in the order asked.
pub(crate) async fn fetch(core: &Core, caller: &Caller, fetch: FetchKeys) -> Result<Response, Rejection> {
    let mut keys = Vec::with_capacity(fetch.accounts.len());
    for account in &fetch.accounts {
        keys.push(keys_of(core, caller, *account, &fetch).await?);
    }
    Ok(Response::Keys(keys))
}

/// Checks what a device uploads. Signatures are for those who use the keys: only they know whether the
/// identity key on the verified list made them.
pub(crate) fn check(keys: &KeyUpload) -> Result<(), KeyError> {
    if keys.one_time.len() > limits::ONE_TIME_KEYS_MAX || keys.one_time_kem.len() > limits::ONE_TIME_KEYS_MAX
    {
        return Err(KeyError::TooMany);
    }
    if let Some(SignedPrekey { public_key, signature, .. }) = &keys.signed_prekey {
        check_point(public_key)?;
        check_signature(signature)?;
    }
    if let Some(key) = &keys.last_resort {
        check_kem(key, true)?;
    }
    for OneTimePrekey { public_key, .. } in &keys.one_time {
        check_point(public_key)?;
    }
    for key in &keys.one_time_kem {
        check_kem(key, false)?;
    }
    let distinct = |ids: BTreeSet<u32>, count: usize| ids.len() == count;
    let one_time = distinct(keys.one_time.iter().map(|key| key.id).collect(), keys.one_time.len());
    let kem = distinct(keys.one_time_kem.iter().map(|key| key.id).collect(), keys.one_time_kem.len());
    if one_time && kem { Ok(()) } else { Err(KeyError::RepeatedId) }
}

fn check_point(key: &[u8]) -> Result<(), KeyError> {
    let key: &[u8; POINT_BYTES] = key.try_into().map_err(|_| KeyError::Length)?;
    let [kind, point @ ..] = key;
    if *kind != POINT_TYPE {
        return Err(KeyError::Type);
    }
    if signed::keys::is_low_order(point) { Err(KeyError::Weak) } else { Ok(()) }
}

fn check_kem(key: &KemPrekey, last_resort: bool) -> Result<(), KeyError> {
    check_signature(&key.signature)?;
    if key.public_key.len() != KEM_BYTES {
        return Err(KeyError::Length);
    }
    if key.public_key.first() != Some(&KEM_TYPE) {
        return Err(KeyError::Type);
    }
    if key.last_resort == last_resort { Ok(()) } else { Err(KeyError::Kind) }
}

fn check_signature(signature: &[u8]) -> Result<(), KeyError> {
    if signature.len() == SIGNATURE_BYTES { Ok(()) } else { Err(KeyError::Length) }
}

async fn keys_of(
    core: &Core,
    caller: &Caller,
    account: AccountId,
    fetch: &FetchKeys,
) -> Result<AccountKeys, Rejection> {
    let none = AccountKeys { account, device_list: Default::default(), bundles: Vec::new(), closed: false };
    let Some(found) = core.ports.directory.account(account).await? else { return Ok(none) };
    if found.closed {
        return Ok(AccountKeys { closed: true, ..none });
    }
    if found.list_version == 0 {
        // An answer without a list would read as "no such account", which ends what waits for it.
        return Err(SendError::RecipientNotReady { retry_after: RETRY_NOT_READY }.into());
    }
    let fellow = are_fellows(core, caller.mailbox.account, account).await?;
    if !fellow {
        acquaintance::meet(core, caller.mailbox.account, account).await?;
    }
    let mut bundles = Vec::with_capacity(found.devices.len());
    for target in wanted(&found, caller, fetch) {
        bundles.extend(bundle_of(core, caller, target, fetch.reset, fellow).await?);
    }
    Ok(AccountKeys { device_list: found.list, bundles, ..none })
}

/// The listed devices of an account that the caller asked for, never its own.
fn wanted(account: &Account, caller: &Caller, fetch: &FetchKeys) -> Vec<MailboxId> {
    let asked = account.devices.iter().filter(|listed| fetch.device.is_none_or(|only| only == listed.device));
    asked
        .map(|listed| DeviceAddress::new(account.id, listed.device).mailbox(listed.registration))
        .filter(|mailbox| mailbox.address() != caller.address())
        .collect()
}

/// A bundle of one device; `None` while it has no keys here.
async fn bundle_of(
    core: &Core,
    caller: &Caller,
    target: MailboxId,
    reset: bool,
    fellow: bool,
) -> Result<Option<Bundle>, Rejection> {
    let (requester, quotas) = (device_subject(caller.mailbox), &core.config.quotas);
    let (quota, allowance) = match fellow {
        true => ("bundles_of_fellows", quotas.bundles_of_fellows),
        false => ("bundles", quotas.bundles),
    };
    quota::spend(core, Count { quota, subject: &[&requester], allowance }, 1).await?;
    let spare_one_time = !reset && !may_take_one_time(core, caller, target, fellow).await;
    let take = TakeKeys { target, requester: caller.mailbox, reset, spare_one_time, now: core.now() };
    let Some(TakenKeys { bundle, left }) = core.ports.directory.take_keys(take).await? else {
        return Ok(None);
    };
    let low = limits::ONE_TIME_KEYS_LOW as u32;
    if left.one_time < low || left.one_time_kem < low {
        // Best effort: the device also asks for its counts whenever it connects.
        let _ = core.ports.exchange.signal(target, Signal::KeysLow(left)).await;
    }
    if bundle.one_time_prekey.is_none() && !reset {
        metrics::counter!("waxwing_bundles_without_one_time_key_total").increment(1);
    }
    Ok(Some(planted_reuse(core, bundle)))
}

/// Whether a group has both as members. A new member of a large one opens sessions with all others at once, and
/// they with it.
async fn are_fellows(core: &Core, one: AccountId, other: AccountId) -> Result<bool, Rejection> {
    Ok(one != other && core.ports.groups.in_one_group(one, other).await?)
}

/// Whether a one-time key may leave the target's pool for this requester. Beyond the brake bundles come
/// without one: the session then starts weaker and is marked, which beats an empty pool for everybody. The brake
/// on the whole pool is for strangers; fellow members are as many as a group may have.
async fn may_take_one_time(core: &Core, caller: &Caller, target: MailboxId, fellow: bool) -> bool {
    let quotas = &core.config.quotas;
    let (requester, target) = (device_subject(caller.mailbox), device_subject(target));
    let both: &[&[u8]] = &[&requester, &target];
    let pair =
        Count { quota: "one_time_keys_of_pair", subject: both, allowance: quotas.one_time_keys_of_pair };
    let pool = Count { quota: "one_time_keys", subject: &[&target], allowance: quotas.one_time_keys };
    quota::spend(core, pair, 1).await.is_ok() && (fellow || quota::spend(core, pool, 1).await.is_ok())
}

fn device_subject(device: MailboxId) -> [u8; 21] {
    let mut bytes = [0; 21];
    bytes[..16].copy_from_slice(device.account.as_bytes());
    bytes[16] = device.device.get();
    bytes[17..].copy_from_slice(&device.registration.get().to_be_bytes());
    bytes
}

fn planted_reuse(core: &Core, bundle: Bundle) -> Bundle {
    if !core.config.bugs.hand_out_keys_twice {
        return bundle;
    }
    let mut last = core.last_bundle.lock().unwrap_or_else(PoisonError::into_inner);
    match last.take() {
        Some(before) if (before.device, before.registration) == (bundle.device, bundle.registration) => {
            before
        }
        _ => {
            *last = Some(bundle.clone());
            bundle
        }
    }
}
