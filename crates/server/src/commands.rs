//! The edge's requests, answered by the core: where the two meet.

use server_core::Core;
use server_edge::{Admitted, Commands, drain::Read};
use server_ports::{Caller, StoreError, mailboxes::Page};
use std::{net::IpAddr, sync::Arc};
use wire::{Authenticate, Refusal, Request, Response};

/// The core behind the edge's door.
pub(crate) struct ByCore(pub(crate) Arc<Core>);

#[async_trait::async_trait]
impl Commands for ByCore {
    async fn authenticate(
        &self,
        _peer: IpAddr,
        request: Authenticate,
        nonce: [u8; 32],
    ) -> Result<Admitted, Refusal> {
        let admitted = self.0.authenticate(&request, nonce).await?;
        Ok(Admitted { caller: admitted.caller, device_list_version: admitted.device_list_version })
    }

    async fn opened(&self, caller: Caller) -> Result<(), Refusal> {
        self.0.opened(&caller).await
    }

    async fn call(&self, caller: Caller, request: Request) -> Result<Response, Refusal> {
        self.0.handle(&caller, request).await
    }

    async fn read_mailbox(&self, caller: Caller, read: Read) -> Result<Page, StoreError> {
        self.0.read_mailbox(&caller, read.after, read.rows, read.bytes).await
    }

    async fn closed(&self, caller: Caller) {
        self.0.closed(&caller).await;
    }
}
