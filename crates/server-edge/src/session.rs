//! One session: the conversation on one socket, from hello to farewell. Events in, effects out.
//!
//! Owns: the order of a session (hello, authentication, requests), request numbers and the window of
//! unanswered requests, time limits, and the [`Drain`] of the mailbox.
//!
//! Invariants: each request is answered exactly once or the session ends; nothing but hello, a refusal
//! and the farewell is written before the device has proved itself; after [`Effect::Close`] a session
//! has no more effects.
//!
//! Must not know: sockets, stores, clocks, how a request is answered. The simulator drives this same
//! machine.

use crate::{
    commands::Admitted,
    drain::{Drain, DrainLimits, Read},
};
use server_ports::{Caller, Signal, StoreError, mailboxes::Page};
use types::{IncarnationId, Millis, Timestamp, limits};
use wire::{
    Authenticate, Authenticated, ClientFrame, Code, Hello, Push, Refusal, Request, Response, ServerFrame,
    version,
};

/// When a client tries again that was refused for want of room: a disk that is slow for longer says so again.
const RETRY_WITHOUT_ROOM: Millis = Millis::from_secs(1);

/// Limits of a session; the same for all sessions of a node.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// Protocol versions that are spoken.
    pub versions: version::Range,
    /// From the upgrade to the proof.
    pub authentication_timeout: Millis,
    /// Without any byte from the client.
    pub keep_alive_timeout: Millis,
    /// Sends that may be unanswered.
    pub sends_unanswered_max: usize,
    /// Of the mailbox.
    pub drain: DrainLimits,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            versions: version::SUPPORTED,
            authentication_timeout: limits::AUTHENTICATION_TIMEOUT,
            keep_alive_timeout: limits::KEEP_ALIVE_TIMEOUT,
            sends_unanswered_max: limits::SENDS_UNANSWERED_MAX,
            drain: DrainLimits::default(),
        }
    }
}

/// What happens to a session.
#[derive(Debug)]
pub enum Event {
    /// A frame came.
    Frame(ClientFrame),
    /// A frame came while the node holds as much as it may of requests that wait for their answers.
    NoRoom(ClientFrame),
    /// A message came that is not a frame.
    Malformed,
    /// Any byte came: the client lives.
    Alive,
    /// The outcome of [`Effect::Authenticate`].
    Authenticated(Result<Admitted, Refusal>),
    /// The outcome of [`Effect::Open`].
    Opened(Result<(), Refusal>),
    /// The outcome of [`Effect::Call`].
    Answered {
        /// The request's number.
        id: u64,
        /// What to answer.
        result: Result<Response, Refusal>,
    },
    /// The outcome of [`Effect::ReadMailbox`].
    PageRead(Result<Page, StoreError>),
    /// The exchange has a signal for the device.
    Signal(Signal),
    /// The socket takes no more output for now.
    WriteBlocked,
    /// The socket has taken all output.
    WriteDrained,
    /// The node is about to stop: what is under way is finished, and the client told when to come back.
    Stop {
        /// How long the client should wait.
        reconnect_after: Millis,
    },
    /// Time has passed.
    Tick,
}

/// What a session wants done.
#[derive(Debug)]
pub enum Effect {
    /// Write a frame.
    Write(ServerFrame),
    /// Have the proof checked against this session's nonce.
    Authenticate(Box<Authenticate>, [u8; 32]),
    /// The proof is good: let signals for the caller reach this session, then claim its route.
    Open(Caller),
    /// Have a request answered.
    Call {
        /// The request's number.
        id: u64,
        /// The request.
        request: Request,
    },
    /// Read the mailbox.
    ReadMailbox(Read),
    /// Catch-up waits for acknowledgements from here on (for metrics).
    WindowClosed,
    /// Write what is queued, then close. The last effect.
    Close(CloseReason),
}

/// Why a session closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client was told so by this code.
    Refused(Code),
    /// The node stops.
    Stopping,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    state: State,
    heard_at: Timestamp,
    /// The number of the newest request.
    newest: u64,
    /// Requests without an answer, oldest first. Empty, it owns no memory.
    unanswered: Vec<(u64, Kind)>,
    blocked: bool,
    stopping: Option<Millis>,
}

#[derive(Debug)]
enum State {
    /// Hello was written.
    Greeted { nonce: [u8; 32], until: Timestamp },
    /// The proof is being checked.
    Proving { id: u64, version: u32, until: Timestamp },
    /// The route is being claimed.
    Opening { id: u64, version: u32, admitted: Admitted, until: Timestamp },
    /// The device is there.
    Open { caller: Caller, drain: Drain, stalled: bool },
    /// It is over; whoever was admitted has still to be signed off.
    Closed { caller: Option<Caller>, opening: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Send,
    Sync,
    Other,
}

impl Kind {
    fn of(request: &Request) -> Self {
        match request {
            Request::Send(_) | Request::SendGroup(_) => Self::Send,
            Request::Sync => Self::Sync,
            _ => Self::Other,
        }
    }
}

/// What an event is handled with: the time, the limits, and where effects go.
struct Context<'a> {
    now: Timestamp,
    limits: &'a SessionLimits,
    effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    fn write(&mut self, frame: ServerFrame) {
        self.effects.push(Effect::Write(frame));
    }

    fn push(&mut self, push: Push) {
        self.write(ServerFrame::Push(push));
    }

    fn answer(&mut self, id: u64, result: Result<Response, Refusal>) {
        self.write(ServerFrame::Answer { id, result });
    }
}

impl Session {
    /// A session on a socket that was just opened; writes hello. `nonce` is fresh randomness,
    /// `time` what the server's wall clock says (`now` may be another, monotonic clock).
    pub fn new(
        nonce: [u8; 32],
        time: Timestamp,
        incarnation: IncarnationId,
        now: Timestamp,
        limits: &SessionLimits,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let hello = Hello { versions: limits.versions, nonce, time, incarnation };
        effects.push(Effect::Write(ServerFrame::Push(Push::Hello(hello))));
        Self {
            state: State::Greeted { nonce, until: now + limits.authentication_timeout },
            heard_at: now,
            newest: 0,
            unanswered: Vec::new(),
            blocked: false,
            stopping: None,
        }
    }

    /// Takes an event and appends what is to be done about it.
    pub fn handle(
        &mut self,
        event: Event,
        now: Timestamp,
        limits: &SessionLimits,
        effects: &mut Vec<Effect>,
    ) {
        let mut context = Context { now, limits, effects };
        match event {
            _ if self.is_closed() => return,
            Event::Frame(frame) => self.frame(frame, true, &mut context),
            Event::NoRoom(frame) => self.frame(frame, false, &mut context),
            Event::Malformed => self.refuse(Code::Malformed.into(), &mut context),
            Event::Alive => self.heard_at = now,
            Event::Authenticated(result) => self.proved(result, &mut context),
            Event::Opened(result) => self.opened(result, &mut context),
            Event::Answered { id, result } => self.answered(id, result, &mut context),
            Event::PageRead(result) => self.page_read(result, &mut context),
            Event::Signal(signal) => self.signal(signal, &mut context),
            Event::WriteBlocked => self.set_blocked(true),
            Event::WriteDrained => self.set_blocked(false),
            Event::Stop { reconnect_after } => self.stop(reconnect_after, &mut context),
            Event::Tick => self.tick(&mut context),
        }
        self.proceed(&mut context);
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self, limits: &SessionLimits) -> Timestamp {
        match &self.state {
            State::Greeted { until, .. } | State::Proving { until, .. } | State::Opening { until, .. } => {
                *until
            }
            // What is stopping reads no more, however long its last answer takes.
            State::Open { .. } if self.stopping.is_some() => self.heard_at + limits.keep_alive_timeout,
            State::Open { drain, .. } => (self.heard_at + limits.keep_alive_timeout).min(drain.wake_at()),
            State::Closed { .. } => Timestamp::MAX,
        }
    }

    /// Who was admitted; also after the session has closed.
    pub fn caller(&self) -> Option<Caller> {
        match &self.state {
            State::Opening { admitted, .. } => Some(admitted.caller),
            State::Open { caller, .. } => Some(*caller),
            State::Closed { caller, .. } => *caller,
            State::Greeted { .. } | State::Proving { .. } => None,
        }
    }

    /// Whether the outcome of [`Effect::Open`] has not come yet; also after the session has closed.
    pub fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening { .. } | State::Closed { opening: true, .. })
    }

    /// Whether the device has proved itself and the session is open.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    fn frame(&mut self, frame: ClientFrame, room: bool, context: &mut Context<'_>) {
        self.heard_at = context.now;
        if frame.id <= self.newest {
            return self.refuse(Code::Malformed.into(), context);
        }
        self.newest = frame.id;
        match (&self.state, frame.request) {
            (State::Greeted { nonce, until }, Request::Authenticate(proof)) => {
                let (nonce, until) = (*nonce, *until);
                self.authenticate(frame.id, proof, nonce, until, context);
            }
            (State::Open { .. }, Request::Authenticate(_)) => self.refuse(Code::Malformed.into(), context),
            // What acknowledges makes room, and a sync holds nothing.
            (State::Open { .. }, request) if room || matches!(request, Request::Ack(_) | Request::Sync) => {
                self.request(frame.id, request, context);
            }
            (State::Open { .. }, _) => {
                context.answer(frame.id, Err(Refusal::retry_after(RETRY_WITHOUT_ROOM)))
            }
            _ => self.refuse_proof(frame.id, Code::Unauthenticated.into(), context),
        }
    }

    fn authenticate(
        &mut self,
        id: u64,
        proof: Authenticate,
        nonce: [u8; 32],
        until: Timestamp,
        context: &mut Context<'_>,
    ) {
        if !context.limits.versions.contains(proof.version) {
            return self.refuse_proof(id, Code::VersionUnsupported.into(), context);
        }
        self.state = State::Proving { id, version: proof.version, until };
        context.effects.push(Effect::Authenticate(Box::new(proof), nonce));
    }

    fn proved(&mut self, result: Result<Admitted, Refusal>, context: &mut Context<'_>) {
        let State::Proving { id, version, until } = self.state else { return };
        match result {
            Ok(admitted) => {
                self.state = State::Opening { id, version, admitted, until };
                context.effects.push(Effect::Open(admitted.caller));
            }
            Err(refusal) => self.refuse_proof(id, refusal, context),
        }
    }

    fn opened(&mut self, result: Result<(), Refusal>, context: &mut Context<'_>) {
        let State::Opening { id, version, admitted, .. } = self.state else { return };
        let Admitted { caller, device_list_version } = admitted;
        let mut drain = Drain::new(context.now, &context.limits.drain);
        drain.set_blocked(self.blocked);
        self.state = State::Open { caller, drain, stalled: false };
        if let Err(refusal) = result {
            return self.refuse_proof(id, refusal, context);
        }
        let registration = caller.mailbox.registration;
        let answer = Authenticated { version, registration, device_list_version };
        context.answer(id, Ok(Response::Authenticated(answer)));
    }

    fn request(&mut self, id: u64, request: Request, context: &mut Context<'_>) {
        let kind = Kind::of(&request);
        if let Some(after) = self.stopping {
            return context.answer(id, Err(Refusal::retry_after(after)));
        }
        let sends = self.unanswered.iter().filter(|(_, kind)| *kind == Kind::Send).count();
        let full = match kind {
            Kind::Send => sends >= context.limits.sends_unanswered_max,
            Kind::Sync | Kind::Other => self.unanswered.len() - sends >= limits::REQUESTS_UNANSWERED_MAX,
        };
        if full {
            return context.answer(id, Err(Code::TooManyInFlight.into()));
        }
        match &request {
            Request::Unknown => return context.answer(id, Err(Code::Unsupported.into())),
            Request::Ack(positions) => {
                if let State::Open { drain, .. } = &mut self.state {
                    drain.acknowledged(positions);
                }
            }
            _ => {}
        }
        self.unanswered.push((id, kind));
        if kind == Kind::Sync {
            self.answer_syncs(context);
        } else {
            context.effects.push(Effect::Call { id, request });
        }
    }

    fn answered(&mut self, id: u64, result: Result<Response, Refusal>, context: &mut Context<'_>) {
        let Some(at) = self.unanswered.iter().position(|(unanswered, _)| *unanswered == id) else { return };
        self.unanswered.remove(at);
        context.answer(id, result);
        self.answer_syncs(context);
    }

    /// Answers each `Sync` that has no unanswered request before it.
    fn answer_syncs(&mut self, context: &mut Context<'_>) {
        while let Some((id, Kind::Sync)) = self.unanswered.first().copied() {
            self.unanswered.remove(0);
            context.answer(id, Ok(Response::Done));
        }
        if self.unanswered.is_empty() {
            self.unanswered = Vec::new();
        }
    }

    fn page_read(&mut self, result: Result<Page, StoreError>, context: &mut Context<'_>) {
        let State::Open { drain, .. } = &mut self.state else { return };
        match result {
            Ok(page) => {
                let (deliveries, drained) = drain.page(page, context.now, &context.limits.drain);
                if !deliveries.is_empty() {
                    context.push(Push::Deliver(deliveries));
                }
                if drained {
                    context.push(Push::Drained);
                }
            }
            Err(_) => drain.read_failed(context.now, &context.limits.drain),
        }
    }

    fn signal(&mut self, signal: Signal, context: &mut Context<'_>) {
        if let Signal::Ended(code) = signal {
            return self.refuse(code.into(), context);
        }
        // Before the session is open, whatever a signal tells will be found by the first read.
        let State::Open { drain, .. } = &mut self.state else { return };
        match signal {
            Signal::Hint { position, previous, envelope } => {
                if let Some(delivery) = drain.hint(position, previous, envelope, &context.limits.drain) {
                    context.push(Push::Deliver(vec![delivery]));
                }
            }
            Signal::Read => drain.read_soon(),
            Signal::KeysLow(counts) => context.push(Push::KeysLow(counts)),
            Signal::DeviceListChanged { account, version } => {
                context.push(Push::DeviceListChanged { account, version });
            }
            Signal::Ephemeral(envelope) if !self.blocked => context.push(Push::Ephemeral(envelope)),
            Signal::Ephemeral(_) | Signal::Ended(_) => {}
        }
    }

    fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
        if let State::Open { drain, .. } = &mut self.state {
            drain.set_blocked(blocked);
        }
    }

    fn stop(&mut self, reconnect_after: Millis, context: &mut Context<'_>) {
        if self.stopping.is_none() {
            self.stopping = Some(reconnect_after);
            context.push(Push::Reconnect { after: reconnect_after });
        }
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        match &mut self.state {
            State::Greeted { until, .. } | State::Proving { until, .. } | State::Opening { until, .. } => {
                if now >= *until {
                    self.refuse(Code::Idle.into(), context);
                }
            }
            State::Open { .. } if now >= self.heard_at + context.limits.keep_alive_timeout => {
                self.refuse(Code::Idle.into(), context);
            }
            State::Open { drain, .. } => drain.tick(now),
            State::Closed { .. } => {}
        }
    }

    /// Does what an event has made possible.
    fn proceed(&mut self, context: &mut Context<'_>) {
        if self.stopping.is_some() && self.unanswered.is_empty() && !self.is_proving() && !self.is_closed() {
            return self.close(CloseReason::Stopping, context);
        }
        let State::Open { drain, stalled, .. } = &mut self.state else { return };
        if self.stopping.is_some() {
            return;
        }
        if let Some(read) = drain.next_read(&context.limits.drain) {
            context.effects.push(Effect::ReadMailbox(read));
        }
        let was_stalled = std::mem::replace(stalled, drain.is_stalled(&context.limits.drain));
        if *stalled && !was_stalled {
            context.effects.push(Effect::WindowClosed);
        }
    }

    /// Whether a proof is being checked; its answer is worth waiting for.
    fn is_proving(&self) -> bool {
        matches!(self.state, State::Proving { .. } | State::Opening { .. })
    }

    fn refuse_proof(&mut self, id: u64, refusal: Refusal, context: &mut Context<'_>) {
        let code = refusal.code;
        context.answer(id, Err(refusal));
        self.close(CloseReason::Refused(code), context);
    }

    /// Ends the session and tells the client why.
    fn refuse(&mut self, refusal: Refusal, context: &mut Context<'_>) {
        let code = refusal.code;
        context.push(Push::Closing(refusal));
        self.close(CloseReason::Refused(code), context);
    }

    fn close(&mut self, reason: CloseReason, context: &mut Context<'_>) {
        self.state = State::Closed { caller: self.caller(), opening: self.is_opening() };
        context.effects.push(Effect::Close(reason));
    }
}
