//! Where the public listener's certificate comes from.

use crate::{
    config::{Tls, TlsMode},
    failure::Failure,
};
use server_edge::tls::{Security, server_config_from_pem};
use sha2::{Digest, Sha256};
use std::{
    io::Write,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

const CERTIFICATE_NAME: &str = "certificate.pem";
const KEY_NAME: &str = "key.pem";

/// The security of the public listener, and what a person must be told about it.
pub struct Prepared {
    /// For the edge.
    pub security: Security,
    /// SHA-256 of the certificate, for `wax register --server-pin`.
    pub fingerprint: Option<String>,
}

/// Certificate chain and key.
type Pem = (Vec<u8>, Vec<u8>);

/// Reads or makes the certificate.
pub fn prepare(tls: &Tls, data: &Path, listen: IpAddr) -> Result<Prepared, Failure> {
    match tls.mode {
        TlsMode::Off => Ok(Prepared { security: Security::Plaintext, fingerprint: None }),
        TlsMode::Files => {
            let certificate = read(&tls.certificate, "certificate")?;
            let key = read(&tls.key, "key")?;
            Ok(Prepared { security: secured(&certificate, &key)?, fingerprint: None })
        }
        TlsMode::SelfSigned => {
            let folder = data.join("tls");
            let (certificate, key) = match stored(&folder)? {
                Some(pair) => pair,
                None => make(&folder, listen)?,
            };
            Ok(Prepared {
                security: secured(&certificate, &key)?,
                fingerprint: Some(fingerprint(&certificate)?),
            })
        }
    }
}

fn secured(certificate: &[u8], key: &[u8]) -> Result<Security, Failure> {
    server_config_from_pem(certificate, key).map(Security::Tls).map_err(|error| {
        Failure::data("bad_certificate", error.to_string())
            .hint("tls.certificate must be a PEM chain, the server's own certificate first, and tls.key its PEM key")
    })
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::data(
            "certificate_unreadable",
            format!("cannot read the TLS {what} {}: {error}", path.display()),
        )
        .hint("set tls.certificate and tls.key, or use --tls self-signed")
    })
}

fn stored(folder: &Path) -> Result<Option<Pem>, Failure> {
    match (std::fs::read(folder.join(CERTIFICATE_NAME)), std::fs::read(folder.join(KEY_NAME))) {
        (Ok(certificate), Ok(key)) => Ok(Some((certificate, key))),
        (Err(one), _) | (_, Err(one)) if one.kind() == std::io::ErrorKind::NotFound => Ok(None),
        (Err(error), _) | (_, Err(error)) => Err(unwritable(folder, &error)),
    }
}

/// Makes a certificate once; clients pin it, so it must stay the same. The key is written first: a
/// certificate without its key would be made anew, a key without its certificate is only replaced.
fn make(folder: &Path, listen: IpAddr) -> Result<Pem, Failure> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.is_unspecified() && !listen.is_loopback() {
        names.push(listen.to_string());
    }
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| Failure::bug(format!("cannot make a certificate: {error}")))?;
    let (certificate, key) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes());
    let store = || -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        write_private(&folder.join(KEY_NAME), &key)?;
        write_private(&folder.join(CERTIFICATE_NAME), &certificate)
    };
    store().map_err(|error| unwritable(folder, &error))?;
    Ok((certificate, key))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::temporary(
        "data_directory",
        format!("cannot keep the certificate in {}: {error}", folder.display()),
    )
    .hint("check the permissions and the free space of the data directory")
}

/// SHA-256 of the certificate's DER, as clients pin it: lower-case hex.
fn fingerprint(certificate: &[u8]) -> Result<String, Failure> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_slice(certificate).map_err(|error| {
        Failure::data("bad_certificate", format!("the stored certificate is damaged: {error}"))
    })?;
    Ok(hex::encode(Sha256::digest(&der)))
}
