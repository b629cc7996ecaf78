//! The code that a new device shows, as text and as a QR code of that text.

use std::fmt;
use std::str::FromStr;
use types::{Invalid, LinkId};
use zeroize::Zeroizing;

/// Begins the text form. Another number is another form.
const PREFIX: &str = "wxl1-";
/// Link id, hash, secret.
const BYTES: usize = 16 + 32 + 16;

/// What the primary needs to link the device that shows it. Whoever has seen it can pretend to be a primary, so
/// it lives for 60 seconds and both sides compare digits.
///
/// Text form: `wxl1-` and 128 hexadecimal digits in lower case; read in any case.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkCode {
    pub(super) link: LinkId,
    pub(super) offer_hash: [u8; 32],
    pub(super) secret: Zeroizing<[u8; 16]>,
}

impl LinkCode {
    /// The link, under which the server has the offer.
    pub const fn link(&self) -> LinkId {
        self.link
    }
}

impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.link.as_bytes().as_slice(), &self.offer_hash, self.secret.as_slice()].concat();
        write!(f, "{PREFIX}{}", hex::encode(bytes))
    }
}

impl FromStr for LinkCode {
    type Err = Invalid;

    /// Reads the text form; white space around it, which copying adds, is dropped.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        read(text.trim()).ok_or(Invalid { what: "link code" })
    }
}

fn read(text: &str) -> Option<LinkCode> {
    let (prefix, code) = text.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let bytes = Zeroizing::new(hex::decode(code).ok()?);
    let bytes: &[u8; BYTES] = bytes.as_slice().try_into().ok()?;
    let (link, rest) = bytes.split_first_chunk::<16>()?;
    let (offer_hash, secret) = rest.split_first_chunk::<32>()?;
    Some(LinkCode {
        link: LinkId::from_bytes(*link),
        offer_hash: *offer_hash,
        secret: Zeroizing::new(secret.try_into().ok()?),
    })
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkCode({}, redacted)", self.link)
    }
}
