//! Where a server is: scheme, host and port, and nothing else.
//!
//! Invariant: plain HTTP is only ever spoken to this machine, whatever a person typed.

use http::{Uri, uri::Scheme};
use std::{fmt, net::IpAddr, str::FromStr};

/// The address of a server as `scheme://host[:port]`.
///
/// The text form is the origin that enters the session proof: lower case, without the scheme's own
/// port, without a path. Plain `http` is refused unless the host is this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    tls: bool,
    /// As in a URL: an IPv6 address stands in brackets.
    host: String,
    port: u16,
}

/// Why a server's address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServerUrl {
    /// Not `http` or `https`, or no host.
    #[error("a server's address looks like https://chat.example.org or http://127.0.0.1:8080")]
    Form,
    /// Something follows the host and port.
    #[error("a server's address ends after the host and port: no path, no user name, no query")]
    Excess,
    /// Plain HTTP to another machine.
    #[error("plain http is only for a server on this machine: use https")]
    PlaintextToOtherMachine,
}

impl ServerUrl {
    /// Whether the connection is encrypted.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host without brackets: a name or an address.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, given or the scheme's own.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host[:port]` as it stands in a `Host` header and in the origin.
    pub fn authority(&self) -> String {
        let scheme_port = if self.tls { 443 } else { 80 };
        if self.port == scheme_port { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidServerUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidServerUrl::Form)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(InvalidServerUrl::Form),
        };
        let authority = uri.authority().ok_or(InvalidServerUrl::Form)?;
        if authority.as_str().contains('@')
            || uri.path() != "/"
            || uri.query().is_some()
            || text.contains('#')
        {
            return Err(InvalidServerUrl::Excess);
        }
        let port = match authority.as_str().len() == authority.host().len() {
            true => {
                if tls {
                    443
                } else {
                    80
                }
            }
            false => authority.port_u16().filter(|port| *port != 0).ok_or(InvalidServerUrl::Form)?,
        };
        let url = Self { tls, host: authority.host().to_ascii_lowercase(), port };
        if url.host().is_empty() {
            return Err(InvalidServerUrl::Form);
        }
        if !tls && !is_this_machine(url.host()) {
            return Err(InvalidServerUrl::PlaintextToOtherMachine);
        }
        Ok(url)
    }
}

/// Loopback addresses, and the one name that RFC 6761 reserves for them.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
