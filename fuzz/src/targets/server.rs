//! What reaches `waxwing` without a session: the bodies of registrations, and the operator's configuration.

use crate::{
    Outcome, Sample, Target,
    people::{person, rng},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use server::{config::Config, http::read_finish};
use std::{cell::RefCell, fs, io::Write};
use types::RegistrationId;
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

fn registration() -> Vec<u8> {
    let person = person(1);
    let registration = RegistrationId::new(300).expect("a registration id is at most 16,380");
    let identity = *seal::IdentityKeyPair::generate(&mut rng(5)).public();
    let list = person.list(1, registration, identity);
    let binary = |bytes: &[u8]| BASE64.encode(bytes);
    let body = serde_json::json!({
        "code": "123456",
        "replace": false,
        "account_key": binary(person.account.public().as_bytes()),
        "device_list": binary(list.as_bytes()),
        "token": binary(&[3; 32]),
        "keys": binary(&KeyUpload::default().encode()),
    });
    body.to_string().into_bytes()
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
