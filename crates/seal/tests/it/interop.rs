//! The official Signal client (npm `@signalapp/libsignal-client`, version in `tests/interop/package.json`) on
//! the other side: it must open what we seal, and we what it seals.
//!
//! Without `npm ci` in `tests/interop` the tests say `skipped`, unless `WAXWING_INTEROP=required`.

use crate::support::{NOW, Party, list_of};
use rand_chacha::rand_core::RngCore;
use seal::{
    Arrival, Body, Bundle, Content, DecryptFailure, GroupView, KemPrekey, OneTimePrekey, Peer, SealKind,
    Sealed, SignedPrekey, Text,
};
use serde_json::{Value, json};
use signed::{AccountSecret, IdentityKey};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use types::{DeviceAddress, DeviceNumber, GroupId, MessageId, RegistrationId};

const ROUND_TRIPS: usize = 300;
const REGISTRATION: u32 = 4_711;

/// The Node process, with the account that we give it on our side.
struct Npm {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    account: AccountSecret,
    peer: Option<Peer>,
}

impl Drop for Npm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Npm {
    /// Starts it; `None` where it is not installed and need not be.
    fn start() -> Option<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let required = std::env::var("WAXWING_INTEROP").is_ok_and(|value| value == "required");
        if !required && !folder.join("node_modules/@signalapp/libsignal-client").exists() {
            // Past the capture of the test harness: a skipped test must be seen.
            let _ = writeln!(std::io::stderr(), "skipped: run `npm ci` in {} first", folder.display());
            return None;
        }
        let mut node = Command::new("node");
        node.arg("peer.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = node.spawn().expect("node is installed");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let account = AccountSecret::from_bytes(&[0x4e; 32]);
        let mut npm = Self { child, input, output, account, peer: None };
        npm.ask(json!({ "command": "new", "registration": REGISTRATION })).unwrap();
        Some(npm)
    }

    fn ask(&mut self, command: Value) -> Result<Value, String> {
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).expect("the peer answers with one object a line");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    fn address(&self) -> DeviceAddress {
        DeviceAddress::new(signed::account_id(&self.account.public()), DeviceNumber::PRIMARY)
    }

    /// Its bundle, and with it its line on a list that we sign for it.
    fn bundle(&mut self, ids: u32) -> Bundle {
        let bundle = self.ask(json!({ "command": "bundle", "now": NOW.as_millis(), "ids": ids })).unwrap();
        let field = |name: &str| from_hex(bundle[name].as_str().unwrap());
        let registration = RegistrationId::new(REGISTRATION).unwrap();
        let list = list_of(&self.account, registration, IdentityKey::from_slice(&field("identity")).unwrap());
        self.peer = Peer::on_list(&list, DeviceNumber::PRIMARY);
        Bundle {
            device: self.address(),
            registration,
            signed: SignedPrekey {
                id: ids,
                public_key: field("signed").try_into().unwrap(),
                signature: field("signed_signature").try_into().unwrap(),
            },
            kem: KemPrekey {
                id: ids,
                public_key: field("kem"),
                signature: field("kem_signature").try_into().unwrap(),
                last_resort: false,
            },
            one_time: Some(OneTimePrekey { id: ids, public_key: field("one_time").try_into().unwrap() }),
        }
    }

    fn peer(&self) -> Peer {
        self.peer.expect("its bundle was asked for")
    }

    fn open_session(&mut self, with: &mut Party) {
        let bundle = with.bundle();
        let one_time = bundle.one_time.unwrap();
        let bundle = json!({
            "registration": bundle.registration.get(),
            "identity": hex::encode(with.local.identity.public().as_bytes()),
            "one_time_id": one_time.id,
            "one_time": hex::encode(one_time.public_key),
            "signed_id": bundle.signed.id,
            "signed": hex::encode(bundle.signed.public_key),
            "signed_signature": hex::encode(bundle.signed.signature),
            "kem_id": bundle.kem.id,
            "kem": hex::encode(bundle.kem.public_key),
            "kem_signature": hex::encode(bundle.kem.signature),
        });
        self.ask(json!({ "command": "open", "bundle": bundle, "now": NOW.as_millis() })).unwrap();
    }

    fn content(&self, to: &Party, text: &str) -> Content {
        let from = self.address();
        Content {
            message_id: MessageId::new(NOW, &mut crate::support::rng(1)),
            conversation: signed::direct_conversation(from.account, to.id()),
            sent_at: NOW,
            sender: from,
            recipient: Some(to.id()),
            counter: 1,
            own_list: None,
            recipient_list: None,
            group: None,
            expire_after_seconds: 0,
            sender_phone: None,
            original_stamp: None,
            body: Body::Text(Text::from(text)),
        }
    }

    fn seal(&mut self, to: &Party, text: &str) -> Sealed {
        let plaintext = hex::encode(seal::pad(self.content(to, text).encode().unwrap()));
        let sealed = self
            .ask(json!({ "command": "encrypt", "plaintext": plaintext, "now": NOW.as_millis() }))
            .unwrap();
        let kind = if sealed["kind"] == "prekey" { SealKind::Prekey } else { SealKind::Ratchet };
        Sealed { kind, ciphertext: from_hex(sealed["ciphertext"].as_str().unwrap()), renew: false }
    }

    fn open(&mut self, sealed: &Sealed) -> Result<String, String> {
        let kind = if sealed.kind == SealKind::Prekey { "prekey" } else { "ratchet" };
        let ciphertext = hex::encode(&sealed.ciphertext);
        let opened = self.ask(json!({ "command": "decrypt", "kind": kind, "ciphertext": ciphertext }))?;
        Ok(text_of(&from_hex(opened["plaintext"].as_str().unwrap())))
    }
}

fn text_of(padded: &[u8]) -> String {
    match Content::decode(seal::unpad(padded).unwrap()).unwrap().body {
        Body::Text(text) => text.text,
        other => panic!("not a text: {other:?}"),
    }
}

/// Talks in bursts, each delivered in another order than it was sent, until as many round trips are done.
fn talk(us: &mut Party, npm: &mut Npm) {
    let mut done = 0;
    while done < ROUND_TRIPS {
        let burst = 1 + us.draw(6);
        let mut ours: Vec<_> = (0..burst)
            .map(|n| format!("ours {done}.{n}"))
            .map(|text| (us.seal_text(&npm.peer(), &text), text))
            .collect();
        shuffle(us, &mut ours);
        for (sealed, text) in &ours {
            assert_eq!(npm.open(sealed).as_ref(), Ok(text));
        }
        let mut theirs: Vec<_> = (0..burst)
            .map(|n| format!("theirs {done}.{n}"))
            .map(|text| (npm.seal(us, &text), text))
            .collect();
        shuffle(us, &mut theirs);
        for (sealed, text) in &theirs {
            assert_eq!(us.open_text(&npm.peer(), sealed).as_ref(), Ok(text));
        }
        let (again, _) = &theirs[0];
        assert_eq!(us.open_text(&npm.peer(), again), Err(DecryptFailure::Duplicate));
        done += burst;
    }
}

fn shuffle<T>(us: &mut Party, items: &mut [T]) {
    for at in (1..items.len()).rev() {
        items.swap(at, us.rng.next_u32() as usize % (at + 1));
    }
}

#[test]
fn we_open_a_session_with_the_official_client() {
    let Some(mut npm) = Npm::start() else { return };
    let mut us = Party::new(1);
    let bundle = npm.bundle(1);
    us.open_session(bundle, &npm.peer());
    talk(&mut us, &mut npm);
}

#[test]
fn the_official_client_opens_a_session_with_us() {
    let Some(mut npm) = Npm::start() else { return };
    let mut us = Party::new(2);
    npm.bundle(1);
    npm.open_session(&mut us);
    // It speaks first, so that its prekey messages are what opens the session.
    for n in 0..3 {
        let first = npm.seal(&us, &format!("opening {n}"));
        assert_eq!(first.kind, SealKind::Prekey);
        assert_eq!(us.open_text(&npm.peer(), &first).unwrap(), format!("opening {n}"));
    }
    talk(&mut us, &mut npm);
}

#[test]
fn both_open_at_the_same_time_and_lose_messages() {
    let Some(mut npm) = Npm::start() else { return };
    let mut us = Party::new(3);
    let bundle = npm.bundle(1);
    us.open_session(bundle, &npm.peer());
    npm.open_session(&mut us);
    let (ours, theirs) = (us.seal_text(&npm.peer(), "ours"), npm.seal(&us, "theirs"));
    assert_eq!(npm.open(&ours).as_deref(), Ok("ours"));
    assert_eq!(us.open_text(&npm.peer(), &theirs).as_deref(), Ok("theirs"));
    for n in 0..50 {
        (0..us.draw(5)).for_each(|_| drop(us.seal_text(&npm.peer(), "lost")));
        let sealed = us.seal_text(&npm.peer(), &n.to_string());
        assert_eq!(npm.open(&sealed), Ok(n.to_string()));
        (0..us.draw(5)).for_each(|_| drop(npm.seal(&us, "lost")));
        let sealed = npm.seal(&us, &n.to_string());
        assert_eq!(us.open_text(&npm.peer(), &sealed), Ok(n.to_string()));
    }
}

/// The official client has no guard of ours, and must refuse what was tampered with all the same.
#[test]
fn the_official_client_refuses_what_was_tampered_with() {
    let Some(mut npm) = Npm::start() else { return };
    let mut us = Party::new(4);
    let bundle = npm.bundle(1);
    us.open_session(bundle, &npm.peer());
    let honest = us.seal_text(&npm.peer(), "honest");
    let mut tampered = honest.clone();
    *tampered.ciphertext.last_mut().unwrap() ^= 1;
    assert!(npm.open(&tampered).is_err());
    assert_eq!(npm.open(&honest).as_deref(), Ok("honest"));
}

#[test]
fn sender_keys_work_in_both_directions() {
    let Some(mut npm) = Npm::start() else { return };
    let mut us = Party::new(5);
    npm.bundle(1);
    let group = GroupId::from_bytes([0x67; 16]);
    let uuid = MessageId::from_bytes(*group.as_bytes()).to_string();

    let ours = seal::sender_key_distribution(&mut us.store, group, &mut us.rng).unwrap();
    npm.ask(json!({ "command": "take", "distribution": hex::encode(&ours) })).unwrap();
    let theirs = npm.ask(json!({ "command": "distribute", "group": uuid })).unwrap();
    let theirs = from_hex(theirs["distribution"].as_str().unwrap());
    seal::process_distribution(&mut us.store, &npm.peer(), group, &theirs).unwrap();

    let for_group = |content: Content| Content {
        conversation: types::ConversationId::from_bytes(*group.as_bytes()),
        recipient: None,
        group: Some(GroupView { epoch: 1, head: [1; 32] }),
        ..content
    };
    for n in 0..50 {
        let content = for_group(us.content(npm.address().account, &format!("ours {n}")));
        let sealed = seal::group_encrypt(&mut us.store, group, &content, &mut us.rng).unwrap();
        let opened = npm
            .ask(json!({ "command": "group_decrypt", "ciphertext": hex::encode(&sealed.ciphertext) }))
            .unwrap();
        assert_eq!(text_of(&from_hex(opened["plaintext"].as_str().unwrap())), format!("ours {n}"));

        let plaintext = seal::pad(for_group(npm.content(&us, &format!("theirs {n}"))).encode().unwrap());
        let sealed = npm
            .ask(json!({ "command": "group_encrypt", "group": uuid, "plaintext": hex::encode(&plaintext) }))
            .unwrap();
        let sealed = Sealed {
            kind: SealKind::SenderKey,
            ciphertext: from_hex(sealed["ciphertext"].as_str().unwrap()),
            renew: false,
        };
        let arrival = Arrival { group: Some(group), ..us.arrival(&npm.peer(), &sealed) };
        let opened = us.open_arrival(&arrival).unwrap().verify(Some(&npm.peer())).unwrap();
        assert_eq!(opened.body, Body::Text(Text::from(format!("theirs {n}").as_str())));
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    hex::decode(text).expect("the peer writes hex")
}
