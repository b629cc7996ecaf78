//! Runs futures on the one thread of the simulation, in an order that only the futures decide.
//!
//! Owns: the tasks of all nodes and the queue of those that are ready, first woken, first polled.
//! Invariants: nothing runs but inside [`Executor::run`]; a node's crash drops its tasks where they
//! stand, as a power cut would.
//! Must not know: time (a timer is a waker that the virtual clock holds), what the tasks do.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Wake, Waker},
};
use testkit::event::Node;

/// The tasks of a simulation.
#[derive(Default)]
pub struct Executor {
    tasks: BTreeMap<TaskId, Task>,
    ready: Arc<Ready>,
    spawned: u64,
}

type TaskId = u64;

struct Task {
    owner: Node,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    waker: Waker,
}

#[derive(Default)]
struct Ready(Mutex<VecDeque<TaskId>>);

impl Ready {
    fn push(&self, id: TaskId) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.contains(&id) {
            queue.push_back(id);
        }
    }

    fn pop(&self) -> Option<TaskId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.id);
    }
}

impl Executor {
    /// Takes a task; it is first polled by the next [`Executor::run`].
    pub fn spawn(&mut self, owner: Node, future: impl Future<Output = ()> + Send + 'static) {
        self.spawned += 1;
        let id = self.spawned;
        let waker = Waker::from(Arc::new(TaskWaker { id, ready: self.ready.clone() }));
        self.tasks.insert(id, Task { owner, future: Box::pin(future), waker });
        self.ready.push(id);
    }

    /// Polls until every task waits for something outside. Says whether any was polled.
    pub fn run(&mut self) -> bool {
        let mut polled = false;
        while let Some(id) = self.ready.pop() {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            polled = true;
            let mut context = Context::from_waker(&task.waker);
            if task.future.as_mut().poll(&mut context).is_ready() {
                self.tasks.remove(&id);
            }
        }
        polled
    }

    /// Drops every task of a node.
    pub fn abort(&mut self, owner: Node) {
        self.tasks.retain(|_, task| task.owner != owner);
    }

    /// How many tasks of a node are not done.
    pub fn count(&self, owner: Node) -> usize {
        self.tasks.values().filter(|task| task.owner == owner).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use server_ports::{Clock as _, fake::FakeClock};
    use types::{Millis, Timestamp};

    const NODE: Node = Node(0);
    const OTHER: Node = Node(1);

    struct Bench {
        clock: FakeClock,
        executor: Executor,
        log: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Bench {
        fn new() -> Self {
            let clock = FakeClock::new(Timestamp::from_millis(0));
            Self { clock, executor: Executor::default(), log: Arc::default() }
        }

        fn logs_after(&mut self, owner: Node, wait: u64, line: &'static str) {
            let (clock, log) = (self.clock.clone(), self.log.clone());
            self.executor.spawn(owner, async move {
                clock.sleep(Millis(wait)).await;
                log.lock().expect("no test panics with it").push(line);
            });
        }

        fn run_to_the_end(&mut self) -> Vec<&'static str> {
            self.executor.run();
            while let Some(at) = self.clock.next_timer() {
                self.clock.advance_to(at);
                self.executor.run();
            }
            self.log.lock().expect("no test panics with it").clone()
        }
    }

    #[test]
    fn tasks_go_on_in_the_order_of_their_timers() {
        let mut bench = Bench::new();
        bench.logs_after(NODE, 20, "late");
        bench.logs_after(NODE, 10, "early");
        bench.logs_after(NODE, 10, "early too");
        assert_eq!(bench.run_to_the_end(), ["early", "early too", "late"]);
        assert_eq!(bench.executor.count(NODE), 0);
    }

    #[test]
    fn a_crash_drops_the_tasks_of_its_node_alone() {
        let mut bench = Bench::new();
        bench.logs_after(NODE, 10, "lost");
        bench.logs_after(OTHER, 20, "kept");
        bench.executor.run();
        bench.executor.abort(NODE);
        assert_eq!(bench.run_to_the_end(), ["kept"]);
    }
}
