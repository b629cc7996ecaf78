//! One connection in the slab of its shard.

use crate::{
    admission::Permit,
    connection::Connection,
    inbox::{Accepted, Key},
    session::{Session, SessionLimits},
};
use mio::net::TcpStream;
use server_ports::Caller;
use types::Timestamp;

/// Input thrown away after the end of a connection; a peer that sends more is cut off.
const DISCARDED_BYTES_MAX: u32 = 256 * 1024;

/// One connection: its socket, its bytes, its session, its time limits.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) stream: TcpStream,
    pub(super) permit: Permit,
    pub(super) connection: Connection,
    /// From the upgrade on; boxed, because half-open connections and ordinary HTTP have none.
    pub(super) session: Option<Box<Session>>,
    pub(super) stage: Stage,
    /// The time limit of the stages that have no session.
    pub(super) until: Timestamp,
    /// The earliest appointment in the wheel.
    pub(super) appointment: Timestamp,
    /// Counts against the bound of such connections.
    pub(super) unauthenticated: bool,
    /// The socket takes no output for now.
    pub(super) blocked: bool,
    /// Bytes of requests that wait for their answers.
    pub(super) answering: usize,
    /// Input came while nothing was to be read.
    pub(super) read_later: bool,
    /// Bytes that the socket did not take, as they were counted last.
    pub(super) output_waiting: usize,
    /// Waits in the shard's list of connections to flush.
    pub(super) flush_queued: bool,
    /// The kernel has said that the end of input is near: read until it is there.
    pub(super) read_closed: bool,
    /// The end of input was read.
    pub(super) peer_left: bool,
    discarded: u32,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// TLS handshake and the head of the first request.
    Head,
    /// A session is served.
    Socket,
    /// What was said last is on its way; input is thrown away.
    Lingering,
}

impl Entry {
    pub(super) fn new(key: Key, accepted: Accepted, connection: Connection, until: Timestamp) -> Self {
        Self {
            key,
            stream: TcpStream::from_std(accepted.stream),
            permit: accepted.permit,
            connection,
            session: None,
            stage: Stage::Head,
            until,
            appointment: Timestamp::MAX,
            unauthenticated: true,
            blocked: false,
            answering: 0,
            read_later: false,
            output_waiting: 0,
            flush_queued: false,
            read_closed: false,
            peer_left: false,
            discarded: 0,
        }
    }

    /// Who was admitted on this connection.
    pub(super) fn caller(&self) -> Option<Caller> {
        self.session.as_ref()?.caller()
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn deadline(&self, limits: &SessionLimits) -> Timestamp {
        match &self.session {
            Some(session) if self.stage == Stage::Socket => session.deadline(limits),
            _ => self.until,
        }
    }

    /// Whether input is to be read now. At the end of a connection it is, to be thrown away.
    pub(super) fn may_read(&self, answering_bytes_max: usize) -> bool {
        !self.blocked && (self.stage != Stage::Socket || self.answering < answering_bytes_max)
    }

    /// Counts input that is thrown away; `false` when it is too much.
    pub(super) fn discard(&mut self, count: usize) -> bool {
        self.discarded = self.discarded.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.discarded <= DISCARDED_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand idle connections are the measure of this crate: what is added here is added to each.
    #[test]
    fn a_connection_stays_small() {
        assert!(size_of::<Entry>() <= 176, "{}", size_of::<Entry>());
        assert!(size_of::<Session>() <= 240, "{}", size_of::<Session>());
    }
}
