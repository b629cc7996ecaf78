//! Getting an account: the HTTP requests that need no session, and what is on disk before each.
//!
//! All keys are made and stored before the first request, so that finishing may be repeated, by another process
//! and after any loss, and always makes the same account.

use crate::{
    Fault, devices, keys,
    store::{Stored, device_lists, prekeys, profile, profile::Me},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand_core::CryptoRng;
use rusqlite::Connection;
use seal::{DeviceSecrets, SyncKey};
use serde::{Deserialize, Serialize};
use signed::{AccountSecret, DeviceSecret};
use std::fmt;
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

/// A request to make of the profile's server, over HTTPS. Bodies are JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// The server's origin.
    pub origin: String,
    /// SHA-256 of the server's certificate, if exactly that one is trusted.
    pub server_pin: Option<[u8; 32]>,
    /// Begins with `/`.
    pub path: String,
    /// JSON, `application/json`; secret in part, so it has no place in a log.
    pub body: Vec<u8>,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpRequest({:?} {}, body redacted)", self.method, self.origin)
    }
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// `POST`.
    Post,
}

/// What the server answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status: u16,
    /// At most 64 KiB; longer ones are cut by the shell and refused here.
    pub body: Vec<u8>,
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

/// An error as the server's HTTP interface gives it (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One word that programs act on: `wrong_code`, `expired_code`, `exhausted_code`, `number_taken`,
    /// `bad_number`, `retry_after`, ….
    #[serde(default)]
    pub code: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// For people, about this one occurrence.
    #[serde(default)]
    pub detail: Option<String>,
    /// Try again after so many seconds.
    #[serde(default)]
    pub retry_after: Option<u64>,
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

#[derive(Deserialize)]
struct AccountIsMade {
    account: String,
    device: u32,
    registration: u32,
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
    let body = json(&AskForCode { phone: me.phone.e164() })?;
    let request = request(&me, "/v1/registrations".to_owned(), body);
    Ok((me, request))
}

pub(crate) fn code_sent(db: &Connection, answer: &HttpAnswer) -> Result<CodeSent, RegistrationError> {
    let sent: CodeIsSent = read(answer)?;
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
    let body = json(&MakeAccount {
        code,
        replace,
        account_key: URL_SAFE_NO_PAD.encode(list.account_key().as_bytes()),
        device_list: URL_SAFE_NO_PAD.encode(list.as_bytes()),
        token: URL_SAFE_NO_PAD.encode(me.token.expose()),
        keys: URL_SAFE_NO_PAD.encode(prekeys::to_upload(db)?.keys.encode()),
    })?;
    Ok(request(&me, format!("/v1/registrations/{session}/account"), body))
}

pub(crate) fn registered(db: &Connection, answer: &HttpAnswer) -> Result<Registered, RegistrationError> {
    let me = profile::load(db)?.ok_or(RegistrationError::NotBegun)?;
    let made: AccountIsMade = read(answer)?;
    let ours = made.account == me.account().to_string()
        && made.device == u32::from(me.address.device.get())
        && made.registration == me.registration.get();
    if !ours {
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

fn request(me: &Me, path: String, body: Vec<u8>) -> HttpRequest {
    HttpRequest { method: HttpMethod::Post, origin: me.server.clone(), server_pin: me.server_pin, path, body }
}

fn json(value: &impl Serialize) -> Stored<Vec<u8>> {
    serde_json::to_vec(value).map_err(|_| Fault::Bug("a request could not be written as JSON"))
}

fn read<T: for<'a> Deserialize<'a>>(answer: &HttpAnswer) -> Result<T, RegistrationError> {
    if (200..300).contains(&answer.status) {
        return serde_json::from_slice(&answer.body).map_err(|_| RegistrationError::BadAnswer);
    }
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) if !problem.code.is_empty() => Err(RegistrationError::Refused(problem)),
        _ => Err(RegistrationError::BadAnswer),
    }
}
