//! Ids and digests that every party derives by itself and never takes on trust.

use crate::{AccountKey, label::Label};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use types::{AccountId, ConversationId};

/// The id of the account that owns `key`: the first 16 bytes of SHA-256 of the 32 key bytes.
///
/// An account can therefore never be given another key.
pub fn account_id(key: &AccountKey) -> AccountId {
    AccountId::from_bytes(first_half(Sha256::digest(key.as_bytes()).into()))
}

/// The id of the conversation between two accounts, the same from both sides.
pub fn direct_conversation(one: AccountId, other: AccountId) -> ConversationId {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let pair = [*low.as_bytes(), *high.as_bytes()].concat();
    ConversationId::from_bytes(first_half(Label::DirectConversation.hash(&pair)))
}

/// Which device lists the sender of a group message had in view: SHA-256 over each account (16 bytes)
/// and the version of its list (8 bytes, big-endian), by ascending account.
pub fn lists_digest(versions: &BTreeMap<AccountId, u64>) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(versions.len() * 24);
    for (account, version) in versions {
        bytes.extend_from_slice(account.as_bytes());
        bytes.extend_from_slice(&version.to_be_bytes());
    }
    Label::ListsDigest.hash(&bytes)
}

pub(crate) fn first_half(hash: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}
