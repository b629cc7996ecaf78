//! The device that wants to be linked: HTTP requests, because it has no session yet.
//!
//! All its keys are made and stored before the first request, and every step before the next one, so that each may be
//! repeated after any loss. The profile has an account only once the completion was verified.

use crate::{
    Fault, HttpAnswer, HttpRequest, Problem,
    http::{self, Unanswered, text},
    store::{Stored, account, device_lists, linking, linking::LinkRequest, prekeys, profile, profile::Me},
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use seal::{
    DeviceSecrets,
    link::{self, Completion, InvitedDevice},
    names::DeviceName,
};
use serde::{Deserialize, Serialize};
use signed::DeviceSecret;
use types::{
    AccountId, DeviceAddress, DeviceNumber, Millis, PhoneNumber, Redact, Timestamp,
    limits::{LINK_CODE_LIFE, LINK_LIFE_INVITED, ONE_TIME_KEYS_POOL},
};

/// What a device is called that was given no name.
const UNNAMED: &str = "linked device";

/// What a person gives to make this device one of their account.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// `scheme://host[:port]` of the account's server.
    pub server: String,
    /// SHA-256 of the server's certificate, where exactly that one is to be trusted.
    pub server_pin: Option<[u8; 32]>,
    /// What to call this device, 1 to 64 characters.
    pub name: Option<String>,
}

/// A code can be shown once this request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkBegun {
    /// For the primary's person, as text and as a QR code of that text. Secret: who sees it may pretend to be a primary.
    pub code: String,
    /// What to ask the server; its answer is for [`crate::Engine::link_begun`].
    pub request: HttpRequest,
}

/// Where a link stands, for the new device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkStep {
    /// Nobody has acted; poll again.
    Waiting,
    /// A primary has invited this device.
    Answer {
        /// Six digits that the primary shows, too, if nobody stands between the two.
        digits: String,
        /// What to ask the server; its answer is for [`crate::Engine::link_answered`]. Then poll on.
        request: HttpRequest,
    },
    /// This is a device of the account now.
    Linked(Linked),
}

/// This is a device of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The account.
    pub account: AccountId,
    /// This device's number in it, 2 or more.
    pub device: DeviceNumber,
    /// The account's number.
    pub phone: PhoneNumber,
}

/// This device was not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The profile has an account already.
    #[error("this profile has an account")]
    HasAccount,
    /// There is no link to go on with: begin one.
    #[error("no link was begun")]
    NotBegun,
    /// Not 1 to 64 printable characters.
    #[error("a device name has 1 to 64 printable characters")]
    BadName,
    /// Nobody has used the code in time, or completed the link.
    #[error("the link code has expired")]
    Expired,
    /// The primary's person has refused.
    #[error("the primary device has refused")]
    Refused,
    /// The account has as many devices as it may have.
    #[error("the account has five devices")]
    TooManyDevices,
    /// What came was not made by the other side of this link: somebody stands between the two.
    #[error("the link was tampered with: {0}")]
    Tampered(link::LinkError),
    /// The server refused.
    #[error("the server refused: {}", .0.code)]
    Server(Problem),
    /// The server's answer is not of this interface.
    #[error("the server's answer makes no sense")]
    BadAnswer,
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<Unanswered> for LinkError {
    fn from(why: Unanswered) -> Self {
        match why {
            // The server forgets what has expired.
            Unanswered::Refused(problem) if problem.code == "no_link" => Self::Expired,
            Unanswered::Refused(problem) => Self::Server(problem),
            Unanswered::Nonsense => Self::BadAnswer,
        }
    }
}

#[derive(Serialize)]
struct Offer {
    link: String,
    token: String,
    offer: String,
    keys: String,
}

#[derive(Deserialize)]
struct OfferTaken {
    expires_in: u64,
}

#[derive(Serialize)]
struct Poll {
    token: String,
}

#[derive(Deserialize)]
struct Polled {
    state: String,
    #[serde(default)]
    invitation: Option<String>,
    #[serde(default)]
    completion: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    token: String,
    answer: String,
}

/// Makes all keys and stores them. A link that may still be completed goes on: the same code, the same keys.
pub(crate) fn begin(
    db: &Connection,
    device: &NewDevice,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<LinkBegun, LinkError> {
    if profile::load(db)?.is_some_and(|me| me.registered) {
        return Err(LinkError::HasAccount);
    }
    let request = match linking::request(db)? {
        Some(known) if is_of(&known, device) && is_alive(&known, now) => known,
        _ => make(db, device, now, rng)?,
    };
    let offer = Offer {
        link: request.offering.link().to_string(),
        token: text(request.token.expose()),
        offer: text(request.offering.offer().as_bytes()),
        keys: text(&prekeys::to_upload(db)?.keys.encode()),
    };
    let code = request.offering.code().to_string();
    Ok(LinkBegun { code, request: post(&request, "/v1/links".to_owned(), &offer)? })
}

/// Whether it is the same link that was asked for before.
fn is_of(request: &LinkRequest, device: &NewDevice) -> bool {
    let named = device.name.as_deref().is_none_or(|name| name == request.name.as_str());
    named && (&request.server, request.server_pin) == (&device.server, device.server_pin)
}

fn is_alive(request: &LinkRequest, now: Timestamp) -> bool {
    let life = match request.invited {
        Some(_) => Millis(LINK_CODE_LIFE.0 + LINK_LIFE_INVITED.0),
        None => LINK_CODE_LIFE,
    };
    request.begun_at <= now && now.since(request.begun_at) < life
}

fn make(
    db: &Connection,
    device: &NewDevice,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<LinkRequest, LinkError> {
    let name = device.name.as_deref().unwrap_or(UNNAMED);
    let name: DeviceName = name.parse().map_err(|_| LinkError::BadName)?;
    let secrets = DeviceSecrets::generate(rng);
    let mut token = [0; 32];
    rng.fill_bytes(&mut token);
    // A registration that was begun here is given up.
    account::forget_unfinished(db)?;
    prekeys::clear(db)?;
    let request = LinkRequest {
        server: device.server.clone(),
        server_pin: device.server_pin,
        name,
        offering: link::NewDevice::begin(&secrets, rng),
        prekey_next: make_prekeys(db, &secrets, now, rng)?,
        secrets,
        token: Redact::new(token),
        begun_at: now,
        invited: None,
    };
    linking::insert_request(db, &request)?;
    Ok(request)
}

/// Makes and stores a whole pool; gives the first id that is free.
fn make_prekeys(
    db: &Connection,
    secrets: &DeviceSecrets,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Stored<u32> {
    let pool = u32::try_from(ONE_TIME_KEYS_POOL).map_err(|_| Fault::Bug("the pool is too large"))?;
    // Ids begin anywhere, so that they do not tell how old a device is.
    let first = rng.next_u32() % 0x00f0_0000 + 1;
    let (kem, signed) = (first + pool, first + 2 * pool);
    for prekey in seal::generate_one_time(first, pool, rng) {
        prekeys::insert_one_time(db, &prekey, now)?;
    }
    for prekey in seal::generate_kem_one_time(&secrets.identity, kem, pool, now, rng) {
        prekeys::insert_kem(db, &prekey, now)?;
    }
    prekeys::insert_signed(db, &seal::generate_signed(&secrets.identity, signed, now, rng), now)?;
    prekeys::insert_kem(db, &seal::generate_last_resort(&secrets.identity, signed + 1, now, rng), now)?;
    Ok(signed + 2)
}

pub(crate) fn begun(db: &Connection, answer: &HttpAnswer) -> Result<Millis, LinkError> {
    require(db)?;
    let taken: OfferTaken = http::read(answer)?;
    Ok(Millis::from_secs(taken.expires_in))
}

pub(crate) fn poll(db: &Connection) -> Result<HttpRequest, LinkError> {
    let request = require(db)?;
    let path = format!("/v1/links/{}/poll", request.offering.link());
    let body = Poll { token: text(request.token.expose()) };
    post(&request, path, &body)
}

pub(crate) fn polled(
    db: &Connection,
    answer: &HttpAnswer,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<LinkStep, LinkError> {
    let request = require(db)?;
    let polled: Polled = http::read(answer)?;
    match polled.state.as_str() {
        "waiting" | "answered" => Ok(LinkStep::Waiting),
        "invited" => invited(db, request, &bytes(polled.invitation)?, rng),
        "linked" => linked(db, &request, &bytes(polled.completion)?, now),
        "expired" => Err(LinkError::Expired),
        "refused" => Err(LinkError::Refused),
        _ => Err(LinkError::BadAnswer),
    }
}

/// Answers the first invitation, and no other one.
fn invited(
    db: &Connection,
    request: LinkRequest,
    invitation: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<LinkStep, LinkError> {
    let state = match &request.invited {
        Some((known, state)) if known == invitation => state.clone(),
        Some(_) => return Err(LinkError::Tampered(link::LinkError::NotAuthentic)),
        None => {
            let state = request
                .offering
                .accept(invitation, &request.secrets, &request.name, rng)
                .map_err(not_invited)?;
            linking::set_invited(db, invitation, &state)?;
            state
        }
    };
    let path = format!("/v1/links/{}/answer", request.offering.link());
    let body = Answer { token: text(request.token.expose()), answer: text(state.answer()) };
    Ok(LinkStep::Answer { digits: state.digits().to_string(), request: post(&request, path, &body)? })
}

fn not_invited(error: link::LinkError) -> LinkError {
    match error {
        link::LinkError::TooManyDevices => LinkError::TooManyDevices,
        error => LinkError::Tampered(error),
    }
}

/// Tells the primary that nothing will come of its invitation.
pub(crate) fn decline(db: &Connection) -> Result<HttpRequest, LinkError> {
    let request = require(db)?;
    let path = format!("/v1/links/{}/answer", request.offering.link());
    post(&request, path, &Answer { token: text(request.token.expose()), answer: text(super::DECLINED) })
}

pub(crate) fn answered(db: &Connection, answer: &HttpAnswer) -> Result<(), LinkError> {
    require(db)?;
    Ok(http::succeeded(answer)?)
}

/// Verifies what completes the link; from then on this is a device of the account.
fn linked(
    db: &Connection,
    request: &LinkRequest,
    completion: &[u8],
    now: Timestamp,
) -> Result<LinkStep, LinkError> {
    let (_, state) = request.invited.as_ref().ok_or(LinkError::BadAnswer)?;
    let completion = state.complete(completion).map_err(LinkError::Tampered)?;
    let me = me(request, state, &completion);
    profile::insert(db, &me, request.prekey_next)?;
    profile::set_certificate(db, completion.certificate.as_bytes())?;
    device_lists::put(db, &completion.list, now)?;
    prekeys::set_all_uploaded(db)?;
    linking::remove_request(db)?;
    Ok(LinkStep::Linked(Linked { account: me.account(), device: me.address.device, phone: me.phone }))
}

fn me(request: &LinkRequest, state: &InvitedDevice, completion: &Completion) -> Me {
    let invitation = state.invitation();
    Me {
        server: request.server.clone(),
        server_pin: request.server_pin,
        phone: invitation.phone.clone(),
        name: Some(request.name.as_str().to_owned()),
        address: DeviceAddress::new(invitation.account(), invitation.device),
        registration: request.secrets.registration,
        account_secret: None,
        sync_key: Some(Redact::new(*completion.sync_key.as_bytes())),
        device_secret: DeviceSecret::from_bytes(request.secrets.device_key_seed.expose()),
        identity: request.secrets.identity.clone(),
        token: request.token.clone(),
        registered: true,
        revoked: false,
        joined: true,
    }
}

fn require(db: &Connection) -> Result<LinkRequest, LinkError> {
    linking::request(db)?.ok_or(LinkError::NotBegun)
}

/// Whether a link can not go on after this: its request is forgotten, and the next one begins anew.
pub(crate) fn is_dead(error: &LinkError) -> bool {
    match error {
        LinkError::Expired | LinkError::Refused | LinkError::TooManyDevices | LinkError::Tampered(_) => true,
        // The outcome of these is unknown, or they pass: the step is repeated.
        LinkError::Server(problem) => !matches!(problem.code.as_str(), "unavailable" | "retry_after"),
        LinkError::HasAccount
        | LinkError::NotBegun
        | LinkError::BadName
        | LinkError::BadAnswer
        | LinkError::Fault(_) => false,
    }
}

fn post(request: &LinkRequest, path: String, body: &impl Serialize) -> Result<HttpRequest, LinkError> {
    Ok(http::post((&request.server, request.server_pin), path, body)?)
}

fn bytes(text: Option<String>) -> Result<Vec<u8>, LinkError> {
    text.and_then(|text| http::bytes(&text)).ok_or(LinkError::BadAnswer)
}
