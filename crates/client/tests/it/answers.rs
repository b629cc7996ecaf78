//! What both servers of these tests have in common: the words of their answers, and the rules of one send.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use client::HttpAnswer;
use signed::{DeviceList, ListedDevice, SessionProof, Signature};
use std::collections::{BTreeSet, VecDeque};
use types::{AccountId, DeviceAddress, IncarnationId, MailboxId, NodeId, RegistrationId, Stamp, Timestamp};
use wire::{Envelope, Hello, Push, Refusal, SealedFor, Send, ServerFrame, Stale};

pub const ORIGIN: &str = "http://127.0.0.1:4000";
/// The only code there is.
pub const CODE: &str = "123456";

// ---- HTTP

pub fn answer(status: u16, body: &serde_json::Value) -> HttpAnswer {
    HttpAnswer { status, body: body.to_string().into_bytes() }
}

pub fn problem(status: u16, code: &str) -> HttpAnswer {
    answer(status, &serde_json::json!({ "title": "refused", "status": status, "code": code }))
}

/// A primary device is made.
pub fn made(account: AccountId, registration: RegistrationId) -> HttpAnswer {
    let made = serde_json::json!({
        "account": account.to_string(), "device": 1, "registration": registration.get()
    });
    answer(201, &made)
}

pub fn binary(body: &serde_json::Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(body[name].as_str().unwrap()).unwrap()
}

// ---- sessions

/// The server's first word.
pub fn hello(nonce: [u8; 32], time: Timestamp, incarnation: IncarnationId) -> ServerFrame {
    let versions = wire::version::SUPPORTED;
    ServerFrame::Push(Push::Hello(Hello { versions, nonce, time, incarnation }))
}

/// Whether a listed device has signed that it is at the other end.
pub fn is_signed(proof: &wire::Authenticate, nonce: [u8; 32], by: &ListedDevice) -> bool {
    let claimed = SessionProof {
        version: proof.version,
        origin: &proof.origin,
        account: proof.address.account,
        device: proof.address.device,
        connection_number: proof.connection_number,
        nonce,
    };
    claimed.verify(by.device_key(), &Signature::from_slice(&proof.signature).unwrap())
}

/// The next of the refusals that requests of this name get.
pub fn take(queue: &mut VecDeque<(&'static str, Refusal)>, name: &str) -> Option<Refusal> {
    let at = queue.iter().position(|(of, _)| *of == name)?;
    queue.remove(at).map(|(_, refusal)| refusal)
}

// ---- sends

/// A send names every device of its recipient, and every other one of its sender unless it is silent and names none.
pub fn check_named(
    send: &Send,
    from: DeviceAddress,
    recipient: &DeviceList,
    own: &DeviceList,
) -> Result<(), Refusal> {
    let named: BTreeSet<MailboxId> = send.sealed.iter().map(|sealed| sealed.to).collect();
    let names_own = named.iter().any(|mailbox| mailbox.account == from.account);
    let needs_own = send.urgency != wire::Urgency::Silent || names_own;
    let listed: BTreeSet<MailboxId> = recipient
        .mailboxes()
        .chain(own.mailboxes().filter(|_| needs_own))
        .filter(|mailbox| mailbox.address() != from)
        .collect();
    if listed == named {
        return Ok(());
    }
    Err(Refusal::stale(Stale {
        missing: listed.difference(&named).copied().collect(),
        extra: named.difference(&listed).copied().collect(),
        stale: Vec::new(),
    }))
}

/// What one device gets of a send.
pub fn envelope(send: &Send, sealed: &SealedFor, from: DeviceAddress, stamp: Stamp) -> Envelope {
    Envelope {
        envelope_id: send.envelope_id,
        from,
        to: sealed.to,
        kind: sealed.kind,
        urgency: send.urgency,
        stamp,
        ciphertext: sealed.ciphertext.clone(),
        group: None,
    }
}

/// The next stamp of a server's clock, above what the sender has seen.
pub fn next_stamp(clock: &mut u64, now: Timestamp, seen: Option<Stamp>) -> Stamp {
    let wall = now.as_millis() << 16;
    *clock = wall.max(*clock + 1).max(seen.map_or(0, Stamp::clock) + 1);
    Stamp::new(*clock, NodeId(1))
}
