//! What stands between the network and the Signal library, because the published version does not check it.
//!
//! | weakness of the library | check |
//! |---|---|
//! | a malformed post-quantum field makes it panic before the MAC is checked | [`check_pq_field`], strict |
//! | a message may lack that field, which downgrades the session | an empty field is refused |
//! | public keys of low order are accepted | [`check_public_key`] |
//! | 25,000 steps of a chain are computed before the MAC is checked, in each of 41 sessions | [`FORWARD_MAX`] |
//! | repeated and unordered fields outside the MAC are accepted | bytes must be as an honest encoder writes them |
//! | nothing limits how often a sender may fail | [`FailureLimiter`] |
//!
//! Must not know: keys, sessions, stores. Everything here is a pure function of bytes and numbers.

mod limiter;
mod message;
mod pq_field;
mod public_key;

pub use limiter::{FAILURES_MAX, FailureLimiter};
pub use message::{
    FORWARD_MAX, MessageHeader, PrekeyHeader, SenderKeyHeader, inspect, inspect_distribution,
    inspect_sender_key,
};
pub use pq_field::{PqHeader, PqRefused, check_pq_field};
pub use public_key::{KeyRefused, check_public_key};
