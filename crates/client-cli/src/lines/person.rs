//! What commands about one person print: whether they are who they say, where their number leads, whether they are heard.

use serde::{Deserialize, Serialize};
use types::{AccountId, PhoneNumber};

/// What to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Sixty digits.
    pub safety_number: String,
    /// Whether it was marked as compared.
    pub verified: bool,
}

/// Whether somebody is blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The account.
    pub account: String,
    /// Its checked number, E.164; null if none is known.
    pub phone: Option<String>,
    /// Whether it is blocked now.
    pub blocked: bool,
}

impl Blocked {
    /// What is known of a decision.
    pub fn new(account: AccountId, phone: Option<&PhoneNumber>, blocked: bool) -> Self {
        Self { account: account.to_string(), phone: phone.map(|phone| phone.e164().to_owned()), blocked }
    }
}

/// A number's new account was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The number, E.164.
    pub phone: String,
    /// The account that it leads to from now on.
    pub account: String,
    /// Where it led; null if there was nothing to accept.
    pub old_account: Option<String>,
    /// Messages that waited for this and are being sent.
    pub released: u64,
}
