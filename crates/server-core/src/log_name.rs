//! How a log names a message: by its envelope id, hashed with a daily key, so that lines of one day
//! and of all nodes belong together and lines of different days do not.

use crate::Core;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use types::{EnvelopeId, Millis};

/// A message's name in the logs of one day: 12 hexadecimal digits.
pub(crate) struct LogName([u8; 6]);

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Core {
    pub(crate) fn log_name(&self, envelope: EnvelopeId) -> LogName {
        let day = self.now().as_millis() / Millis::from_days(1).0;
        let day_key = hash(self.identity.pepper.expose(), b"waxwing log\0", &day.to_be_bytes());
        let name = hash(&day_key, b"", envelope.as_bytes());
        LogName([name[0], name[1], name[2], name[3], name[4], name[5]])
    }
}

fn hash(key: &[u8; 32], label: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(label);
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}
