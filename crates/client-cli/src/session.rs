//! What the commands of one process share: the driver, which events are being printed, and the
//! patience that a command has with the server.

use crate::{
    failure::Failure,
    lines::{Event, Line},
    names::Names,
    output::Batch,
    trouble,
};
use client::{Engine, EventId, Fault};
use client_net::{Driver, Progress};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use types::Timestamp;

/// A server that says nothing for this long is not waited for any longer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of text that are printed and marked together.
const BATCH_BYTES: usize = 256 * 1024;

/// The engine of this profile, as the commands see it.
#[derive(Clone, Debug)]
pub struct Session {
    driver: Driver,
    /// Events that some `receive` is printing now: each is printed by one of them.
    leased: Arc<Mutex<BTreeSet<EventId>>>,
}

impl Session {
    /// A session over a driver.
    pub fn new(driver: Driver) -> Self {
        Self { driver, leased: Arc::default() }
    }

    /// The driver.
    pub const fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Connects, if there is no connection; at once, if one is waited for.
    pub async fn connect(&self) -> Result<(), Failure> {
        self.driver.connect().await.map_err(|stopped| self.stopped(stopped))
    }

    /// Asks the engine.
    pub async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Engine, Timestamp) -> Result<R, Fault> + Send + 'static,
    ) -> Result<R, Failure> {
        match self.driver.call(move |engine, now, _| question(engine, now)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(fault)) => Err(trouble::fault(&fault)),
            Err(stopped) => Err(self.stopped(stopped)),
        }
    }

    /// Why there is no engine any more.
    pub fn stopped(&self, stopped: client_net::Stopped) -> Failure {
        let progress = self.driver.progress();
        let ended = progress.borrow().ended.clone();
        ended.map_or_else(|| trouble::stopped(stopped), |ended| trouble::ended(&ended))
    }

    /// Takes events that nobody has printed and nobody is printing, up to `messages_max` messages.
    pub async fn lease(&self, messages_max: u64) -> Result<Lease, Failure> {
        let leased = Arc::clone(&self.leased);
        self.ask(move |engine, _| {
            let mut taken = leased.lock().unwrap_or_else(PoisonError::into_inner);
            let events = engine.view().unprinted_events(taken.len() as u32 + 64)?;
            let mut lease = Lease {
                ids: Vec::new(),
                lines: Vec::new(),
                names: Names::default(),
                leased: Arc::clone(&leased),
            };
            let (mut messages, mut bytes) = (0, 0);
            for logged in events {
                if taken.contains(&logged.id) {
                    continue;
                }
                let line = Line::Event(Event::from(logged.event));
                bytes += line.json().len();
                messages += u64::from(line.is_received_message());
                if messages > messages_max || (bytes > BATCH_BYTES && !lease.lines.is_empty()) {
                    break;
                }
                taken.insert(logged.id);
                lease.ids.push(logged.id);
                lease.lines.push(line);
            }
            lease.names = Names::of(&lease.lines, engine.view())?;
            Ok(lease)
        })
        .await
    }

    /// Whether some `receive` is printing events now.
    pub fn is_printing(&self) -> bool {
        !self.leased.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Remembers that these events were printed.
    pub async fn mark_printed(&self, events: Vec<EventId>) -> Result<(), Failure> {
        self.ask(move |engine, _| engine.mark_printed(&events)).await
    }
}

/// Events that one `receive` is printing. Given back when dropped; those marked printed never come again.
#[derive(Debug)]
pub struct Lease {
    ids: Vec<EventId>,
    lines: Vec<Line>,
    names: Names,
    leased: Arc<Mutex<BTreeSet<EventId>>>,
}

impl Lease {
    /// Whether there is nothing to print.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The events.
    pub fn events(&self) -> Vec<EventId> {
        self.ids.clone()
    }

    /// Messages among them.
    pub fn messages(&self) -> u64 {
        self.lines.iter().filter(|line| line.is_received_message()).count() as u64
    }

    /// What is to be printed.
    pub fn batch(&mut self) -> Batch {
        Batch {
            lines: std::mem::take(&mut self.lines),
            events: self.ids.iter().map(|id| id.0).collect(),
            names: std::mem::take(&mut self.names),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leased = self.leased.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            leased.remove(id);
        }
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something may have changed.
    Changed,
    /// The time is up.
    TimeUp,
    /// The person wants the command to end.
    Hurried,
}

/// One command's view of time: when it began, what it watches, and whether somebody wants it to end.
#[derive(Clone, Debug)]
pub struct Waiting {
    progress: watch::Receiver<Progress>,
    hurry: watch::Receiver<bool>,
    began: Instant,
}

impl Waiting {
    /// A command begins.
    pub fn new(session: &Session, hurry: watch::Receiver<bool>) -> Self {
        Self { progress: session.driver().progress(), hurry, began: Instant::now() }
    }

    /// When the command began.
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// The state of the connection; the next [`Waiting::until`] wakes for what changes after this.
    pub fn progress(&mut self) -> Progress {
        self.progress.borrow_and_update().clone()
    }

    /// The same for what must be done although somebody wants the command to end.
    pub fn unhurried(self) -> Self {
        Self { hurry: watch::channel(false).1, ..self }
    }

    /// Waits until somebody wants the command to end.
    pub async fn hurried(&mut self) {
        reached(&mut self.hurry, |hurry| *hurry).await;
    }

    /// Waits for a change, but not after `deadline`, and not at all once somebody wants the command to end.
    pub async fn until(&mut self, deadline: Option<Instant>) -> Woken {
        tokio::select! {
            biased;
            () = reached(&mut self.hurry, |hurry| *hurry) => Woken::Hurried,
            changed = self.progress.changed() => {
                if changed.is_err() {
                    // The driver has ended; what ended it is found by whoever asks it next.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Woken::Changed
            }
            () = sleep_until(deadline.unwrap_or_else(far_away)) => Woken::TimeUp,
        }
    }
}

/// Waits until a watched value is as wanted; for ever if nobody can change it any more.
pub async fn reached<T>(watched: &mut watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) {
    if watched.wait_for(wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A deadline for those who have none.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(366 * 86_400)
}
