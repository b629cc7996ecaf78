//! Registration over HTTPS and JSON: what happens before there is a session.

use crate::{
    dial::{Dialer, Unreachable},
    http_json::{self, Answer},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use types::{AccountId, DeviceNumber, Millis, PhoneNumber, Redact, RegistrationId};

/// Why the server did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// No answer that could be understood.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The server refused.
    #[error("{0}")]
    Refused(Problem),
}

/// A refusal, as `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: ProblemCode,
    /// The server's own words about it, for people.
    pub detail: String,
    /// When to try again, if that helps.
    pub retry_after: Option<Millis>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// What a client acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemCode {
    /// Not the code that was sent.
    WrongCode,
    /// The code's ten minutes are over.
    ExpiredCode,
    /// Five wrong tries: the code is void.
    ExhaustedCode,
    /// The number has an account, and replacing it was not asked for.
    NumberTaken,
    /// The server does not take this number.
    BadNumber,
    /// The server knows no such registration.
    NoSession,
    /// Too many requests.
    RetryAfter,
    /// The server cannot answer now.
    Unavailable,
    /// Something that this version does not know; the server's name for it.
    Other(String),
}

impl ProblemCode {
    fn from_name(name: &str, status: u16) -> Self {
        match name {
            "wrong_code" => Self::WrongCode,
            "expired_code" => Self::ExpiredCode,
            "exhausted_code" => Self::ExhaustedCode,
            "number_taken" => Self::NumberTaken,
            "bad_number" => Self::BadNumber,
            "no_session" => Self::NoSession,
            "retry_after" => Self::RetryAfter,
            "unavailable" => Self::Unavailable,
            "" if status == 429 => Self::RetryAfter,
            "" if status >= 500 => Self::Unavailable,
            "" => Self::Other(format!("http_{status}")),
            name => Self::Other(name.to_owned()),
        }
    }
}

/// A registration that waits for its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSent {
    /// Names the registration; the code is bound to it.
    pub session: String,
    /// How long the code is good.
    pub expires_in: Millis,
}

/// What the new account brings.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Close the account that has the number now.
    pub replace: bool,
    /// The public account key, 32 bytes.
    pub account_key: Bytes,
    /// The signed device list.
    pub device_list: Bytes,
    /// To present at every connect.
    pub token: Redact<[u8; 32]>,
    /// The first prekeys: an encoded `UploadKeys`.
    pub keys: Bytes,
}

/// The account that the server made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id, derived from the account key.
    pub account: AccountId,
    /// 1, the primary.
    pub device: DeviceNumber,
    /// Which life of that device number.
    pub registration: RegistrationId,
}

/// Asks the server to send a code to `phone`. An earlier code for the number is void.
pub async fn ask_for_code(dialer: &Dialer, phone: &PhoneNumber) -> Result<CodeSent, RegistrationError> {
    #[derive(Serialize)]
    struct Ask<'a> {
        phone: &'a str,
    }
    #[derive(Deserialize)]
    struct Sent {
        session: String,
        expires_in: u64,
    }
    let answer = http_json::post(dialer, "/v1/registrations", &Ask { phone: phone.e164() }).await?;
    let sent: Sent = successful(answer)?;
    // The session stands in the path of the next request.
    if sent.session.is_empty() || !sent.session.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Unreachable::Protocol("the registration's name is not valid".into()).into());
    }
    Ok(CodeSent { session: sent.session, expires_in: Millis::from_secs(sent.expires_in) })
}

/// Proves the number by the code and makes the account. Asking again with the same account after an
/// answer was lost is harmless.
pub async fn register(
    dialer: &Dialer,
    session: &str,
    code: &str,
    account: &NewAccount,
) -> Result<Registered, RegistrationError> {
    #[derive(Serialize)]
    struct Ask<'a> {
        code: &'a str,
        replace: bool,
        account_key: String,
        device_list: String,
        token: String,
        keys: String,
    }
    #[derive(Deserialize)]
    struct Made {
        account: String,
        device: u32,
        registration: u32,
    }
    let ask = Ask {
        code,
        replace: account.replace,
        account_key: URL_SAFE_NO_PAD.encode(&account.account_key),
        device_list: URL_SAFE_NO_PAD.encode(&account.device_list),
        token: URL_SAFE_NO_PAD.encode(account.token.expose()),
        keys: URL_SAFE_NO_PAD.encode(&account.keys),
    };
    let answer = http_json::post(dialer, &format!("/v1/registrations/{session}/account"), &ask).await?;
    let made: Made = successful(answer)?;
    read_registered(&made.account, made.device, made.registration)
        .map_err(|invalid| Unreachable::Protocol(invalid.to_string()).into())
}

fn read_registered(account: &str, device: u32, registration: u32) -> Result<Registered, types::Invalid> {
    Ok(Registered {
        account: account.parse()?,
        device: DeviceNumber::new(device)?,
        registration: RegistrationId::new(registration)?,
    })
}

/// The body of a successful answer, or the problem.
fn successful<T: serde::de::DeserializeOwned>(answer: Answer) -> Result<T, RegistrationError> {
    if answer.status.is_success() { Ok(answer.json()?) } else { Err(RegistrationError::Refused(problem(&answer))) }
}

fn problem(answer: &Answer) -> Problem {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        code: String,
        title: String,
        detail: String,
        retry_after: Option<u64>,
    }
    let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = [body.detail, body.title].into_iter().find(|words| !words.is_empty());
    Problem {
        code: ProblemCode::from_name(&body.code, answer.status.as_u16()),
        detail: printable(&detail.unwrap_or_else(|| format!("the server answered with HTTP status {}", answer.status))),
        retry_after: body.retry_after.map(Millis::from_secs),
    }
}

/// The server's words end on a terminal: no control characters, and not more than a few lines.
fn printable(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its program version.
    pub version: String,
    /// The protocol versions that it speaks.
    pub protocol: ProtocolVersions,
}

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ProtocolVersions {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// Asks a server about itself.
pub async fn server_info(dialer: &Dialer) -> Result<ServerInfo, RegistrationError> {
    successful(http_json::get(dialer, "/v1/server").await?)
}
