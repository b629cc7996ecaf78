//! Getting an account: the HTTP requests that need no session, and what must be on disk before each.

use serde::{Deserialize, Serialize};
use types::{AccountId, DeviceNumber, Millis, PhoneNumber};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
