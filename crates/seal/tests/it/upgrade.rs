//! A state that was stored by an earlier build still opens messages: an upgrade in place keeps sessions.

use crate::support::{Party, pair, settled_pair};
use seal::{SealKind, Sealed, Store};
use serde_json::{Value, json};
use std::path::PathBuf;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/sessions.json")
}

/// One receiver's state, and a message to it that nobody has opened.
fn scene(mut alice: Party, bob: Party, text: &str) -> Value {
    let session = bob.store.session(alice.address()).unwrap().map(|record| hex::encode(record.as_slice()));
    let sealed = alice.seal_text(&bob.peer(), text);
    json!({
        "kind": if sealed.kind == SealKind::Prekey { "prekey" } else { "ratchet" },
        "session": session,
        "ciphertext": hex::encode(sealed.ciphertext),
        "text": text,
    })
}

fn seed(name: &str) -> u64 {
    if name == "opening" { 11 } else { 12 }
}

/// Writes the fixture anew, when `WAXWING_WRITE_FIXTURE` is set: only if a new form of state is added beside the
/// old ones.
fn write_the_fixture() {
    let (alice, bob) = pair(seed("opening"));
    let opening = scene(alice, bob, "opened after the upgrade");
    let (mut alice, bob) = settled_pair(seed("session"));
    (0..5).for_each(|_| drop(alice.seal_text(&bob.peer(), "lost")));
    let session = scene(alice, bob, "continued after the upgrade");
    let text = serde_json::to_string_pretty(&json!({ "opening": opening, "session": session })).unwrap();
    std::fs::create_dir_all(fixture().parent().unwrap()).unwrap();
    std::fs::write(fixture(), text + "\n").unwrap();
}

#[test]
fn a_state_of_an_earlier_build_opens() {
    if std::env::var_os("WAXWING_WRITE_FIXTURE").is_some() {
        write_the_fixture();
    }
    let scenes: Value = serde_json::from_str(&std::fs::read_to_string(fixture()).unwrap()).unwrap();
    for name in ["opening", "session"] {
        let scene = &scenes[name];
        let bytes = |field: &str| scene[field].as_str().map(|text| hex::decode(text).unwrap());
        let (alice, mut bob) = if name == "opening" { pair(seed(name)) } else { settled_pair(seed(name)) };
        // Identities come from the seed, the session as it was stored.
        if let Some(session) = bytes("session") {
            bob.store.store_session(alice.address(), &session).unwrap();
        }
        let kind = if scene["kind"] == "prekey" { SealKind::Prekey } else { SealKind::Ratchet };
        let sealed = Sealed { kind, ciphertext: bytes("ciphertext").unwrap(), renew: false };
        assert_eq!(bob.open_text(&alice.peer(), &sealed).unwrap(), scene["text"].as_str().unwrap());
    }
}
