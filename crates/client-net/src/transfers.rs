//! The blobs that are under way: a few at a time, each on connections of its own beside the socket.
//!
//! Invariant: at most [`AT_ONCE_MAX`] blobs are being sent or fetched, and no more than that many fetched ones
//! wait for the engine, however many it asks for.

use crate::{Dialer, blob};
use bytes::Bytes;
use std::{collections::VecDeque, future::pending};
use tokio::task::JoinSet;

/// Transfers at the same time. More of them would not be faster, and each holds a blob in memory.
const AT_ONCE_MAX: usize = 4;

/// What the engine asks for, under the engine's own name for it.
#[derive(Debug)]
pub(crate) enum Order<Id> {
    Upload { id: Id, url: String, bytes: Bytes },
    Download { id: Id, url: String },
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome<Id> {
    Uploaded { id: Id, ok: bool },
    Downloaded { id: Id, result: Option<Bytes> },
}

/// Ends with its owner: what is under way is dropped then, and the engine asks for it again next time.
#[derive(Debug)]
pub(crate) struct Transfers<Id> {
    waiting: VecDeque<(Dialer, Order<Id>)>,
    running: JoinSet<Outcome<Id>>,
}

impl<Id: Send + 'static> Transfers<Id> {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new(), running: JoinSet::new() }
    }

    /// Carries out an order, in its turn.
    pub(crate) fn order(&mut self, dialer: Dialer, order: Order<Id>) {
        self.waiting.push_back((dialer, order));
        self.start();
    }

    /// The next one that has ended. Never, if there are none. Cancellation loses nothing.
    pub(crate) async fn next(&mut self) -> Outcome<Id> {
        while let Some(ended) = self.running.join_next().await {
            // The next one starts only now, so that what was fetched does not pile up.
            self.start();
            if let Ok(outcome) = ended {
                return outcome;
            }
        }
        pending().await
    }

    fn start(&mut self) {
        while self.running.len() < AT_ONCE_MAX
            && let Some((dialer, order)) = self.waiting.pop_front()
        {
            self.running.spawn(async move {
                match order {
                    Order::Upload { id, url, bytes } => {
                        Outcome::Uploaded { id, ok: blob::upload(&dialer, &url, bytes).await }
                    }
                    Order::Download { id, url } => {
                        Outcome::Downloaded { id, result: blob::download(&dialer, &url).await }
                    }
                }
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    #[tokio::test]
    async fn all_are_carried_out_and_few_at_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, seen) = (Arc::clone(&open), Arc::clone(&most));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (open, most) = (Arc::clone(&counted), Arc::clone(&seen));
                tokio::spawn(async move {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let _ = stream.read(&mut [0; 1024]).await;
                    // Long enough for all the others, if they were let in.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblob").await;
                });
            }
        });
        let dialer = Dialer::new(url, None).unwrap();
        let mut transfers = Transfers::new();
        for id in 0..3 * AT_ONCE_MAX {
            transfers.order(dialer.clone(), Order::Download { id, url: format!("/v1/blobs/{id}") });
        }
        let mut done = Vec::new();
        while done.len() < 3 * AT_ONCE_MAX {
            let Outcome::Downloaded { id, result } = transfers.next().await else { panic!("nothing else") };
            assert_eq!(result.unwrap(), "blob");
            done.push(id);
        }
        done.sort_unstable();
        assert_eq!(done, (0..3 * AT_ONCE_MAX).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= AT_ONCE_MAX);
    }
}
