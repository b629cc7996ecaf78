//! What devices ask outside of their connections: requests without a session, and blobs.
//!
//! Owns: what was asked and not carried to a node yet.
//! Invariants: a call is answered at most once, and may be lost on either way; whoever asks waits for so long
//! and no longer.
//! Must not know: what the requests are for.

use crate::{device::Seat, http};
use bytes::Bytes;
use client::{HttpAnswer, HttpRequest};
use server_core::Core;
use types::Millis;

/// A call that was not answered in this time counts as lost.
pub const ANSWER_WITHIN: Millis = Millis::from_secs(10);

/// One call, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A request without a session.
    Http(HttpRequest),
    /// To store a blob.
    Put {
        /// Where.
        url: String,
        /// Its bytes.
        bytes: Bytes,
    },
    /// To have a blob.
    Get {
        /// From where.
        url: String,
    },
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To a request without a session.
    Http(HttpAnswer),
    /// Whether the blob was stored.
    Stored(bool),
    /// The blob, if it can be had.
    Found(Option<Bytes>),
}

/// A call on its way.
#[derive(Debug)]
pub struct Call {
    /// Which.
    pub id: CallId,
    /// Who asks.
    pub from: Seat,
    /// For what.
    pub asked: Asked,
}

/// The calls that no node has heard yet.
#[derive(Debug, Default)]
pub struct Calls {
    made: u64,
    waiting: Vec<Call>,
}

impl Calls {
    /// A device asks.
    pub fn ask(&mut self, from: Seat, asked: Asked) -> CallId {
        self.made += 1;
        let id = CallId(self.made);
        self.waiting.push(Call { id, from, asked });
        id
    }

    /// What was asked since the last time.
    pub fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.waiting)
    }
}

impl Asked {
    /// What a server sees of it.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Http(request) => {
                let mut bytes = http::carried(request);
                bytes.push(request.body.clone());
                bytes
            }
            Self::Put { bytes, .. } => vec![bytes.to_vec()],
            Self::Get { .. } => Vec::new(),
        }
    }

    /// Has a node do it.
    pub async fn put_to(self, core: &Core) -> Answer {
        match self {
            Self::Http(request) => Answer::Http(http::answer(core, &request).await),
            Self::Put { url, bytes } => Answer::Stored(http::put(core, &url, bytes).await),
            Self::Get { url } => Answer::Found(http::get(core, &url).await),
        }
    }
}
