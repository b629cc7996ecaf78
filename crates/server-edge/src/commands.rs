//! What the edge asks of the core.

use crate::drain::Read;
use server_ports::{Caller, StoreError, mailboxes::Page};
use std::net::IpAddr;
use wire::{Authenticate, Refusal, Request, Response};

/// The core, as the edge sees it.
///
/// The futures are polled on the shard that serves the connection, inside the context of the tokio
/// runtime that the edge was given: they may await and spawn, and must not block. A future may be
/// dropped before it is done only when the whole edge ends.
#[async_trait::async_trait]
pub trait Commands: Send + Sync + 'static {
    /// Checks the proof that a socket belongs to a device, and records its connection number.
    /// `nonce` is the one of this connection's hello.
    async fn authenticate(
        &self,
        peer: IpAddr,
        request: Authenticate,
        nonce: [u8; 32],
    ) -> Result<Admitted, Refusal>;

    /// From now on signals for the caller reach its session: claims the route, and looks once more
    /// whether the device may stay, because a revocation between [`Commands::authenticate`] and here
    /// found no session to tell.
    async fn opened(&self, caller: Caller) -> Result<(), Refusal>;

    /// Answers a request of an open session. Several may be under way at once.
    async fn call(&self, caller: Caller, request: Request) -> Result<Response, Refusal>;

    /// Reads the caller's mailbox.
    async fn read_mailbox(&self, caller: Caller, read: Read) -> Result<Page, StoreError>;

    /// The session of an admitted caller is over. Called once for each [`Admitted`].
    async fn closed(&self, caller: Caller);
}

/// A device that has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Who it is.
    pub caller: Caller,
    /// The version of its account's device list that the server has; 0 asks for an upload.
    pub device_list_version: u64,
}
