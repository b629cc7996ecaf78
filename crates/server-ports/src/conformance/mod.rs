//! Conformance suites: each port's contract, sentence by sentence, as ordinary async functions.
//!
//! An adapter's tests hand a [`Subject`] to a suite, on whichever executor they like; the fakes pass
//! the same suites. A case panics with what is broken.
//!
//! Must not know: any adapter, any executor.

pub mod blobs;
pub mod directory;
pub mod exchange;
pub mod group_log;
pub mod mailboxes;
pub mod world;

use futures_util::future::BoxFuture;
use std::sync::Arc;

/// An adapter over data of its own, so that a case can end it and open it again.
#[async_trait::async_trait]
pub trait Subject<P: ?Sized + 'static>: Send + Sync {
    /// The adapter as it is open now. Cases keep no clone over a [`Subject::reopen`].
    fn port(&self) -> Arc<P>;

    /// Ends the adapter without a farewell, as a crash would, and opens it over the same data.
    async fn reopen(&mut self);
}

/// One sentence of a contract.
pub struct Case<P: ?Sized + 'static> {
    /// The sentence, as a name.
    pub name: &'static str,
    /// Panics unless it is true of the subject, which must be fresh.
    pub run: for<'a> fn(&'a mut dyn Subject<P>) -> BoxFuture<'a, ()>,
}

/// Runs every case over a subject of its own.
pub async fn run_all<P, S>(cases: &[Case<P>], make: impl AsyncFn() -> S)
where
    P: ?Sized + 'static,
    S: Subject<P>,
{
    for case in cases {
        println!("case {}", case.name);
        (case.run)(&mut make().await).await;
    }
}

/// Lists the cases of a port.
macro_rules! cases {
    ($port:ty: $($case:path),* $(,)?) => {
        &[$($crate::conformance::Case::<$port> {
            name: stringify!($case),
            run: |subject| Box::pin($case(subject)),
        }),*]
    };
}
use cases;

/// Ids, numbers and times that are easy to tell apart.
mod samples {
    use bytes::Bytes;
    use types::{AccountId, DeviceAddress, DeviceNumber, MailboxId, RegistrationId, Timestamp};

    /// The present of every case: 1 January 2026.
    pub(super) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    /// The `n`th account.
    pub(super) fn account(n: u32) -> AccountId {
        let mut bytes = [0xac; 16];
        bytes[12..].copy_from_slice(&n.to_be_bytes());
        AccountId::from_bytes(bytes)
    }

    /// The primary device of the `n`th account.
    pub(super) fn device(n: u32) -> MailboxId {
        life(n, 1, 100)
    }

    /// One life of one device of the `n`th account.
    pub(super) fn life(n: u32, number: u32, registration: u32) -> MailboxId {
        let number = DeviceNumber::new(number).expect("cases use device numbers in range");
        let registration = RegistrationId::new(registration).expect("cases use registration ids in range");
        DeviceAddress::new(account(n), number).mailbox(registration)
    }

    /// `length` bytes that tell by themselves what they belong to.
    pub(super) fn filled(tag: u8, length: usize) -> Bytes {
        vec![tag; length].into()
    }
}
