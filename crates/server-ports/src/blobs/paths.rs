//! Addresses of blobs as paths of the service itself, for stores whose bytes pass through it.
//!
//! ```text
//! /v1/blobs/{id}?size={bytes}&sha256={hex}&until={ms}&signature={hex}     PUT
//! /v1/blobs/{id}?until={ms}&signature={hex}                               GET
//! ```
//!
//! The signature is HMAC-SHA-256 over everything that the address allows. An address is read strictly, in
//! the one form in which it is written.

use super::{BlobGrant, BlobMethod, BlobRequest, BlobUpload};
use crate::directory::ServiceIdentity;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use types::{BlobId, Redact, Timestamp};

const KEY_LABEL: &[u8] = b"waxwing blob addresses key v1";
const ADDRESS_LABEL: &[u8] = b"waxwing blob address v1";

/// Makes and checks signed paths.
#[derive(Clone, Debug)]
pub struct SignedPaths {
    key: Redact<[u8; 32]>,
}

impl SignedPaths {
    /// With a key that only this service has: all its nodes derive the same one, and after a restore from
    /// backup under another incarnation it is another one.
    pub fn of(service: &ServiceIdentity) -> Self {
        let mut mac = mac(service.pepper.expose());
        mac.update(KEY_LABEL);
        mac.update(service.incarnation.as_bytes());
        Self { key: Redact::new(mac.finalize().into_bytes().into()) }
    }

    /// Where to `PUT` the bytes of this upload before `until`.
    pub fn upload(&self, upload: &BlobUpload, until: Timestamp) -> String {
        let signature = self.sign(BlobGrant::Upload(*upload), until).finalize().into_bytes();
        let BlobUpload { id, size, sha256 } = upload;
        format!(
            "/v1/blobs/{id}?size={size}&sha256={}&until={}&signature={}",
            hex::encode(sha256),
            until.as_millis(),
            hex::encode(signature)
        )
    }

    /// Where to `GET` a blob before `until`.
    pub fn download(&self, id: BlobId, until: Timestamp) -> String {
        let signature = self.sign(BlobGrant::Download(id), until).finalize().into_bytes();
        format!("/v1/blobs/{id}?until={}&signature={}", until.as_millis(), hex::encode(signature))
    }

    /// What a request may do at this time.
    pub fn admit(&self, request: BlobRequest<'_>, now: Timestamp) -> Option<BlobGrant> {
        let (grant, rest) = match request.method {
            BlobMethod::Put => {
                let (size, rest) = field(request.query, "size=")?;
                let (sha256, rest) = field(rest, "sha256=")?;
                let upload = BlobUpload { id: request.id, size: decimal(size)?, sha256: digest(sha256)? };
                (BlobGrant::Upload(upload), rest)
            }
            BlobMethod::Get => (BlobGrant::Download(request.id), request.query),
        };
        let (until, rest) = field(rest, "until=")?;
        let until = Timestamp::from_millis(decimal(until)?);
        let signature = digest(rest.strip_prefix("signature=")?)?;
        self.sign(grant, until).verify_slice(&signature).ok()?;
        (now < until).then_some(grant)
    }

    /// Every part has a fixed length, so no two addresses give the same bytes to sign.
    fn sign(&self, grant: BlobGrant, until: Timestamp) -> Hmac<Sha256> {
        let mut mac = mac(self.key.expose());
        mac.update(ADDRESS_LABEL);
        match grant {
            BlobGrant::Upload(BlobUpload { id, size, sha256 }) => {
                mac.update(&[1]);
                mac.update(id.as_bytes());
                mac.update(&size.to_be_bytes());
                mac.update(&sha256);
            }
            BlobGrant::Download(id) => {
                mac.update(&[2]);
                mac.update(id.as_bytes());
            }
        }
        mac.update(&until.as_millis().to_be_bytes());
        mac
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// The value of the first field, which must have this name, and what follows it.
fn field<'a>(query: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    query.strip_prefix(name)?.split_once('&')
}

/// Digits only, without a leading zero: a number has one form.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}
