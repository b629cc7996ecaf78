//! One node's core: what the roles share, and the table of contents of the server.

use crate::{
    Config, Ports, accept, accounts, admission::Admissions, blobs, connect, duties::Duties, ephemeral,
    group_send, group_state::GroupStates, groups, keys, links, lists, lookup, refusal::Rejection, retire,
    stamp::Stamps,
};
use server_ports::{
    Caller, StoreError,
    directory::ServiceIdentity,
    mailboxes::{Page, PageLimit},
};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
use types::{IncarnationId, Millis, Position, Timestamp};
use wire::{Bundle, Code, Refusal, Request, Response};

/// One node's core.
pub struct Core {
    pub(crate) ports: Ports,
    pub(crate) config: Config,
    pub(crate) identity: ServiceIdentity,
    pub(crate) stamps: Stamps,
    pub(crate) admissions: Admissions,
    pub(crate) group_states: GroupStates,
    pub(crate) duties: Duties,
    /// Only the planted fault [`crate::testing::Bugs::hand_out_keys_twice`] uses it.
    pub(crate) last_bundle: Mutex<Option<Bundle>>,
    poisoned: AtomicBool,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// A store met an I/O error: the node must leave service and restart.
    pub poisoned: bool,
    /// How far this node's stamps are ahead of its wall clock. Some seconds after a restart; much more
    /// means that the clock was set back, and stamps run on their counter until it has caught up.
    pub stamps_ahead: Millis,
}

impl Core {
    /// Starts a node: learns what the service is, reserves stamps above all that it gave before, and finishes what a
    /// node left behind when it died: devices that are gone lose their mailboxes, group operations are delivered.
    pub async fn start(ports: Ports, config: Config) -> Result<Self, StoreError> {
        let identity = ports.directory.service().await?;
        let stamps = Stamps::start(&*ports.mailboxes, config.node, ports.clock.now(), config.bugs).await?;
        let core = Self {
            ports,
            config,
            identity,
            stamps,
            admissions: Admissions::default(),
            group_states: GroupStates::default(),
            duties: Duties::default(),
            last_bundle: Mutex::default(),
            poisoned: AtomicBool::new(false),
        };
        retire::retire(&core, None).await?;
        groups::deliver_late(&core).await?;
        Ok(core)
    }

    /// Answers one request of an authenticated device. This `match` is the server's table of contents.
    pub async fn handle(&self, caller: &Caller, request: Request) -> Result<Response, Refusal> {
        let name = request.name();
        let result = match request {
            Request::Send(send) => accept::send(self, caller, send).await,
            Request::Ack(positions) => accept::acknowledge(self, caller, positions).await,
            Request::FetchKeys(fetch) => keys::fetch(self, caller, fetch).await,
            Request::UploadKeys(upload) => keys::upload(self, caller, upload).await,
            Request::KeyCount => keys::count(self, caller).await,
            Request::GetDeviceLists(accounts) => lists::get(self, caller, accounts).await,
            Request::PutDeviceList(list) => lists::put(self, caller, list).await,
            Request::Lookup { numbers, verify_sender } => {
                lookup::lookup(self, caller, numbers, verify_sender).await
            }
            Request::GetLink(link) => links::get(self, caller, link).await,
            Request::InviteLink { link, invitation } => links::invite(self, caller, link, invitation).await,
            Request::RefuseLink(link) => links::refuse(self, caller, link).await,
            Request::CompleteLink { link, device_list, completion } => {
                links::complete(self, caller, link, device_list, completion).await
            }
            Request::SendGroup(send) => group_send::send(self, caller, send).await,
            Request::ApplyGroup { operation, highest_stamp } => {
                groups::apply(self, caller, operation, highest_stamp).await
            }
            Request::GetGroup { group, from_epoch, link_signature } => {
                groups::get(self, caller, group, from_epoch, link_signature).await
            }
            Request::CreateBlob { size, sha256 } => blobs::create(self, caller, size, sha256).await,
            Request::GetBlob(blob) => blobs::get(self, blob).await,
            Request::Ephemeral { recipient, sealed } => {
                ephemeral::forward(self, caller, recipient, sealed).await
            }
            Request::CloseAccount => accounts::close(self, caller).await,
            // The session answers it once everything before it was answered.
            Request::Sync => Ok(Response::Done),
            // A session authenticates once, before it asks for anything else.
            Request::Authenticate(_) => Err(Rejection::Code(Code::Malformed)),
            Request::Unknown => Err(Rejection::Code(Code::Unsupported)),
        };
        result.map_err(|rejection| self.refuse(name, rejection))
    }

    /// Checks the proof that a socket belongs to a device and records its connection number. `nonce` is
    /// the one that this socket's hello carried.
    pub async fn authenticate(
        &self,
        proof: &wire::Authenticate,
        nonce: [u8; 32],
    ) -> Result<connect::Admitted, Refusal> {
        connect::authenticate(self, proof, nonce)
            .await
            .map_err(|rejection| self.refuse("authenticate", rejection))
    }

    /// The caller's session takes signals from now on: claims the route, then looks once more whether
    /// the device may stay, because a revocation before the claim found no session to tell.
    pub async fn opened(&self, caller: &Caller) -> Result<(), Refusal> {
        connect::opened(self, caller).await.map_err(|rejection| self.refuse("opened", rejection))
    }

    /// The caller's session is over.
    pub async fn closed(&self, caller: &Caller) {
        connect::closed(self, caller).await;
    }

    /// Reads the caller's mailbox after a position: at most so many rows and bytes, at least one row.
    pub async fn read_mailbox(
        &self,
        caller: &Caller,
        after: Position,
        rows: usize,
        bytes: usize,
    ) -> Result<Page, StoreError> {
        let limit = PageLimit { rows, bytes, now: self.now() };
        let page = self.ports.mailboxes.read(caller.mailbox, after, limit).await;
        page.inspect_err(|error| self.note(error))
    }

    /// What the hello of every connection names: new after a restore from backup.
    pub fn incarnation(&self) -> IncarnationId {
        self.identity.incarnation
    }

    /// How this node is. Never blocks.
    pub fn health(&self) -> Health {
        let Ports { directory, mailboxes, groups, blobs, .. } = &self.ports;
        let stores = directory.health().and(mailboxes.health()).and(groups.health()).and(blobs.health());
        if let Err(error) = stores {
            self.note(&error);
        }
        Health {
            poisoned: self.poisoned.load(Ordering::Relaxed),
            stamps_ahead: self.stamps.ahead_of(self.now()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// Remembers a poisoned store, so that the node leaves service.
    pub(crate) fn note(&self, error: &StoreError) {
        if error.is_poisoned() && !self.poisoned.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "a store is poisoned; this node must restart");
        }
    }

    fn refuse(&self, request: &'static str, rejection: Rejection) -> Refusal {
        if let Some(error) = rejection.store_error() {
            self.note(error);
            metrics::counter!("waxwing_store_errors_total").increment(1);
        }
        let refusal = rejection.into_refusal();
        metrics::counter!("waxwing_refusals_total", "request" => request, "code" => refusal.code.name())
            .increment(1);
        refusal
    }
}
