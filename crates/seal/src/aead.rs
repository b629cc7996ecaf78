//! Authenticated encryption of everything that is sealed outside a ratchet session: link bodies, device
//! names, group info, archives.
//!
//! ```text
//! sealed = nonce (24 random bytes) || XChaCha20-Poly1305(padded plaintext) || tag (16)
//! ```
//! The nonce is random and long enough that it never repeats, also when a crash makes somebody seal the
//! same thing twice. The plaintext is padded, so that its length says little.

use crate::padding;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// What sealing adds to the padded plaintext.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// Seals a plaintext. `bound` is not sealed in, and must be the same when it is opened.
pub(crate) fn seal(
    key: &[u8; 32],
    bound: &[u8],
    plaintext: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Vec<u8> {
    let length = padding::padded_length(plaintext.len());
    let mut sealed = Vec::with_capacity(OVERHEAD_BYTES + length);
    sealed.resize(NONCE_BYTES, 0);
    rng.fill_bytes(&mut sealed);
    sealed.extend_from_slice(plaintext);
    sealed.push(padding::TERMINATOR);
    sealed.resize(NONCE_BYTES + length, 0);
    let (nonce, text) = sealed.split_at_mut(NONCE_BYTES);
    let tag = cipher(key)
        .encrypt_in_place_detached(XNonce::from_slice(nonce), bound, text)
        .expect("only plaintexts above 256 GiB are refused");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`seal`] gave; `None` if key, bound bytes or a single bit differ.
pub(crate) fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
    let (text, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
    let mut text = Zeroizing::new(text.to_vec());
    cipher(key).decrypt_in_place_detached(XNonce::from_slice(nonce), bound, &mut text, tag.into()).ok()?;
    let length = padding::unpad(&text).ok()?.len();
    text.truncate(length);
    Some(text)
}

/// The key for one use of a secret: HKDF-SHA256 (RFC 5869) without salt, the label as info.
pub(crate) fn derive(secret: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand(label, key.as_mut())
        .expect("32 bytes are less than HKDF can give");
    key
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}
