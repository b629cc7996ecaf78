//! The limits of the public listener, with their defaults.

use crate::{handoff::HandoffLimits, session::SessionLimits};
use types::{Millis, limits};

/// Limits of all connections of a node.
#[derive(Clone, Debug)]
pub struct EdgeLimits {
    /// From accept to the end of the first request's head, TLS handshake included.
    pub header_timeout: Millis,
    /// For a connection that has ended to take what was said last.
    pub linger_timeout: Millis,
    /// Connections, on all shards together, that have not proved a device. When one more comes, the
    /// oldest of its shard is dropped.
    pub unauthenticated_max: usize,
    /// Connections of one address (a /64 of IPv6); `None` when quotas are switched off. Behind one
    /// address may be a school or a carrier's gateway.
    pub per_address_max: Option<u32>,
    /// Output that may wait in one connection: a few of the largest answers. A connection above it is
    /// dropped; long before, it is not read from any more.
    pub output_bytes_max: usize,
    /// Output that may wait in all connections of a shard; above it, the next to add to it is dropped.
    pub output_bytes_max_per_shard: usize,
    /// Bytes of requests that may wait for their answers in one connection, eight of the largest: while it has more
    /// it is not read from.
    pub answering_bytes_max: usize,
    /// The same in all connections of the node; beyond it requests are refused for a second, except acknowledgements,
    /// which make room.
    pub answering_bytes_max_of_node: usize,
    /// Of each session.
    pub session: SessionLimits,
    /// Of ordinary HTTP on the same port.
    pub http: HandoffLimits,
    /// How exactly time limits are kept.
    pub timer_resolution: Millis,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            header_timeout: limits::HEADER_TIMEOUT,
            linger_timeout: Millis::from_secs(2),
            unauthenticated_max: 4_096,
            per_address_max: Some(256),
            output_bytes_max: 4 * limits::SOCKET_MESSAGE_BYTES_MAX,
            output_bytes_max_per_shard: 256 * limits::SOCKET_MESSAGE_BYTES_MAX,
            answering_bytes_max: 8 * limits::SOCKET_MESSAGE_BYTES_MAX,
            answering_bytes_max_of_node: 256 * limits::SOCKET_MESSAGE_BYTES_MAX,
            session: SessionLimits::default(),
            http: HandoffLimits::default(),
            timer_resolution: Millis(200),
        }
    }
}
