//! The table of targets, one file for each crate whose parsers they feed, and for what `seal` seals outside sessions.

mod client;
mod edge;
mod link;
mod seal;
mod sealed;
mod server;
mod signed;
mod text;
mod wire;

use crate::{Outcome, Sample, Target};

/// Every target, in the order in which they run.
pub static ALL: &[Target] = &[
    wire::CLIENT_FRAME,
    wire::SERVER_FRAME,
    wire::ENVELOPE,
    wire::KEY_UPLOAD,
    signed::DEVICE_LIST,
    signed::DEVICE_LIST_INSIDE,
    signed::CERTIFICATE,
    signed::CERTIFICATE_INSIDE,
    signed::GROUP_OPERATION,
    signed::GROUP_OPERATION_INSIDE,
    link::OFFER,
    seal::GUARD,
    seal::PADDING,
    seal::CONTENT,
    seal::HELD_CONTENT,
    seal::DECRYPT,
    seal::DISTRIBUTION,
    seal::BUNDLE,
    link::CODE,
    link::MESSAGE,
    link::BODY,
    link::STATE,
    sealed::ARCHIVE_PART,
    sealed::BACKUP,
    sealed::DEVICE_NAMES,
    sealed::GROUP_INFO,
    sealed::TYPED_SECRETS,
    edge::HTTP_HEAD,
    edge::WEBSOCKET,
    edge::CONNECTION,
    edge::TLS,
    client::ANSWER,
    client::CONNECTION,
    server::REGISTRATION,
    server::LINK_OFFER,
    server::LINK_POLL,
    server::LINK_ANSWER,
    server::RESTORATION,
    server::BLOB_ADDRESS,
    server::CONFIG,
    text::IDS,
];

/// Panics on an input that a mutator can only find step by step. It is not in the table: it shows that a run finds
/// what is to be found, also a long one (`make fuzz TARGET=planted`).
pub static PLANTED: Target = Target {
    name: "planted",
    run: |bytes| {
        for (at, letter) in b"wax".iter().enumerate() {
            if bytes.get(at) != Some(letter) {
                return Outcome::Refused(format!("byte {at} is wrong"));
            }
            // Each step is a place of its own; the compiler would make one comparison of all of them.
            std::hint::black_box(at);
        }
        let length = bytes.get(3).copied().unwrap_or_default();
        assert!(usize::from(length) <= bytes.len() || length < 0x80, "the planted fault");
        Outcome::Accepted
    },
    samples: || vec![Sample::new("valid", *b"wax\x02hi")],
    short_runs: 20_000,
    input_bytes_max: 64,
};

/// The target of a name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    ALL.iter().chain([&PLANTED]).find(|target| target.name == name)
}
