//! Drives the engine: one task owns it, the clock, the randomness and the connection.
//!
//! What happens outside becomes an [`Event`]; what the engine wants done ([`Effect`]) is done here, in
//! order. Everybody else talks to the engine by [`Driver::call`], one at a time, and learns from
//! [`Driver::progress`] that it is worth asking again.
//!
//! Invariants: at most one connection, and one attempt at a time; frames leave in the engine's order;
//! after the engine failed, or the driver was stopped, every call is refused and nothing is sent.

use crate::{
    Backoff, CertificatePin, Dialer, ServerUrl, Socket, Turn, Unreachable,
    outcomes::{AddingDevices, GroupResult, LookupResult, Outcomes},
    progress::{Ended, Link, Progress},
    transfers::{Order, Outcome, Transfers},
};
use bytes::Bytes;
use client::{
    AddDeviceError, ChangeId, Closed, Dial, Effect, Engine, Event, Fault, GroupError, RemoveDeviceError,
    TransferId,
};
use rand::{TryRngCore, rand_core::CryptoRng, rngs::OsRng};
use std::{
    collections::VecDeque,
    fmt,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use types::{DeviceNumber, PhoneNumber, Timestamp, limits};

/// Calls that may wait for the engine. Callers wait in turn when there are more.
const CALLS_QUEUED_MAX: usize = 64;

/// A handle to the task that owns the engine. Clones share the task, which ends with the last of them.
#[derive(Clone)]
pub struct Driver {
    inputs: mpsc::Sender<Input>,
    progress: watch::Receiver<Progress>,
}

/// The driver's task ended: it was stopped, or the engine failed ([`Progress::ended`] says which).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

type Call = Box<dyn FnOnce(&mut Engine, Timestamp, &mut dyn CryptoRng) + Send>;
type GroupCall =
    Box<dyn FnOnce(&mut Engine, Timestamp, &mut dyn CryptoRng) -> Result<ChangeId, GroupError> + Send>;

enum Input {
    Call(Call),
    LookUp(Vec<(PhoneNumber, oneshot::Sender<LookupResult>)>),
    ChangeGroup(GroupCall, oneshot::Sender<GroupResult>),
    AddDevice {
        code: String,
        with_history: bool,
        begun: oneshot::Sender<Result<AddingDevices, AddDeviceError>>,
    },
    RemoveDevice(DeviceNumber, oneshot::Sender<Result<(), RemoveDeviceError>>),
    Connect,
    Hurry,
    Stop(oneshot::Sender<()>),
}

impl Driver {
    /// Takes the engine to a task of its own. There is no connection until [`Driver::connect`].
    pub fn start(engine: Engine) -> (Self, JoinHandle<()>) {
        let (inputs, inputs_out) = mpsc::channel(CALLS_QUEUED_MAX);
        let (progress_in, progress) = watch::channel(Progress::default());
        let task = Task {
            engine,
            inputs: inputs_out,
            progress: progress_in,
            connection: Connection::Unwanted,
            backoff: Backoff::default(),
            dialer: None,
            outgoing: VecDeque::new(),
            outcomes: Outcomes::default(),
            transfers: Transfers::new(),
            hurry: false,
        };
        (Self { inputs, progress }, tokio::spawn(task.run()))
    }

    /// Lets `call` use the engine, with the present time and randomness. What it asks for is done after.
    pub async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Engine, Timestamp, &mut dyn CryptoRng) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, answer_out) = oneshot::channel();
        let call: Call = Box::new(move |engine, now, rng| {
            // A caller that stopped waiting is not interested in the answer.
            let _ = answer.send(call(engine, now, rng));
        });
        self.input(Input::Call(call)).await?;
        answer_out.await.map_err(|_| Stopped)
    }

    /// Asks the server which account a number leads to. Waits as long as there is no connection.
    pub async fn look_up(&self, phone: PhoneNumber) -> Result<LookupResult, Stopped> {
        let mut found = self.look_up_all(vec![phone]).await?;
        found.pop().ok_or(Stopped)
    }

    /// The same for several numbers at once; the answers are in their order.
    pub async fn look_up_all(&self, phones: Vec<PhoneNumber>) -> Result<Vec<LookupResult>, Stopped> {
        let (mut asked, mut answers) = (Vec::new(), Vec::new());
        for phone in phones {
            let (answer, answer_out) = oneshot::channel();
            asked.push((phone, answer));
            answers.push(answer_out);
        }
        self.input(Input::LookUp(asked)).await?;
        let mut found = Vec::with_capacity(answers.len());
        for answer in answers {
            found.push(answer.await.map_err(|_| Stopped)?);
        }
        Ok(found)
    }

    /// Begins a change of a group, and waits until it is known what came of it.
    pub async fn change_group(
        &self,
        change: impl FnOnce(&mut Engine, Timestamp, &mut dyn CryptoRng) -> Result<ChangeId, GroupError>
        + Send
        + 'static,
    ) -> Result<GroupResult, Stopped> {
        let (answer, answer_out) = oneshot::channel();
        self.input(Input::ChangeGroup(Box::new(change), answer)).await?;
        answer_out.await.map_err(|_| Stopped)
    }

    /// Begins to add the device that shows this code; what happens on the way comes step by step.
    pub async fn add_device(
        &self,
        code: String,
        with_history: bool,
    ) -> Result<Result<AddingDevices, AddDeviceError>, Stopped> {
        let (begun, begun_out) = oneshot::channel();
        self.input(Input::AddDevice { code, with_history, begun }).await?;
        begun_out.await.map_err(|_| Stopped)
    }

    /// Removes a device, and waits for the server's word.
    pub async fn remove_device(
        &self,
        device: DeviceNumber,
    ) -> Result<Result<(), RemoveDeviceError>, Stopped> {
        let (answer, answer_out) = oneshot::channel();
        self.input(Input::RemoveDevice(device, answer)).await?;
        answer_out.await.map_err(|_| Stopped)
    }

    /// Wants a connection from now on; if one is already wanted but waits for its next attempt, tries at once.
    pub async fn connect(&self) -> Result<(), Stopped> {
        self.input(Input::Connect).await
    }

    /// From now on nothing waits for jitter: the process is about to leave.
    pub async fn hurry(&self) -> Result<(), Stopped> {
        self.input(Input::Hurry).await
    }

    /// What is known of the connection; its changes say that something can be asked anew.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Closes the connection and the engine. Returns once both are closed.
    pub async fn stop(&self) {
        let (done, done_out) = oneshot::channel();
        if self.input(Input::Stop(done)).await.is_ok() {
            let _ = done_out.await;
        }
    }

    async fn input(&self, input: Input) -> Result<(), Stopped> {
        self.inputs.send(input).await.map_err(|_| Stopped)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}

/// Where the connection stands.
enum Connection {
    /// Nobody asked for one, or none can help.
    Unwanted,
    /// The next attempt is at this time.
    Waiting(Instant),
    /// An attempt is under way.
    Opening(Pin<Box<dyn Future<Output = Result<Socket, Unreachable>> + Send>>),
    /// There is a socket; until the server knows us, it has this long.
    Open { socket: Box<Socket>, authenticate_by: Option<Instant> },
}

/// What the task woke for.
enum Woken {
    Input(Option<Input>),
    Opened(Result<Socket, Unreachable>),
    Received(Bytes),
    Written,
    Lost,
    AttemptDue,
    NotAuthenticated,
    Transferred(Outcome<TransferId>),
    Tick,
}

struct Task {
    engine: Engine,
    inputs: mpsc::Receiver<Input>,
    progress: watch::Sender<Progress>,
    connection: Connection,
    backoff: Backoff,
    /// The last server dialled, with its trust: reading the system's authorities takes milliseconds.
    dialer: Option<(Dial, Dialer)>,
    /// Frames that the socket had no room for yet. Bounded by what the engine leaves unanswered.
    outgoing: VecDeque<Bytes>,
    outcomes: Outcomes,
    transfers: Transfers<TransferId>,
    hurry: bool,
}

impl Task {
    async fn run(mut self) {
        let stopping = match self.run_until_stopped().await {
            Ok(stopping) => stopping,
            Err(fault) => {
                self.progress.send_modify(|progress| progress.ended = Some(Ended::Fault(Arc::new(fault))));
                None
            }
        };
        if let Connection::Open { socket, .. } = std::mem::replace(&mut self.connection, Connection::Unwanted)
        {
            socket.close().await;
        }
        drop(self.engine);
        if let Some(done) = stopping {
            let _ = done.send(());
        }
    }

    /// Runs until it is told to stop, or until every handle is gone.
    async fn run_until_stopped(&mut self) -> Result<Option<oneshot::Sender<()>>, Fault> {
        loop {
            match self.wait().await {
                Woken::Input(None) => return Ok(None),
                Woken::Input(Some(Input::Stop(done))) => return Ok(Some(done)),
                Woken::Input(Some(input)) => self.take_input(input)?,
                Woken::Opened(result) => self.opened(result)?,
                Woken::Received(bytes) => {
                    self.progress.send_if_modified(|progress| progress.heard());
                    self.handle(Event::Received(bytes))?;
                }
                Woken::Written => continue,
                Woken::Lost | Woken::NotAuthenticated => self.lost()?,
                Woken::AttemptDue => self.attempt()?,
                Woken::Transferred(outcome) => self.transferred(outcome)?,
                Woken::Tick => self.handle(Event::Tick)?,
            }
            self.carry_out_effects()?;
        }
    }

    /// Waits for whatever comes first. Cancelling any branch loses nothing.
    async fn wait(&mut self) -> Woken {
        let tick = self.engine.wake_at().map(instant_of);
        let connection = async {
            match &mut self.connection {
                Connection::Unwanted => pending().await,
                Connection::Waiting(at) => {
                    sleep_until(*at).await;
                    Woken::AttemptDue
                }
                Connection::Opening(attempt) => Woken::Opened(attempt.await),
                Connection::Open { socket, authenticate_by } => {
                    tokio::select! {
                        biased;
                        () = until(*authenticate_by) => Woken::NotAuthenticated,
                        turn = socket.turn(!self.outgoing.is_empty()) => match turn {
                            Ok(Turn::Received(bytes)) => Woken::Received(bytes),
                            Ok(Turn::Sendable(slot)) => {
                                if let Some(frame) = self.outgoing.pop_front() {
                                    slot.send(frame);
                                }
                                Woken::Written
                            }
                            Err(_lost) => Woken::Lost,
                        },
                    }
                }
            }
        };
        tokio::select! {
            input = self.inputs.recv() => Woken::Input(input),
            woken = connection => woken,
            outcome = self.transfers.next() => Woken::Transferred(outcome),
            () = until(tick) => Woken::Tick,
        }
    }

    fn take_input(&mut self, input: Input) -> Result<(), Fault> {
        match input {
            Input::Call(call) => call(&mut self.engine, now(), &mut OsRng.unwrap_err()),
            Input::LookUp(asked) => {
                let phones: Vec<PhoneNumber> = asked.iter().map(|(phone, _)| phone.clone()).collect();
                asked.into_iter().for_each(|(phone, answer)| self.outcomes.await_lookup(phone, answer));
                self.engine.look_up_all(phones, now(), &mut OsRng.unwrap_err())?;
            }
            Input::ChangeGroup(change, answer) => {
                match change(&mut self.engine, now(), &mut OsRng.unwrap_err()) {
                    Ok(change) => self.outcomes.await_group_change(change, answer),
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Input::AddDevice { code, with_history, begun } => {
                let adding = self.engine.add_device(&code, with_history, now(), &mut OsRng.unwrap_err())?;
                let _ = begun.send(adding.map(|()| self.outcomes.await_addition()));
            }
            Input::RemoveDevice(device, answer) => {
                match self.engine.remove_device(device, now(), &mut OsRng.unwrap_err())? {
                    Ok(()) => self.outcomes.await_removal(device, answer),
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Input::Connect if self.progress.borrow().ended.is_some() => {}
            // A device that was removed knows it, and does not ask again.
            Input::Connect if self.engine.view().is_revoked()? => self.progress.send_modify(|progress| {
                progress.wanted = true;
                progress.ended = Some(Ended::Closed(Closed::Revoked));
            }),
            Input::Connect => {
                self.progress.send_modify(|progress| progress.wanted = true);
                if matches!(self.connection, Connection::Unwanted | Connection::Waiting(_)) {
                    self.attempt()?;
                }
            }
            Input::Hurry => self.hurry = true,
            Input::Stop(_) => {}
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Fault> {
        self.engine.handle(event, now(), &mut OsRng.unwrap_err())
    }

    /// Starts one attempt to connect. The engine has the connection's number on disk before anything is dialled.
    fn attempt(&mut self) -> Result<(), Fault> {
        let dial = self.engine.dial()?;
        self.connection = match self.dialer(dial) {
            Ok(dialer) => Connection::Opening(Box::pin(async move { Socket::open(&dialer).await })),
            Err(error) => {
                self.fail(error);
                return self.handle(Event::ConnectionLost);
            }
        };
        self.progress.send_modify(|progress| progress.link = Link::Connecting);
        Ok(())
    }

    fn dialer(&mut self, dial: Dial) -> Result<Dialer, Unreachable> {
        if let Some((known, dialer)) = &self.dialer
            && *known == dial
        {
            return Ok(dialer.clone());
        }
        let url: ServerUrl =
            dial.origin.parse().map_err(|error| Unreachable::Protocol(format!("{error}")))?;
        let dialer = Dialer::new(url, dial.server_pin.map(CertificatePin::from_bytes))?;
        self.dialer = Some((dial, dialer.clone()));
        Ok(dialer)
    }

    fn opened(&mut self, result: Result<Socket, Unreachable>) -> Result<(), Fault> {
        match result {
            Ok(socket) => {
                let authenticate_by = Some(Instant::now() + limits::AUTHENTICATION_TIMEOUT.as_duration());
                self.outgoing.clear();
                self.connection = Connection::Open { socket: Box::new(socket), authenticate_by };
                self.handle(Event::Connected)
            }
            Err(error) => {
                self.fail(error);
                self.handle(Event::ConnectionLost)
            }
        }
    }

    /// An attempt failed: remember why, for people, and wait.
    fn fail(&mut self, error: Unreachable) {
        self.progress.send_modify(|progress| progress.trouble = Some(Arc::new(error)));
        let wait = self.backoff.next_wait_after_failure(&mut OsRng.unwrap_err());
        self.wait_for_attempt(wait);
    }

    fn lost(&mut self) -> Result<(), Fault> {
        let wait = self.backoff.next_wait(&mut OsRng.unwrap_err());
        self.wait_for_attempt(wait);
        self.handle(Event::ConnectionLost)
    }

    fn wait_for_attempt(&mut self, wait: Duration) {
        self.outgoing.clear();
        self.connection = Connection::Waiting(Instant::now() + wait);
        self.progress.send_modify(|progress| progress.link = Link::Waiting);
    }

    /// Does what the engine wants done, in order, and lets the others know.
    fn carry_out_effects(&mut self) -> Result<(), Fault> {
        if self.hurry {
            self.engine.flush(now(), &mut OsRng.unwrap_err())?;
        }
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Transmit(frame) => self.outgoing.push_back(frame),
                Effect::Close(closed) => self.close(closed)?,
                Effect::Authenticated => self.authenticated(),
                Effect::Drained => self.progress.send_modify(|progress| {
                    progress.drains += 1;
                    progress.drained = true;
                }),
                Effect::EventsLogged => self.progress.send_modify(|progress| progress.events += 1),
                Effect::StateChanged(_) => self.progress.send_modify(|progress| progress.states += 1),
                Effect::LookedUp { phone, result } => self.outcomes.looked_up(&phone, result),
                Effect::GroupChangeDone { change, result } => self.outcomes.group_changed(change, result),
                Effect::AddingDevice(step) => self.outcomes.adding(step),
                Effect::History(history) => {
                    self.progress.send_modify(|progress| progress.history = Some(history));
                }
                Effect::DeviceRemoved { device, result } => self.outcomes.removed(device, result),
                Effect::Upload { transfer, url, bytes } => {
                    self.transfer(Order::Upload { id: transfer, url, bytes });
                }
                Effect::Download { transfer, url } => self.transfer(Order::Download { id: transfer, url }),
            }
        }
        let settled = self.engine.is_settled();
        self.progress
            .send_if_modified(|progress| std::mem::replace(&mut progress.settled, settled) != settled);
        Ok(())
    }

    fn authenticated(&mut self) {
        self.backoff.reset();
        if let Connection::Open { authenticate_by, .. } = &mut self.connection {
            *authenticate_by = None;
        }
        self.progress.send_modify(|progress| {
            progress.link = Link::Up;
            progress.connections += 1;
            progress.drained = false;
            progress.trouble = None;
            progress.heard();
        });
    }

    fn close(&mut self, closed: Closed) -> Result<(), Fault> {
        if let Connection::Open { socket, .. } = std::mem::replace(&mut self.connection, Connection::Unwanted)
        {
            tokio::spawn(socket.close());
        }
        self.outgoing.clear();
        match closed {
            closed if closed.is_final() => self.progress.send_modify(|progress| {
                progress.link = Link::Waiting;
                progress.ended = Some(Ended::Closed(closed));
            }),
            Closed::Reconnect { after } => self.wait_for_attempt(after.as_duration()),
            _passing => {
                let wait = self.backoff.next_wait_after_failure(&mut OsRng.unwrap_err());
                self.wait_for_attempt(wait);
            }
        }
        self.handle(Event::ConnectionLost)
    }

    /// Blobs travel beside the socket, with the trust of the profile's server. The engine asks for one only
    /// after it was connected there.
    fn transfer(&mut self, order: Order<TransferId>) {
        if let Some((_, dialer)) = &self.dialer {
            self.transfers.order(dialer.clone(), order);
        }
    }

    fn transferred(&mut self, outcome: Outcome<TransferId>) -> Result<(), Fault> {
        self.progress.send_if_modified(|progress| progress.heard());
        self.handle(match outcome {
            Outcome::Uploaded { id, ok } => Event::Uploaded { transfer: id, ok },
            Outcome::Downloaded { id, result } => Event::Downloaded { transfer: id, result },
        })
    }
}

/// The present time. The engine distrusts it and keeps to the server's for every time limit.
fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

/// When a point in time comes, as far as the wall clock can be trusted not to be set meanwhile.
fn instant_of(at: Timestamp) -> Instant {
    Instant::now() + at.since(now()).as_duration()
}

/// Waits until a time; forever if there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
