//! What the fragment of an invite link carries: the key that signs a `join`, and the group's secret. A fragment
//! never reaches a server, so the server alone can neither join nor read.

use crate::GroupSecret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use signed::keys::LinkSecret;
use std::fmt;
use types::Invalid;
use zeroize::Zeroizing;

/// Whoever has it may join the group, until an admin resets the link.
///
/// Text form: 86 characters of unpadded base64url, of the link key's seed (32 bytes) and the group's secret (32).
#[derive(Clone)]
pub struct InviteSecret {
    /// Signs a `join` ([`signed::group::join_signature`]); the chain has its public half.
    pub link: LinkSecret,
    /// Opens the group's name.
    pub group: GroupSecret,
}

impl InviteSecret {
    /// The text form. Secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let seed = self.link.to_bytes();
        let bytes = Zeroizing::new([seed.as_slice(), self.group.as_bytes()].concat());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(&bytes))
    }

    /// Reads the text form.
    pub fn from_text(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid { what: "invite link" };
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?);
        let (seed, group) = bytes.split_first_chunk::<32>().ok_or_else(invalid)?;
        let group = GroupSecret::from_slice(group).map_err(|_| invalid())?;
        Ok(Self { link: LinkSecret::from_bytes(seed), group })
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(redacted)")
    }
}
