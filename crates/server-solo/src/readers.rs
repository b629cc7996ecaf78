//! A few threads that read, so that no caller's thread waits for a disk.

use crate::poison::Poison;
use server_ports::StoreError;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};
use tokio::sync::{Semaphore, oneshot};

/// Reads under way or waiting for a thread; callers beyond it wait their turn.
const READS_QUEUED_MAX: usize = 1_024;

type Read<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Threads that each hold a source `S` to read from.
pub(crate) struct Readers<S> {
    /// Taken at the end only.
    reads: Option<SyncSender<Read<S>>>,
    threads: Vec<JoinHandle<()>>,
    room: Arc<Semaphore>,
    poison: Poison,
}

impl<S: Send + 'static> Readers<S> {
    /// Starts one thread for each source.
    pub(crate) fn start(
        name: &str,
        poison: Poison,
        sources: impl IntoIterator<Item = S>,
    ) -> std::io::Result<Self> {
        let (reads, queue) = sync_channel(READS_QUEUED_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let thread = |source| {
            let queue = queue.clone();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&queue, source))
        };
        let threads = sources.into_iter().map(thread).collect::<Result<_, _>>()?;
        Ok(Self { reads: Some(reads), threads, room: Arc::new(Semaphore::new(READS_QUEUED_MAX)), poison })
    }

    /// Reads on one of the threads. An error poisons the store.
    pub(crate) async fn read<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
        &self,
        read: impl FnOnce(&mut S) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.poison.check()?;
        let room = self.room.clone().acquire_owned().await.map_err(|_| self.poison.error())?;
        let (reply, answer) = oneshot::channel();
        let poison = self.poison.clone();
        let job: Read<S> = Box::new(move |source| {
            // Held by the job and not by the caller, who may give up: what is queued is what counts.
            let _room = room;
            let outcome = catch_unwind(AssertUnwindSafe(|| read(source)));
            let outcome = match outcome {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(poison.set(error)),
                Err(_) => Err(poison.set("the storage engine panicked")),
            };
            // The caller may have gone; nobody else wants the answer.
            let _ = reply.send(outcome);
        });
        let reads = self.reads.as_ref().ok_or_else(|| self.poison.error())?;
        reads.try_send(job).map_err(|_| self.poison.error())?;
        answer.await.map_err(|_| self.poison.error())?
    }
}

impl<S> Drop for Readers<S> {
    /// Ends the threads, so that their files are closed when the store is gone.
    fn drop(&mut self) {
        self.reads = None;
        for thread in self.threads.drain(..) {
            // A panic of a thread was caught and told above.
            let _ = thread.join();
        }
    }
}

/// Ends when the last sender is gone.
fn run<S>(queue: &Mutex<Receiver<Read<S>>>, mut source: S) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(read) => read(&mut source),
            Err(_) => return,
        }
    }
}
