//! The socket's language: frames, envelopes, error codes and protocol versions.
//!
//! Owns: the only code that sees the generated protobuf of `proto/frames.proto` and
//! `proto/envelope.proto`. Everything that leaves this crate is a domain type whose fields were
//! checked against their limits; everything that enters is encoded whole.
//!
//! Invariants: decoding never panics and never allocates more than the input's size times a small
//! constant; `decode(encode(x)) == x`; an envelope's bytes are delivered as they were stored, so that
//! fields unknown to this version survive.
//!
//! Must not know: sockets, clocks, what a ciphertext means.

mod convert;
mod envelope;
mod error;
mod frame;
pub mod version;

pub use envelope::{Envelope, EnvelopeKind, Urgency};
pub use error::{Code, GroupHead, GroupStanding, ListVersion, Refusal, Stale};
pub use frame::{
    AccountKeys, AccountList, Authenticate, Authenticated, BlobTicket, Bundle, ClientFrame, Delivery,
    DeviceRef, FetchKeys, GroupSend, Hello, KemPrekey, KeyCounts, KeyUpload, LinkState, OneTimePrekey, Push,
    Request, Response, SealedFor, Send, ServerFrame, SignedPrekey,
};

/// Generated code; private, because wire types stop here.
#[allow(missing_docs, clippy::doc_lazy_continuation)]
mod proto {
    pub(crate) mod envelope {
        include!(concat!(env!("OUT_DIR"), "/waxwing.envelope.v1.rs"));
    }
    pub(crate) mod frames {
        include!(concat!(env!("OUT_DIR"), "/waxwing.frames.v1.rs"));
    }
}

/// Bytes that came from a peer do not form a frame or an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not protobuf of this message type.
    #[error("not a valid protobuf message")]
    Protobuf,
    /// A required field is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field does not have the form that its kind asks for.
    #[error("{0} is not valid")]
    Field(&'static str),
    /// A field or list is over its limit.
    #[error("{0} is over its limit")]
    TooLarge(&'static str),
}

impl From<types::Invalid> for Malformed {
    fn from(invalid: types::Invalid) -> Self {
        Self::Field(invalid.what)
    }
}
