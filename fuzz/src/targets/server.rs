//! What reaches `waxwing` without a session: the bodies of registrations, links and restorations, the addresses of blobs,
//! and the operator's configuration.

use crate::{
    Outcome, Sample, Target,
    people::{NOW, person, rng},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use server::{
    config::Config,
    http::{read_answer, read_finish, read_offer, read_poll, read_restoration},
};
use server_ports::{
    blobs::{BlobMethod, BlobRequest, BlobUpload, SignedPaths},
    directory::ServiceIdentity,
};
use signed::LinkOffer;
use std::{cell::RefCell, fs, io::Write};
use types::{BlobId, IncarnationId, Redact, RegistrationId, limits};
use wire::KeyUpload;

/// The body of a finishing request.
pub(super) const REGISTRATION: Target = Target {
    name: "server_registration",
    run: |bytes| {
        let read = read_finish(SESSION, bytes);
        if let Ok(finish) = &read {
            let list = signed::DeviceList::verify(&finish.device_list);
            list.expect("no registration gets this far without a valid list");
        }
        Outcome::of(&read.map_err(|problem| format!("{problem:?}")))
    },
    samples: || vec![Sample::new("honest", registration())],
    short_runs: 5_000,
    input_bytes_max: 16 * 1024,
};

/// The body with which a new device begins a link.
pub(super) const LINK_OFFER: Target = Target {
    name: "server_link_offer",
    run: |bytes| {
        let read = read_offer(bytes);
        if let Ok(device) = &read {
            check_keys(&device.keys);
        }
        Outcome::of(&read.map_err(|problem| format!("{problem:?}")))
    },
    samples: || vec![Sample::new("honest", link_offer())],
    short_runs: 5_000,
    input_bytes_max: 16 * 1024,
};

/// The question how a link stands: its id in the path, a line break, and the body.
pub(super) const LINK_POLL: Target = Target {
    name: "server_link_poll",
    run: |bytes| {
        with_path(bytes, |link, body| {
            let read = read_poll(link, body);
            Outcome::of(&read.map_err(|problem| format!("{problem:?}")))
        })
    },
    samples: || vec![Sample::new("honest", link_message(&json!({ "token": binary(&[3; 32]) })))],
    short_runs: 5_000,
    input_bytes_max: 4 * 1024,
};

/// The answer to an invitation, in the same form.
pub(super) const LINK_ANSWER: Target = Target {
    name: "server_link_answer",
    run: |bytes| {
        with_path(bytes, |link, body| {
            let read = read_answer(link, body);
            Outcome::of(&read.map_err(|problem| format!("{problem:?}")))
        })
    },
    samples: || {
        let body = json!({ "token": binary(&[3; 32]), "answer": binary(b"sealed by the new device") });
        vec![Sample::new("honest", link_message(&body))]
    },
    short_runs: 5_000,
    input_bytes_max: 4 * 1024,
};

/// The body of a restoration.
pub(super) const RESTORATION: Target = Target {
    name: "server_restoration",
    run: |bytes| {
        let read = read_restoration(bytes);
        if let Ok(restoration) = &read {
            check_keys(&restoration.keys);
        }
        Outcome::of(&read.map_err(|problem| format!("{problem:?}")))
    },
    samples: || vec![Sample::new("honest", restoration())],
    short_runs: 5_000,
    input_bytes_max: 16 * 1024,
};

/// Method and path of a request for a blob. Whatever is admitted was signed.
pub(super) const BLOB_ADDRESS: Target = Target {
    name: "server_blob_address",
    run: |bytes| Outcome::of(&admit(bytes)),
    samples: blob_addresses,
    short_runs: 20_000,
    input_bytes_max: 512,
};

/// The configuration file.
pub(super) const CONFIG: Target = Target {
    name: "server_config",
    run: configure,
    samples: || {
        vec![
            Sample::new("defaults", Config::print_default()),
            Sample::new("small", *b"[server]\nlisten = \"127.0.0.1:0\"\n[quotas]\nenabled = false\n"),
        ]
    },
    short_runs: 1_500,
    input_bytes_max: 8 * 1024,
};

const SESSION: &str = "000102030405060708090a0b0c0d0e0f";
const LINK: &str = "101112131415161718191a1b1c1d1e1f";

fn registration() -> Vec<u8> {
    let person = person(1);
    let registration = RegistrationId::new(300).expect("a registration id is at most 16,380");
    let identity = *seal::IdentityKeyPair::generate(&mut rng(5)).public();
    let list = person.list(1, registration, identity);
    let body = json!({
        "code": "123456",
        "replace": false,
        "account_key": binary(person.account.public().as_bytes()),
        "device_list": binary(list.as_bytes()),
        "token": binary(&[3; 32]),
        "keys": binary(&KeyUpload::default().encode()),
    });
    body.to_string().into_bytes()
}

fn binary(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

fn link_offer() -> Vec<u8> {
    let identity = *seal::IdentityKeyPair::generate(&mut rng(5)).public();
    let registration = RegistrationId::new(300).expect("a registration id is at most 16,380");
    let offer = LinkOffer::new(identity, person(1).device.public(), registration, [9; 32], [8; 32]);
    let body = json!({
        "link": LINK,
        "token": binary(&[3; 32]),
        "offer": binary(offer.as_bytes()),
        "keys": binary(&KeyUpload::default().encode()),
    });
    body.to_string().into_bytes()
}

fn link_message(body: &Value) -> Vec<u8> {
    format!("{LINK}\n{body}").into_bytes()
}

fn restoration() -> Vec<u8> {
    let registration = RegistrationId::new(301).expect("a registration id is at most 16,380");
    let identity = *seal::IdentityKeyPair::generate(&mut rng(6)).public();
    let list = person(1).list(1, registration, identity);
    let body = json!({
        "device_list": binary(list.as_bytes()),
        "token": binary(&[3; 32]),
        "keys": binary(&KeyUpload::default().encode()),
    });
    body.to_string().into_bytes()
}

/// What stands before the first line break is the path.
fn with_path(bytes: &[u8], read: impl FnOnce(&str, &[u8]) -> Outcome) -> Outcome {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Outcome::Refused("no path".to_owned());
    };
    read(&String::from_utf8_lossy(&bytes[..at]), &bytes[at + 1..])
}

/// Keys that were read are the same when they are written and read again.
fn check_keys(keys: &KeyUpload) {
    assert_eq!(KeyUpload::decode(keys.encode()).as_ref(), Ok(keys));
}

/// The addresses of a service that always has the same keys.
fn blob_paths() -> SignedPaths {
    let service =
        ServiceIdentity { pepper: Redact::new([4; 32]), incarnation: IncarnationId::from_bytes([5; 16]) };
    SignedPaths::of(&service)
}

fn blob_addresses() -> Vec<Sample> {
    let (paths, id, until) = (blob_paths(), BlobId::from_bytes([6; 16]), NOW + limits::BLOB_TICKET_LIFE);
    let upload = BlobUpload { id, size: 1_000, sha256: [7; 32] };
    vec![
        Sample::new("upload", format!("PUT {}", paths.upload(&upload, until))),
        Sample::new("download", format!("GET {}", paths.download(id, until))),
    ]
}

fn admit(bytes: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "no text")?;
    let (method, path) = text.split_once(' ').ok_or("no method")?;
    let method = match method {
        "PUT" => BlobMethod::Put,
        "GET" => BlobMethod::Get,
        _ => return Err("another method"),
    };
    let (id, query) =
        path.strip_prefix("/v1/blobs/").ok_or("another path")?.split_once('?').ok_or("no query")?;
    let id: BlobId = id.parse().map_err(|_| "no blob id")?;
    let admitted = blob_paths().admit(BlobRequest { method, id, query }, NOW).ok_or("not admitted")?;
    let signed = blob_addresses().into_iter().map(|sample| sample.bytes);
    let written = format!("{} /v1/blobs/{id}?{query}", &text[..3]).into_bytes();
    assert!(signed.into_iter().any(|signed| signed == written), "nobody signed {admitted:?}");
    Ok(())
}

/// The configuration is read from a file, so each thread has one.
fn configure(bytes: &[u8]) -> Outcome {
    thread_local! {
        static FILE: RefCell<tempfile::NamedTempFile> =
            RefCell::new(tempfile::NamedTempFile::new().expect("a temporary file can be made"));
    }
    FILE.with_borrow_mut(|file| {
        fs::File::create(file.path())
            .and_then(|mut opened| opened.write_all(bytes))
            .expect("a temporary file can be written");
        let read = Config::load(Some(file.path()), std::iter::empty());
        Outcome::of(&read.map_err(|failure| failure.code.to_owned()))
    })
}
