//! Admitting a session: the token opens nothing by itself, the device key must have signed what this
//! one connection is, and its number must be greater than every one before.

use crate::{Core, lists, refusal::Rejection};
use server_ports::{
    Caller,
    directory::{Account, ConnectOutcome, DeviceRecord},
    exchange::Route,
};
use sha2::{Digest, Sha256};
use signed::{DeviceKey, SessionProof, Signature};
use subtle::ConstantTimeEq;
use wire::{Authenticate, version};

/// A device that has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Who it is.
    pub caller: Caller,
    /// The version of its account's device list that is stored here; 0 asks for an upload.
    pub device_list_version: u64,
}

/// Why a session was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No protocol version in common.
    #[error("the protocol version is not spoken here")]
    Version,
    /// The client dialled a name that is not this service's: somebody stands between.
    #[error("the origin is not this service's")]
    Origin,
    /// There is no such account.
    #[error("there is no such account")]
    Unknown,
    /// The account is closed or the device not listed any more.
    #[error("the device is not listed any more")]
    Revoked,
    /// Not the device's token.
    #[error("the token is wrong")]
    Token,
    /// Not the device key's signature over this connection.
    #[error("the signature is wrong")]
    Signature,
    /// The connection number was used before: two copies of one database are alive.
    #[error("the connection number was used before")]
    Cloned,
    /// A newer connection of the same device was admitted meanwhile.
    #[error("a newer connection took over")]
    Replaced,
}

/// Checks a session proof and records its connection number.
pub(crate) async fn authenticate(
    core: &Core,
    proof: &Authenticate,
    nonce: [u8; 32],
) -> Result<Admitted, Rejection> {
    if !version::SUPPORTED.contains(proof.version) {
        return Err(ConnectError::Version.into());
    }
    if !core.config.origins.allow(&proof.origin) {
        return Err(ConnectError::Origin.into());
    }
    let Some(record) = core.ports.directory.device(proof.address).await? else {
        let known = core.ports.directory.account(proof.address.account).await?.is_some();
        return Err(if known { ConnectError::Revoked } else { ConnectError::Unknown }.into());
    };
    verify(proof, nonce, &record)?;
    record_number(core, proof, &record).await?;
    // A listed device without a mailbox would lose what is sent to it: after a restore, say.
    core.ports.mailboxes.open(record.mailbox).await?;
    let account = core.ports.directory.account(proof.address.account).await?;
    let listed = |account: &Account| lists::mailboxes(account).any(|mailbox| mailbox == record.mailbox);
    let Some(account) = account.filter(|account| !account.closed && listed(account)) else {
        // It was removed meanwhile, and nobody will close again what was opened after that.
        core.ports.mailboxes.close(record.mailbox).await?;
        return Err(ConnectError::Revoked.into());
    };
    metrics::counter!("waxwing_sessions_admitted_total").increment(1);
    let caller = Caller { mailbox: record.mailbox, connection: proof.connection_number };
    Ok(Admitted { caller, device_list_version: account.list_version })
}

/// Claims the route, then looks once more.
pub(crate) async fn opened(core: &Core, caller: &Caller) -> Result<(), Rejection> {
    // Soft state: without the route the session still reads its mailbox on the slow timer.
    if let Err(error) = core.ports.exchange.claim(route(core, caller)).await {
        core.note(&error);
    }
    match core.ports.directory.device(caller.address()).await? {
        Some(record) if record.mailbox != caller.mailbox => Err(ConnectError::Revoked.into()),
        Some(record) if record.connection_number > caller.connection => Err(ConnectError::Replaced.into()),
        Some(_) => Ok(()),
        None => Err(ConnectError::Revoked.into()),
    }
}

/// Gives the route up, if it is still this connection's.
pub(crate) async fn closed(core: &Core, caller: &Caller) {
    if let Err(error) = core.ports.exchange.release(route(core, caller)).await {
        core.note(&error);
    }
}

fn verify(proof: &Authenticate, nonce: [u8; 32], record: &DeviceRecord) -> Result<(), ConnectError> {
    let token_hash: [u8; 32] = Sha256::digest(proof.token.expose()).into();
    let has_token = bool::from(token_hash.ct_eq(&record.token_hash));
    match (has_token, is_signed(proof, nonce, record)) {
        (true, true) => Ok(()),
        (true, false) => Err(ConnectError::Signature),
        (false, true) => Err(ConnectError::Token),
        // Neither is this device's: it is an earlier one of the same number, whose place another has taken.
        (false, false) => Err(ConnectError::Revoked),
    }
}

/// Whether the listed device key signed what this one connection is.
fn is_signed(proof: &Authenticate, nonce: [u8; 32], record: &DeviceRecord) -> bool {
    let signed = SessionProof {
        version: proof.version,
        origin: &proof.origin,
        account: proof.address.account,
        device: proof.address.device,
        connection_number: proof.connection_number,
        nonce,
    };
    let key = DeviceKey::from_slice(&record.device_key);
    let signature = Signature::from_slice(&proof.signature);
    matches!((key, signature), (Ok(key), Ok(signature)) if signed.verify(&key, &signature))
}

async fn record_number(core: &Core, proof: &Authenticate, record: &DeviceRecord) -> Result<(), Rejection> {
    let outcome = core.ports.directory.connect(record.mailbox, proof.connection_number, core.now()).await?;
    match outcome {
        ConnectOutcome::Stored { .. } => Ok(()),
        ConnectOutcome::NotGreater if core.config.bugs.skip_connection_number => Ok(()),
        ConnectOutcome::NotGreater => Err(ConnectError::Cloned.into()),
        ConnectOutcome::NoDevice => Err(ConnectError::Revoked.into()),
    }
}

fn route(core: &Core, caller: &Caller) -> Route {
    Route { device: caller.mailbox, node: core.config.node, connection: caller.connection }
}
