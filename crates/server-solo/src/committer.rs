//! The one thread of a store that writes: it takes everything queued, commits it as one, answers all.
//!
//! Owns: the queue, its bound, and the wait that lets patient work ride with urgent work.
//!
//! Invariants: jobs are committed in the order in which they were pushed; the queue never holds more
//! than [`QUEUE_KIB_MAX`]; after an error the store is poisoned and every job is dropped unanswered.
//!
//! Must not know: what a job is, how it is committed.

use crate::poison::Poison;
use server_ports::StoreError;
use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the queue may hold: some seconds of writing on a slow disk, and a fixed share of memory.
const QUEUE_KIB_MAX: u32 = 32 * 1024;
/// How long patient work waits for urgent work to ride with: ten commits a second cost an idle disk
/// little, and a device that reconnects within that time sees a row again at worst.
const PATIENCE: Duration = Duration::from_millis(100);

/// Tells whoever waits for a job what came of it.
pub(crate) type Answer = Box<dyn FnOnce() + Send>;

/// When a job must be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody waits for the answer.
    Now,
    /// With the next urgent job, or after a short while.
    Patient,
}

/// Room in the queue for one job.
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// The thread and its queue.
pub(crate) struct Committer<J> {
    shared: Arc<Shared<J>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

/// Everything that was queued.
pub(crate) struct Batch<J> {
    /// In the order in which they were pushed.
    pub(crate) jobs: VecDeque<J>,
    /// Called after the commit.
    pub(crate) answers: Vec<Answer>,
}

struct Shared<J> {
    queue: Mutex<Queue<J>>,
    changed: Condvar,
}

struct Queue<J> {
    jobs: Vec<(J, Room)>,
    /// When the jobs at hand must be committed at the latest.
    due: Option<Instant>,
    ended: bool,
}

impl<J: Send + 'static> Committer<J> {
    /// Starts the thread. `commit` takes every job from the batch, makes all of them durable as one, and
    /// leaves how to answer them.
    pub(crate) fn start(
        name: &str,
        poison: Poison,
        commit: impl FnMut(&mut Batch<J>) -> Result<(), String> + Send + 'static,
    ) -> std::io::Result<Self> {
        let queue = Queue { jobs: Vec::new(), due: None, ended: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn({
            let shared = shared.clone();
            move || run(&shared, &poison, commit)
        })?;
        let room = Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize));
        Ok(Self { shared, room, thread: Some(thread) })
    }

    /// Waits until the queue has room for a job of so many bytes.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, StoreError> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(QUEUE_KIB_MAX);
        match self.room.clone().acquire_many_owned(kib).await {
            Ok(permit) => Ok(Room { _permit: permit }),
            Err(_) => Err(StoreError::Unavailable("the store is closing".to_owned())),
        }
    }

    /// Queues a job.
    pub(crate) fn push(&self, room: Room, urgency: Urgency, job: J) {
        let due = match urgency {
            Urgency::Now => Instant::now(),
            Urgency::Patient => Instant::now() + PATIENCE,
        };
        let mut queue = self.shared.lock();
        queue.jobs.push((job, room));
        let sooner = queue.due.is_none_or(|earlier| due < earlier);
        if sooner {
            queue.due = Some(due);
            self.shared.changed.notify_one();
        }
    }
}

impl<J> Shared<J> {
    /// Nobody panics while holding the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work that is due, and takes all that is queued; `None` at the end.
    fn next_batch(&self) -> Option<Vec<(J, Room)>> {
        let mut queue = self.lock();
        loop {
            let wait = queue.due.map(|due| due.saturating_duration_since(Instant::now()));
            match wait {
                Some(wait) if wait.is_zero() || queue.ended => {
                    queue.due = None;
                    return Some(mem::take(&mut queue.jobs));
                }
                None if queue.ended => return None,
                Some(wait) => {
                    let woken = self.changed.wait_timeout(queue, wait);
                    queue = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

fn run<J>(shared: &Shared<J>, poison: &Poison, mut commit: impl FnMut(&mut Batch<J>) -> Result<(), String>) {
    while let Some(queued) = shared.next_batch() {
        let (jobs, _rooms): (VecDeque<J>, Vec<Room>) = queued.into_iter().unzip();
        if poison.check().is_err() {
            continue;
        }
        let mut batch = Batch { jobs, answers: Vec::new() };
        // A storage engine that panics (on damage, say) ends the store, not the process.
        let outcome = catch_unwind(AssertUnwindSafe(|| commit(&mut batch)));
        match outcome.unwrap_or_else(|_| Err("the storage engine panicked".to_owned())) {
            Ok(()) => batch.answers.into_iter().for_each(|answer| answer()),
            // Before the batch is dropped: whoever waits for an answer then looks here for the reason.
            Err(cause) => drop(poison.set(cause)),
        }
    }
}

impl<J> Drop for Committer<J> {
    /// Commits what is queued, then ends the thread.
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was caught and told above.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// A committer whose batches are seen, and that waits to be let on before each.
    struct Watched {
        committer: Committer<u32>,
        batches: Receiver<Vec<u32>>,
        go_on: SyncSender<Result<(), String>>,
        poison: Poison,
    }

    impl Watched {
        fn start() -> Self {
            let (seen, batches) = sync_channel(1_000);
            let (go_on, gate) = sync_channel::<Result<(), String>>(1_000);
            let poison = Poison::default();
            let commit = move |batch: &mut Batch<u32>| {
                seen.send(batch.jobs.drain(..).collect()).unwrap();
                gate.recv().unwrap()
            };
            let committer = Committer::start("test", poison.clone(), commit).unwrap();
            Self { committer, batches, go_on, poison }
        }

        fn push(&self, urgency: Urgency, job: u32) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let room = runtime.block_on(self.committer.room(0)).unwrap();
            self.committer.push(room, urgency, job);
        }
    }

    #[test]
    fn everything_queued_is_one_batch_in_order() {
        let watched = Watched::start();
        watched.push(Urgency::Now, 0);
        assert_eq!(watched.batches.recv().unwrap(), [0]);
        for job in 1..100 {
            watched.push(if job % 3 == 0 { Urgency::Patient } else { Urgency::Now }, job);
        }
        watched.go_on.send(Ok(())).unwrap();
        assert_eq!(watched.batches.recv().unwrap(), (1..100).collect::<Vec<_>>());
        watched.go_on.send(Ok(())).unwrap();
    }

    #[test]
    fn patient_work_is_committed_without_urgent_work() {
        let watched = Watched::start();
        watched.push(Urgency::Patient, 7);
        assert_eq!(watched.batches.recv().unwrap(), [7]);
        watched.go_on.send(Ok(())).unwrap();
    }

    #[test]
    fn the_end_commits_what_is_queued() {
        let watched = Watched::start();
        watched.push(Urgency::Patient, 7);
        watched.go_on.send(Ok(())).unwrap();
        drop(watched.committer);
        assert_eq!(watched.batches.recv().unwrap(), [7]);
    }

    #[test]
    fn an_error_is_the_end() {
        let watched = Watched::start();
        watched.push(Urgency::Now, 1);
        watched.go_on.send(Err("the disk is gone".to_owned())).unwrap();
        watched.push(Urgency::Now, 2);
        drop(watched.committer);
        assert_eq!(watched.poison.check(), Err(StoreError::Poisoned("the disk is gone".to_owned())));
        let committed: Vec<_> = watched.batches.iter().flatten().collect();
        assert!(committed == [1] || committed == [1, 2] && watched.poison.check().is_err());
    }

    #[test]
    fn a_panic_is_the_end() {
        let poison = Poison::default();
        let commit = |_: &mut Batch<u32>| panic!("damage");
        let committer = Committer::start("test", poison.clone(), commit).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let room = runtime.block_on(committer.room(0)).unwrap();
        committer.push(room, Urgency::Now, 1);
        drop(committer);
        assert!(poison.check().unwrap_err().is_poisoned());
    }

    #[test]
    fn the_queue_is_bounded_by_bytes() {
        use futures_util::FutureExt as _;
        let watched = Watched::start();
        let half = QUEUE_KIB_MAX as usize * 1_024 / 2;
        let first = watched.committer.room(half).now_or_never().unwrap().unwrap();
        assert!(watched.committer.room(half).now_or_never().is_none(), "not quite two halves fit");
        watched.committer.push(first, Urgency::Now, 1);
        assert_eq!(watched.batches.recv().unwrap(), [1]);
        assert!(watched.committer.room(half).now_or_never().is_none(), "a job counts until it is committed");
        watched.go_on.send(Ok(())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(
            runtime.block_on(watched.committer.room(usize::MAX)).is_ok(),
            "the largest job waits for all of it"
        );
    }
}
