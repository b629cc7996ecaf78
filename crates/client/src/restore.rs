//! Becoming the primary device of one's account again, from a backup: the account key in it proves the account.
//!
//! The device makes new keys and signs itself into the place of device 1, above the list that the server has. The
//! archive is imported with the server's word, in the same transaction, so a profile has all of it or nothing.

use crate::{
    Fault, HttpAnswer, HttpRequest, Problem, Registered,
    archive::{
        ArchiveError,
        import::{Import, ImportError},
        records::AccountRecord,
    },
    backup::{self, BackupError},
    devices,
    http::{self, DeviceMade, Unanswered, text},
    keys,
    store::{Stored, account, device_lists, groups, inbox, inbox::Heard, prekeys, profile, profile::Me},
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use seal::DeviceSecrets;
use serde::{Deserialize, Serialize};
use signed::{DeviceList, DeviceSecret, Succession};
use types::{DeviceAddress, DeviceNumber, Redact, Timestamp};
use zeroize::Zeroizing;

/// Lists that one restore signs: a server that goes on naming newer ones does not want it.
const LISTS_MAX: u32 = 8;

/// What the server's answer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// The server has a newer list: one above it was signed. Ask again.
    Again(HttpRequest),
    /// This is device 1 of the account, and the archive is here.
    Done(Registered),
}

/// The account was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The profile has an account already.
    #[error("this profile has an account")]
    HasAccount,
    /// There is no restore to go on with: begin one.
    #[error("no restore was begun")]
    NotBegun,
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The server refused: `no_account`, `account_closed`, ….
    #[error("the server refused: {}", .0.code)]
    Refused(Problem),
    /// The server's answer is not of this interface.
    #[error("the server's answer makes no sense")]
    BadAnswer,
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<Unanswered> for RestoreError {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Refused(problem) => Self::Refused(problem),
            Unanswered::Nonsense => Self::BadAnswer,
        }
    }
}

impl From<ImportError> for RestoreError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Archive(ArchiveError::Newer) => Self::Backup(BackupError::Newer),
            ImportError::Archive(ArchiveError::Damaged) => Self::Backup(BackupError::Damaged),
            ImportError::Fault(fault) => Self::Fault(fault),
        }
    }
}

/// A restore between its first request and its end. Lost with the process: it is begun again then.
pub(crate) struct Restore {
    parts: Vec<Zeroizing<Vec<u8>>>,
    /// The newest list of the account that is known: the server cannot bring back a device that it does not have.
    newest: DeviceList,
    lists_signed: u32,
}

impl Restore {
    /// [`crate::testing::Bugs::skip_backup_end`]
    pub(crate) fn leave_out_the_end(&mut self) {
        self.parts.truncate(1);
    }
}

#[derive(Serialize)]
struct Restoration {
    device_list: String,
    token: String,
    keys: String,
}

#[derive(Deserialize)]
struct Conflict {
    device_list: String,
}

/// Where an account is restored to.
pub(crate) struct Target<'a> {
    pub(crate) server: &'a str,
    pub(crate) server_pin: Option<[u8; 32]>,
}

pub(crate) fn begin(
    db: &Connection,
    (backup, key): (&[u8], &str),
    target: &Target<'_>,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(Restore, HttpRequest), RestoreError> {
    let unfinished = profile::load(db)?;
    if unfinished.as_ref().is_some_and(|me| me.registered) {
        return Err(RestoreError::HasAccount);
    }
    let opened = backup::open(backup, key)?;
    // What an earlier try has signed stays signed.
    let signed_before = match unfinished {
        Some(me) if me.account() == opened.account.list.account() => account::list_version(db)?,
        _ => 0,
    };
    let me = make_keys(db, &opened.account, target, now, rng)?;
    account::raise_list_version(db, opened.account.list_version.max(signed_before))?;
    sign_above(db, &me, &opened.account.list, now, rng)?;
    let restore = Restore { parts: opened.parts, newest: opened.account.list.clone(), lists_signed: 1 };
    Ok((restore, request(db, &me)?))
}

pub(crate) fn restored(
    db: &Connection,
    restore: &mut Restore,
    answer: &HttpAnswer,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<RestoreStep, RestoreError> {
    let me = profile::load(db)?.filter(|me| !me.registered).ok_or(RestoreError::NotBegun)?;
    if answer.status == 409 && restore.lists_signed < LISTS_MAX {
        restore.newest = conflicting_list(&restore.newest, answer)?;
        restore.lists_signed += 1;
        account::raise_list_version(db, restore.newest.version())?;
        sign_above(db, &me, &restore.newest, now, rng)?;
        return Ok(RestoreStep::Again(request(db, &me)?));
    }
    let made: DeviceMade = http::read(answer)?;
    if !made.is(&me) {
        return Err(RestoreError::BadAnswer);
    }
    let into = Import { db, me: me.address, now };
    for part in &restore.parts {
        // What followed went to the device that this one replaces: it is missed once something later comes.
        for (chat, sender, counter) in into.part(part)?.heard {
            inbox::set_heard(db, chat, sender, Heard { first: counter + 1, highest: counter })?;
        }
    }
    // Chains went on after the backup, and nobody sends this device what the one before it was sent.
    for group in groups::joined(db)? {
        groups::want(db, group, None)?;
    }
    prekeys::set_all_uploaded(db)?;
    profile::set_registered(db)?;
    Ok(RestoreStep::Done(Registered { account: me.account(), device: me.address.device, phone: me.phone }))
}

/// Everything that the device will be, on disk before anybody hears of it.
fn make_keys(
    db: &Connection,
    record: &AccountRecord,
    target: &Target<'_>,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<Me> {
    let secrets = DeviceSecrets::generate(rng);
    let mut token = [0; 32];
    rng.fill_bytes(&mut token);
    let me = Me {
        server: target.server.to_owned(),
        server_pin: target.server_pin,
        phone: record.phone.clone(),
        name: record.name.clone(),
        address: DeviceAddress::new(record.list.account(), DeviceNumber::PRIMARY),
        registration: secrets.registration,
        account_secret: Some(record.secret.clone()),
        sync_key: record.sync_key.as_ref().map(|key| Redact::new(*key.as_bytes())),
        device_secret: DeviceSecret::from_bytes(secrets.device_key_seed.expose()),
        identity: secrets.identity,
        token: Redact::new(token),
        registered: false,
        revoked: false,
        joined: true,
    };
    keys::store_first(db, &me, now, rng)?;
    Ok(me)
}

/// Signs a list in which this device is the primary, and the linked devices are those of `list`. What the primary of
/// `list` signs counts no more, nor what devices sign that were removed between two lists which are known here.
fn sign_above(
    db: &Connection,
    me: &Me,
    list: &DeviceList,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<()> {
    let signed = devices::sign_in_place_of_primary(db, me, list, now, rng)?;
    groups::note_gone(db, list, &signed)?;
    device_lists::put(db, &signed, now)
}

/// The list that the server has, if the account key has signed it and it is newer than the one that is known: a server
/// that names the known one again has no conflict, and would only have us sign its devices once more.
fn conflicting_list(known: &DeviceList, answer: &HttpAnswer) -> Result<DeviceList, RestoreError> {
    let conflict: Conflict = serde_json::from_slice(&answer.body).map_err(|_| RestoreError::BadAnswer)?;
    let bytes = http::bytes(&conflict.device_list).ok_or(RestoreError::BadAnswer)?;
    let list = DeviceList::verify(&bytes).map_err(|_| RestoreError::BadAnswer)?;
    match list.successor_of(known) {
        Ok(Succession::Newer) => Ok(list),
        Ok(Succession::Same) | Err(_) => Err(RestoreError::BadAnswer),
    }
}

fn request(db: &Connection, me: &Me) -> Result<HttpRequest, RestoreError> {
    let list = device_lists::get(db, me.account())?.ok_or(RestoreError::NotBegun)?;
    let body = Restoration {
        device_list: text(list.as_bytes()),
        token: text(me.token.expose()),
        keys: text(&prekeys::to_upload(db)?.keys.encode()),
    };
    Ok(http::post((&me.server, me.server_pin), "/v1/restorations".to_owned(), &body)?)
}
