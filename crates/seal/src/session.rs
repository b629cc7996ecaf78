//! One-to-one: opening a session, encrypting to a device, decrypting what a device sent.
//!
//! Each function reads load -> work on copies -> check -> commit (see [`crate::Store`]).

use crate::content::Content;
use crate::guard::{self, MessageHeader, PrekeyHeader};
use crate::library::record::{Candidate, Record};
use crate::library::{self, Opening, Prekeys, Trouble, Usability};
use crate::opened::{Arrival, Opened, check_addresses};
use crate::{
    DecryptError, DecryptFailure, LastResortUse, LocalDevice, Peer, SealError, SessionNeeded, Store,
    StoreError, VerifiedBundle, padding, sender_key,
};
use rand_core::CryptoRng;
use signed::IdentityKey;
use types::{DeviceAddress, Timestamp};
use zeroize::Zeroizing;

/// From this many unanswered messages on, [`Sealed::renew`] asks for a new session.
pub const CHAIN_LENGTH_RENEW: u32 = 1_500;
/// With this many unanswered messages nothing more is encrypted: a receiver that got none of them would
/// refuse the next one as too far ahead.
pub const CHAIN_LENGTH_MAX: u32 = guard::FORWARD_MAX;
/// Hash steps that one message may cost over all sessions with its sender: what one session may cost, on
/// both of its ratchets.
pub const STEPS_MAX: u32 = 2 * guard::FORWARD_MAX;

/// How a ciphertext is to be read; the kind in its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealKind {
    /// Opens a session, until the other side has answered.
    Prekey,
    /// Belongs to an open session.
    Ratchet,
    /// To a group, under a sender key.
    SenderKey,
}

/// What goes into an envelope. A retry sends these bytes again; nothing is ever encrypted twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How it is to be read.
    pub kind: SealKind,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// True when the other side has not answered 1,500 messages: open a new session at the next chance.
    pub renew: bool,
}

/// Opens a session with a verified bundle (PQXDH). An older session with the device is kept for what is
/// still under way in it; everything from now on is encrypted with the new one.
pub fn open_session(
    store: &mut dyn Store,
    bundle: &VerifiedBundle,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(), SealError> {
    let local = store.local()?;
    let peer = bundle.peer();
    if peer.address() == local.address || peer.identity() == local.identity.public() {
        return Err(SealError::WrongAddress);
    }
    let record = load(store, peer.address())?.unwrap_or_default();
    let state = library::initiate(&local, bundle, now.as_system_time(), rng).map_err(own_fault)?;
    let record = record.add(&state).map_err(|error| own_fault(error.into()))?;
    Ok(store.store_session(peer.address(), &record.to_bytes())?)
}

/// Why a new session must be opened before something can be encrypted to a device; `None` if nothing is
/// needed. The same check that [`encrypt`] makes.
pub fn session_needed(
    store: &dyn Store,
    peer: &Peer,
    now: Timestamp,
) -> Result<Option<SessionNeeded>, StoreError> {
    let current = load(store, peer.address())?.as_ref().and_then(Record::current_state);
    Ok(usable(current, peer, now).err())
}

/// Encrypts a content to one device and advances the session. The content's sender must be this device, its
/// recipient the peer's account.
pub fn encrypt(
    store: &mut dyn Store,
    peer: &Peer,
    content: &Content,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<Sealed, SealError> {
    let local = store.local()?;
    check_addresses(content, local.address, peer.address().account, None)
        .map_err(|_| SealError::WrongAddress)?;
    let plaintext = Zeroizing::new(padding::pad(content.encode()?));
    let record = load(store, peer.address())?.unwrap_or_default();
    let current = usable(record.current_state(), peer, now).map_err(SealError::SessionNeeded)?;
    let renew = current.state.unanswered() + 1 >= CHAIN_LENGTH_RENEW;
    let sealed =
        library::encrypt(&local, &current.alone, &plaintext, now.as_system_time(), rng).map_err(own_fault)?;
    let record = record.advance(&current, &sealed.advanced).map_err(|error| own_fault(error.into()))?;
    store.store_session(peer.address(), &record.to_bytes())?;
    Ok(Sealed { kind: sealed.kind, ciphertext: sealed.ciphertext, renew })
}

/// Opens what came in and advances the session. What it gives must pass [`Opened::verify`] before it can be
/// read. Any bytes may arrive.
///
/// A session remembers the last five chains of its peer: a redelivery from before that is a
/// [`DecryptFailure::BadMac`] and no [`DecryptFailure::Duplicate`], so an engine drops envelopes whose ids it
/// has committed before it comes here.
pub fn decrypt(
    store: &mut dyn Store,
    arrival: &Arrival<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<Opened, DecryptError> {
    let local = store.local()?;
    if arrival.to != local.address || arrival.listed.is_some_and(|peer| peer.address() != arrival.from) {
        return Err(DecryptFailure::WrongAddress.into());
    }
    if arrival.kind == SealKind::SenderKey {
        return sender_key::decrypt(store, arrival);
    }
    let header = guard::inspect(arrival.kind, arrival.ciphertext)?;
    match &header.prekey {
        Some(prekey) => decrypt_prekey(store, arrival, &local, &header, prekey, rng),
        None => decrypt_ratchet(store, arrival, &local, &header, rng),
    }
}

/// How many hash steps an arrival of an open session can cost before its MAC is checked; never more than
/// [`STEPS_MAX`]. For metrics and tests: [`decrypt`] refuses by itself.
pub fn forward_steps(store: &dyn Store, arrival: &Arrival<'_>) -> Result<u32, DecryptError> {
    let header = guard::inspect(arrival.kind, arrival.ciphertext)?;
    let record = load(store, arrival.from)?.ok_or(DecryptFailure::NoSession)?;
    Ok(plan(&record, &header)?.iter().map(|(_, steps)| steps).sum())
}

fn decrypt_prekey(
    store: &mut dyn Store,
    arrival: &Arrival<'_>,
    local: &LocalDevice,
    header: &MessageHeader,
    prekey: &PrekeyHeader,
    rng: &mut dyn CryptoRng,
) -> Result<Opened, DecryptError> {
    check_opener(arrival, local, prekey)?;
    let record = load(store, arrival.from)?.unwrap_or_default();
    let known = record.candidates().find(|candidate| candidate.state.base_key == prekey.base_key);
    if let Some(known) = &known {
        if known.state.remote_identity != prekey.identity.as_bytes() {
            return Err(DecryptFailure::GuardRefused.into());
        }
        known.state.steps(header).ok_or(DecryptFailure::TooFarAhead)?;
    }
    let (prekeys, last_resort) = match &known {
        Some(_) => (Prekeys::default(), false),
        None => load_prekeys(store, prekey)?,
    };
    let state = known.as_ref().map(|known| known.alone.as_slice());
    let opening = library::open_prekey(local, state, &prekeys, arrival.ciphertext, rng).map_err(refusal)?;
    let opened = open_plaintext(arrival, &opening, prekey.identity)?;
    let record = match &known {
        Some(known) => record.advance(known, &opening.advanced),
        None => record.add(&opening.advanced),
    };
    let record = record.map_err(|error| refusal(error.into()))?;
    if opening.used_prekeys {
        spend_prekeys(store, prekey, last_resort)?;
    }
    store.store_session(arrival.from, &record.to_bytes())?;
    Ok(opened)
}

fn decrypt_ratchet(
    store: &mut dyn Store,
    arrival: &Arrival<'_>,
    local: &LocalDevice,
    header: &MessageHeader,
    rng: &mut dyn CryptoRng,
) -> Result<Opened, DecryptError> {
    let record = load(store, arrival.from)?.ok_or(DecryptFailure::NoSession)?;
    let (candidate, opening) = open_with_any(&record, local, arrival.ciphertext, header, rng)?;
    let identity = known_identity(&candidate, arrival.listed.as_ref())?;
    let opened = open_plaintext(arrival, &opening, identity)?;
    let record = record.advance(&candidate, &opening.advanced).map_err(|error| refusal(error.into()))?;
    store.store_session(arrival.from, &record.to_bytes())?;
    Ok(opened)
}

/// Tries the planned sessions in turn.
fn open_with_any(
    record: &Record,
    local: &LocalDevice,
    ciphertext: &[u8],
    header: &MessageHeader,
    rng: &mut dyn CryptoRng,
) -> Result<(Candidate, Opening), DecryptFailure> {
    let mut failure = DecryptFailure::NoSession;
    for (candidate, _) in plan(record, header)? {
        match library::open_ratchet(local, &candidate.alone, ciphertext, rng) {
            Ok(opening) => return Ok((candidate, opening)),
            Err(trouble) => failure = trouble.as_decrypt_failure(),
        }
        if matches!(failure, DecryptFailure::Duplicate | DecryptFailure::Panicked) {
            break;
        }
    }
    Err(failure)
}

/// Which sessions to try, each with the steps that it costs: the one that knows the message's ratchet key, or
/// else all of them, the current one first, as long as their steps together stay within [`STEPS_MAX`].
fn plan(record: &Record, header: &MessageHeader) -> Result<Vec<(Candidate, u32)>, DecryptFailure> {
    let known = record.candidates().find(|candidate| candidate.knows(&header.ratchet_key));
    let candidates: Vec<Candidate> = match known {
        Some(known) => vec![known],
        None => {
            header.check_ratchet_key()?;
            record.candidates().collect()
        }
    };
    if candidates.is_empty() {
        return Err(DecryptFailure::NoSession);
    }
    let mut left = STEPS_MAX;
    let mut affordable = Vec::new();
    for candidate in candidates {
        if let Some(steps) = candidate.state.steps(header).filter(|steps| *steps <= left) {
            left -= steps;
            affordable.push((candidate, steps));
        }
    }
    if affordable.is_empty() { Err(DecryptFailure::TooFarAhead) } else { Ok(affordable) }
}

/// Who opens a session must be the listed device, where we know the list; and never we ourselves, whose
/// messages a server could send back.
fn check_opener(
    arrival: &Arrival<'_>,
    local: &LocalDevice,
    prekey: &PrekeyHeader,
) -> Result<(), DecryptFailure> {
    if prekey.identity == *local.identity.public() {
        return Err(DecryptFailure::GuardRefused);
    }
    let listed =
        |peer: Peer| *peer.identity() == prekey.identity && peer.registration().get() == prekey.registration;
    if arrival.listed.is_none_or(listed) { Ok(()) } else { Err(DecryptFailure::Unlisted) }
}

/// The identity that a session was opened with: the listed one, where we know the list. It was checked to be a
/// strong point when the session was opened.
fn known_identity(candidate: &Candidate, listed: Option<&Peer>) -> Result<IdentityKey, DecryptFailure> {
    let bytes = candidate.state.remote_identity.as_slice();
    match listed {
        Some(peer) if peer.identity().as_bytes() == bytes => Ok(*peer.identity()),
        Some(_) => Err(DecryptFailure::Unlisted),
        None => IdentityKey::from_slice(bytes).map_err(|_| DecryptFailure::DamagedState),
    }
}

fn load(store: &dyn Store, peer: DeviceAddress) -> Result<Option<Record>, StoreError> {
    // A damaged record is like none: the session is lost, and a new one heals it.
    Ok(store.session(peer)?.and_then(|bytes| Record::read(&bytes)))
}

fn load_prekeys(store: &dyn Store, prekey: &PrekeyHeader) -> Result<(Prekeys, bool), StoreError> {
    let one_time = match prekey.one_time {
        Some(id) => store.one_time_prekey(id)?,
        None => None,
    };
    let kem = store.kem_prekey(prekey.kem)?;
    let last_resort = kem.as_ref().is_some_and(|kem| kem.last_resort);
    let prekeys =
        Prekeys { one_time, signed: store.signed_prekey(prekey.signed)?, kem: kem.map(|kem| kem.record) };
    Ok((prekeys, last_resort))
}

/// The first write of a decryption: only here a replay under a last-resort prekey can show.
fn spend_prekeys(
    store: &mut dyn Store,
    prekey: &PrekeyHeader,
    last_resort: bool,
) -> Result<(), DecryptError> {
    if last_resort {
        let used =
            LastResortUse { kem_prekey: prekey.kem, signed_prekey: prekey.signed, base_key: prekey.base_key };
        if !store.remember_last_resort_use(&used)? {
            return Err(DecryptFailure::Duplicate.into());
        }
    } else {
        store.remove_kem_prekey(prekey.kem)?;
    }
    if let Some(id) = prekey.one_time {
        store.remove_one_time_prekey(id)?;
    }
    Ok(())
}

fn open_plaintext(
    arrival: &Arrival<'_>,
    opening: &Opening,
    identity: IdentityKey,
) -> Result<Opened, DecryptFailure> {
    let advanced = Record::read(&opening.advanced).and_then(|record| record.current_state());
    if !advanced.is_some_and(|candidate| candidate.state.is_post_quantum()) {
        return Err(DecryptFailure::GuardRefused);
    }
    Opened::read(arrival, &opening.plaintext, identity, None)
}

fn usable(current: Option<Candidate>, peer: &Peer, now: Timestamp) -> Result<Candidate, SessionNeeded> {
    let current = current.ok_or(SessionNeeded::Absent)?;
    let state = &current.state;
    if state.remote_identity != peer.identity().as_bytes()
        || state.remote_registration != peer.registration().get()
    {
        return Err(SessionNeeded::Changed);
    }
    match library::usability(&current.alone, now.as_system_time()) {
        Ok(Usability::Usable) if state.unanswered() >= CHAIN_LENGTH_MAX => Err(SessionNeeded::Exhausted),
        Ok(Usability::Usable) => Ok(current),
        Ok(Usability::Stale) => Err(SessionNeeded::Stale),
        Ok(Usability::Unusable) | Err(_) => Err(SessionNeeded::Unusable),
    }
}

fn refusal(trouble: Trouble) -> DecryptFailure {
    trouble.as_decrypt_failure()
}

fn own_fault(trouble: Trouble) -> SealError {
    SealError::Library(trouble.as_own_fault())
}
