//! The calls that a shard has under way in the core.
//!
//! Owns: their futures, polled on the shard's own thread and woken by its alarm, so that a call that
//! is answered at once costs no task, channel or change of thread.
//! Invariant: every call has an outcome; one that panics is answered "outcome unknown".

use crate::{
    budget::Share,
    commands::{Admitted, Commands},
    drain::Read,
    inbox::{Alarm, Key},
};
use futures_util::{
    FutureExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use server_ports::{Caller, StoreError, mailboxes::Page};
use std::{
    future::Future,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use wire::{Authenticate, Code, Refusal, Request, Response};

/// What a call came to.
pub(super) enum Outcome {
    Authenticated(Result<Admitted, Refusal>),
    Opened {
        caller: Caller,
        result: Result<(), Refusal>,
    },
    /// With the bytes of the request.
    Answered {
        id: u64,
        bytes: usize,
        result: Result<Response, Refusal>,
    },
    PageRead(Result<Page, StoreError>),
    Closed,
}

/// Calls under way, each with the connection that it is for.
pub(super) struct Calls {
    commands: Arc<dyn Commands>,
    running: FuturesUnordered<BoxFuture<'static, (Key, Outcome)>>,
    waker: Waker,
}

impl Calls {
    pub(super) fn new(commands: Arc<dyn Commands>, alarm: Arc<Alarm>) -> Self {
        Self { commands, running: FuturesUnordered::new(), waker: alarm.into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next call that is done; `None` when all others wait.
    pub(super) fn next(&mut self) -> Option<(Key, Outcome)> {
        match self.running.poll_next_unpin(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(done) => done,
            Poll::Pending => None,
        }
    }

    pub(super) fn authenticate(&mut self, key: Key, peer: IpAddr, proof: Authenticate, nonce: [u8; 32]) {
        let commands = self.commands.clone();
        let call = async move { commands.authenticate(peer, proof, nonce).await };
        self.start(key, call, |result| {
            Outcome::Authenticated(result.unwrap_or(Err(Code::Unavailable.into())))
        });
    }

    pub(super) fn opened(&mut self, key: Key, caller: Caller) {
        let commands = self.commands.clone();
        let call = async move { commands.opened(caller).await };
        self.start(key, call, move |result| Outcome::Opened {
            caller,
            result: result.unwrap_or(Err(Code::Unavailable.into())),
        });
    }

    /// An opening that needs no call to be refused.
    pub(super) fn refused(&mut self, key: Key, caller: Caller, refusal: Refusal) {
        self.start(key, std::future::ready(()), move |_| Outcome::Opened { caller, result: Err(refusal) });
    }

    /// Has a request answered, which holds its share of the budget until then.
    pub(super) fn call(&mut self, key: Key, id: u64, caller: Caller, request: Request, share: Option<Share>) {
        let commands = self.commands.clone();
        let bytes = share.as_ref().map_or(0, Share::bytes);
        let call = async move {
            let result = commands.call(caller, request).await;
            drop(share);
            result
        };
        self.start(key, call, move |result| Outcome::Answered {
            id,
            bytes,
            result: result.unwrap_or(Err(Code::Unavailable.into())),
        });
    }

    pub(super) fn read_mailbox(&mut self, key: Key, caller: Caller, read: Read) {
        let commands = self.commands.clone();
        let call = async move { commands.read_mailbox(caller, read).await };
        self.start(key, call, |result| {
            let panicked = || Err(StoreError::Unavailable("the read panicked".into()));
            Outcome::PageRead(result.unwrap_or_else(panicked))
        });
    }

    pub(super) fn closed(&mut self, key: Key, caller: Caller) {
        let commands = self.commands.clone();
        self.start(key, async move { commands.closed(caller).await }, |_| Outcome::Closed);
    }

    /// Starts a call; `None` is the result of one that panicked.
    fn start<T: 'static>(
        &mut self,
        key: Key,
        call: impl Future<Output = T> + Send + 'static,
        outcome: impl FnOnce(Option<T>) -> Outcome + Send + 'static,
    ) {
        let guarded = AssertUnwindSafe(call).catch_unwind().map(move |result| {
            if result.is_err() {
                tracing::error!("a call panicked");
            }
            (key, outcome(result.ok()))
        });
        self.running.push(guarded.boxed());
    }
}
