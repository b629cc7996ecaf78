//! Getting an account: the HTTP requests that need no session, and what is on disk before each.
//!
//! All keys are made and stored before the first request, so that finishing may be repeated, by another process
//! and after any loss, and always makes the same account.

use crate::{
    HttpAnswer, HttpRequest, Problem, devices,
    http::{self, DeviceMade, Unanswered, text},
    keys,
    store::{Stored, device_lists, prekeys, profile, profile::Me},
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use seal::{DeviceSecrets, SyncKey};
use serde::{Deserialize, Serialize};
use signed::{AccountSecret, DeviceSecret};
use types::{AccountId, DeviceAddress, DeviceNumber, Millis, PhoneNumber, Redact, Timestamp};

/// What a person gives to get an account.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// `scheme://host[:port]` of the server.
    pub server: String,
    /// SHA-256 of the server's certificate, where exactly that one is to be trusted.
    pub server_pin: Option<[u8; 32]>,
    /// The number to prove.
    pub phone: PhoneNumber,
    /// What to call oneself.
    pub name: Option<String>,
}

/// The server has sent a code to the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSent {
    /// How long the code can be used.
    pub expires_in: Millis,
}

/// The account exists and this device is its primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The account.
    pub account: AccountId,
    /// The device's number, 1.
    pub device: DeviceNumber,
    /// The number.
    pub phone: PhoneNumber,
}

/// A step of the registration did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The profile has an account already.
    #[error("this profile has an account")]
    HasAccount,
    /// There is no code to finish with: ask for one first.
    #[error("no code was asked for")]
    NotBegun,
    /// The server refused.
    #[error("the server refused: {}", .0.code)]
    Refused(Problem),
    /// The server's answer is not of this interface.
    #[error("the server's answer makes no sense")]
    BadAnswer,
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] crate::Fault),
}

impl From<Unanswered> for RegistrationError {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Refused(problem) => Self::Refused(problem),
            Unanswered::Nonsense => Self::BadAnswer,
        }
    }
}

#[derive(Serialize)]
struct AskForCode<'a> {
    phone: &'a str,
}

#[derive(Deserialize)]
struct CodeIsSent {
    session: String,
    expires_in: u64,
}

#[derive(Serialize)]
struct MakeAccount<'a> {
    code: &'a str,
    replace: bool,
    account_key: String,
    device_list: String,
    token: String,
    keys: String,
}

/// A session's name is part of a path: what the server may call one.
const SESSION_BYTES_MAX: usize = 64;

pub(crate) fn begin(
    db: &Connection,
    account: &NewAccount,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<(Me, HttpRequest), RegistrationError> {
    let me = match profile::load(db)? {
        Some(me) if me.registered => return Err(RegistrationError::HasAccount),
        Some(me) if me.server == account.server && me.phone == account.phone => {
            profile::set_registration(db, account.server_pin, account.name.as_deref())?;
            Me { server_pin: account.server_pin, name: account.name.clone(), ..me }
        }
        _ => make_keys(db, account, now, rng)?,
    };
    let request = request(&me, "/v1/registrations".to_owned(), &AskForCode { phone: me.phone.e164() })?;
    Ok((me, request))
}

pub(crate) fn code_sent(db: &Connection, answer: &HttpAnswer) -> Result<CodeSent, RegistrationError> {
    let sent: CodeIsSent = http::read(answer)?;
    let plain = sent.session.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if sent.session.is_empty() || sent.session.len() > SESSION_BYTES_MAX || !plain {
        return Err(RegistrationError::BadAnswer);
    }
    profile::set_registration_session(db, &sent.session)?;
    Ok(CodeSent { expires_in: Millis::from_secs(sent.expires_in) })
}

pub(crate) fn finish(db: &Connection, code: &str, replace: bool) -> Result<HttpRequest, RegistrationError> {
    let me = profile::load(db)?.ok_or(RegistrationError::NotBegun)?;
    if me.registered {
        return Err(RegistrationError::HasAccount);
    }
    let session = profile::registration_session(db)?.ok_or(RegistrationError::NotBegun)?;
    let list = device_lists::get(db, me.account())?.ok_or(RegistrationError::NotBegun)?;
    let body = MakeAccount {
        code,
        replace,
        account_key: text(list.account_key().as_bytes()),
        device_list: text(list.as_bytes()),
        token: text(me.token.expose()),
        keys: text(&prekeys::to_upload(db)?.keys.encode()),
    };
    Ok(request(&me, format!("/v1/registrations/{session}/account"), &body)?)
}

pub(crate) fn registered(db: &Connection, answer: &HttpAnswer) -> Result<Registered, RegistrationError> {
    let me = profile::load(db)?.ok_or(RegistrationError::NotBegun)?;
    let made: DeviceMade = http::read(answer)?;
    if !made.is(&me) {
        return Err(RegistrationError::BadAnswer);
    }
    prekeys::set_all_uploaded(db)?;
    profile::set_registered(db)?;
    Ok(Registered { account: me.account(), device: me.address.device, phone: me.phone })
}

/// Everything that the account will be, on disk before anybody hears of it.
fn make_keys(db: &Connection, account: &NewAccount, now: Timestamp, rng: &mut dyn CryptoRng) -> Stored<Me> {
    let account_secret = AccountSecret::random(rng);
    let secrets = DeviceSecrets::generate(rng);
    let mut token = [0; 32];
    rng.fill_bytes(&mut token);
    let me = Me {
        server: account.server.clone(),
        server_pin: account.server_pin,
        phone: account.phone.clone(),
        name: account.name.clone(),
        address: DeviceAddress::new(signed::account_id(&account_secret.public()), DeviceNumber::PRIMARY),
        registration: secrets.registration,
        account_secret: Some(account_secret),
        device_secret: DeviceSecret::from_bytes(secrets.device_key_seed.expose()),
        identity: secrets.identity,
        token: Redact::new(token),
        // From the first day on, so that every backup has it: what it seals outlives this device.
        sync_key: Some(Redact::new(*SyncKey::random(rng).as_bytes())),
        registered: false,
        revoked: false,
        joined: false,
    };
    keys::store_first(db, &me, now, rng)?;
    let list = devices::sign_first(db, &me, now)?;
    device_lists::put(db, &list, now)?;
    Ok(me)
}

fn request(me: &Me, path: String, body: &impl Serialize) -> Stored<HttpRequest> {
    http::post((&me.server, me.server_pin), path, body)
}
