//! Groups: one sender key for each group and sender device, distributed over one-to-one sessions.
//!
//! ```text
//! stored record = identity key of the sender device (33 bytes) || the library's record
//! ```
//! The identity is the one under which the key arrived, so that a group message shows only if that one is
//! still on the sender's verified device list.

use crate::content::Content;
use crate::library::{self, Trouble};
use crate::opened::{Arrival, Opened, check_addresses};
use crate::session::{SealKind, Sealed};
use crate::{DecryptError, DecryptFailure, LocalDevice, Peer, SealError, Store, guard, padding};
use rand_core::CryptoRng;
use signed::IdentityKey;
use types::GroupId;
use zeroize::Zeroizing;

/// What goes to every device of the group so that it can open what this device sends; makes the sender key
/// if there is none. A device that gets it opens what is sent from now on, nothing older.
pub fn sender_key_distribution(
    store: &mut dyn Store,
    group: GroupId,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let local = store.local()?;
    let stored = store.sender_key(group, local.address)?;
    distribute(store, &local, group, stored.as_deref().and_then(|stored| own_record(stored, &local)), rng)
}

/// Replaces this device's sender key: a member or device was removed, or the key served 1,000 messages or
/// 7 days. Gives what [`sender_key_distribution`] gives.
pub fn rotate_sender_key(
    store: &mut dyn Store,
    group: GroupId,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let local = store.local()?;
    distribute(store, &local, group, None, rng)
}

/// Takes in what a device distributed in a content that was verified against its list.
pub fn process_distribution(
    store: &mut dyn Store,
    from: &Peer,
    group: GroupId,
    distribution: &[u8],
) -> Result<(), DecryptError> {
    guard::inspect_distribution(distribution)?;
    let stored = store.sender_key(group, from.address())?;
    let same_device =
        |(identity, record): (IdentityKey, Record)| (identity == *from.identity()).then_some(record);
    let before = stored.as_deref().and_then(|stored| split(stored)).and_then(same_device);
    let record =
        library::group_process(before.as_deref().map(Vec::as_slice), group, distribution).map_err(refusal)?;
    Ok(store.store_sender_key(group, from.address(), &join(from.identity(), &record))?)
}

/// Encrypts a content to a group and advances this device's sender key. The content names the group as its
/// conversation, has a [`crate::GroupView`] and no recipient.
pub fn group_encrypt(
    store: &mut dyn Store,
    group: GroupId,
    content: &Content,
    rng: &mut dyn CryptoRng,
) -> Result<Sealed, SealError> {
    let local = store.local()?;
    check_addresses(content, local.address, local.address.account, Some(group))
        .map_err(|_| SealError::WrongAddress)?;
    let plaintext = Zeroizing::new(padding::pad(content.encode()?));
    let stored = store.sender_key(group, local.address)?;
    let record = stored.as_deref().and_then(|stored| own_record(stored, &local));
    let record = record.ok_or(SealError::NoSenderKey)?;
    let (record, ciphertext) = library::group_encrypt(&record, group, &plaintext, rng).map_err(own_fault)?;
    store.store_sender_key(group, local.address, &join(local.identity.public(), &record))?;
    Ok(Sealed { kind: SealKind::SenderKey, ciphertext, renew: false })
}

/// Opens a group message.
pub(crate) fn decrypt(store: &mut dyn Store, arrival: &Arrival<'_>) -> Result<Opened, DecryptError> {
    let group = arrival.group.ok_or(DecryptFailure::WrongAddress)?;
    let header = guard::inspect_sender_key(arrival.ciphertext)?;
    if header.group != *group.as_bytes() {
        return Err(DecryptFailure::WrongAddress.into());
    }
    let stored = store.sender_key(group, arrival.from)?.ok_or(DecryptFailure::NoSenderKey)?;
    let (identity, record) = split(&stored).ok_or(DecryptFailure::DamagedState)?;
    if arrival.listed.is_some_and(|peer| *peer.identity() != identity) {
        return Err(DecryptFailure::Unlisted.into());
    }
    let received =
        library::record::sender_key_received(&record, header.chain).ok_or(DecryptFailure::NoSenderKey)?;
    if header.iteration.saturating_sub(received) > guard::FORWARD_MAX {
        return Err(DecryptFailure::TooFarAhead.into());
    }
    let (record, plaintext) = library::group_decrypt(&record, arrival.ciphertext).map_err(refusal)?;
    let opened = Opened::read(arrival, &plaintext, identity, Some(group))?;
    store.store_sender_key(group, arrival.from, &join(&identity, &record))?;
    Ok(opened)
}

type Record = Zeroizing<Vec<u8>>;

fn distribute(
    store: &mut dyn Store,
    local: &LocalDevice,
    group: GroupId,
    record: Option<Record>,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let before = record.as_deref().map(Vec::as_slice);
    let (record, message) = library::group_distribution(before, group, rng).map_err(own_fault)?;
    store.store_sender_key(group, local.address, &join(local.identity.public(), &record))?;
    Ok(message)
}

fn own_record(stored: &[u8], local: &LocalDevice) -> Option<Record> {
    split(stored).and_then(|(identity, record)| (identity == *local.identity.public()).then_some(record))
}

fn split(stored: &[u8]) -> Option<(IdentityKey, Record)> {
    let (identity, record) = stored.split_at_checked(33)?;
    Some((IdentityKey::from_slice(identity).ok()?, Zeroizing::new(record.to_vec())))
}

fn join(identity: &IdentityKey, record: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([identity.as_bytes().as_slice(), record].concat())
}

fn refusal(trouble: Trouble) -> DecryptFailure {
    trouble.as_decrypt_failure()
}

fn own_fault(trouble: Trouble) -> SealError {
    SealError::Library(trouble.as_own_fault())
}
