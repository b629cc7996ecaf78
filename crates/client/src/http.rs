//! Requests of the server that need no session, and what is read out of its answers: registering, linking, restoring.
//!
//! Must not know: what the steps are, or what they lead to.

use crate::{
    Fault,
    store::{Stored, profile::Me},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

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

/// Why an answer is not the one that was hoped for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The server refused.
    Refused(Problem),
    /// It is not of this interface.
    Nonsense,
}

/// A device that the server has made the primary of its account.
#[derive(Deserialize)]
pub(crate) struct DeviceMade {
    account: String,
    device: u32,
    registration: u32,
}

impl DeviceMade {
    /// Whether it is this device.
    pub(crate) fn is(&self, me: &Me) -> bool {
        self.account == me.account().to_string()
            && self.device == u32::from(me.address.device.get())
            && self.registration == me.registration.get()
    }
}

/// A request with this body, of the server with this origin and pin.
pub(crate) fn post(
    (origin, server_pin): (&str, Option<[u8; 32]>),
    path: String,
    body: &impl Serialize,
) -> Stored<HttpRequest> {
    let body = serde_json::to_vec(body).map_err(|_| Fault::Bug("a request could not be written as JSON"))?;
    Ok(HttpRequest { method: HttpMethod::Post, origin: origin.to_owned(), server_pin, path, body })
}

/// What an answer says if the server has done what was asked.
pub(crate) fn read<T: DeserializeOwned>(answer: &HttpAnswer) -> Result<T, Unanswered> {
    succeeded(answer)?;
    serde_json::from_slice(&answer.body).map_err(|_| Unanswered::Nonsense)
}

/// The same for an answer that says nothing else.
pub(crate) fn succeeded(answer: &HttpAnswer) -> Result<(), Unanswered> {
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) if !problem.code.is_empty() => Unanswered::Refused(problem),
        _ => Unanswered::Nonsense,
    })
}

/// Bytes as they stand in JSON.
pub(crate) fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What [`text`] wrote; none if it is something else.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
