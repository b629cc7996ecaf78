//! One-time codes: drawn evenly, sent once, and kept only as a keyed hash.

use crate::Core;
use hmac::{Hmac, Mac};
use server_ports::directory::SessionId;
use sha2::Sha256;
use types::Redact;

/// Digits of a one-time code.
pub const CODE_DIGITS: usize = 6;

/// Draws a code. Every one of the million is equally likely.
pub(crate) fn draw(core: &Core) -> Redact<String> {
    const CODES: u32 = 1_000_000;
    // Values above the last whole million would favour the low codes.
    const BOUND: u32 = u32::MAX - u32::MAX % CODES;
    loop {
        let value = u32::from_be_bytes(core.ports.entropy.array());
        if value < BOUND {
            return Redact::new(format!("{:0width$}", value % CODES, width = CODE_DIGITS));
        }
    }
}

/// What is stored of a code: HMAC-SHA256 under the service's pepper, bound to the session that asked.
/// A leaked table gives no code away, and a code proves nothing in another session.
pub(crate) fn hash(core: &Core, session: &SessionId, code: &Redact<String>) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(core.identity.pepper.expose())
        .expect("HMAC takes keys of every length");
    mac.update(b"waxwing code\0");
    mac.update(session);
    mac.update(code.expose().as_bytes());
    mac.finalize().into_bytes().into()
}
