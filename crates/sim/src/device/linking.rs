//! A device on its way into an account: what its shell does and shows until it is linked, and whatever is
//! lost on the way.

use super::{Device, Outside};
use crate::calls::{ANSWER_WITHIN, Answer, Asked, CallId};
use client::{Engine, Fault, HttpAnswer, HttpRequest, LinkError, LinkStep, NewDevice};
use rand_chacha::ChaCha20Rng;
use types::{Millis, Timestamp};

/// How often the device asks where its link stands.
const POLL_EVERY: Millis = Millis(500);

/// How far the linking of this device is.
pub(super) struct Linking {
    /// The code that it shows.
    pub(super) code: Option<String>,
    /// The digits that it shows.
    pub(super) digits: Option<String>,
    waits: Option<(CallId, Timestamp, Step)>,
    next_at: Timestamp,
    /// Why this attempt is over.
    pub(super) failed: Option<String>,
    /// The code that was offered; shown once the server has the offer.
    offered: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Offer,
    Poll,
    Answer,
}

impl Linking {
    const fn beginning(at: Timestamp) -> Self {
        Self { code: None, digits: None, waits: None, next_at: at, failed: None, offered: None }
    }

    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        match (&self.failed, self.waits) {
            (Some(_), _) => None,
            (None, Some((_, until, _))) => Some(until),
            (None, None) => Some(self.next_at),
        }
    }
}

impl Device {
    /// Begins to be linked, or begins anew.
    pub fn begin_to_be_linked(&mut self) {
        self.linking = Some(Linking::beginning(self.clock.true_now()));
    }

    /// The code that the device shows.
    pub fn code(&self) -> Option<&str> {
        self.linking.as_ref()?.code.as_deref()
    }

    /// The digits that the device shows.
    pub fn digits(&self) -> Option<&str> {
        self.linking.as_ref()?.digits.as_deref()
    }

    /// Why the device was not linked.
    pub fn link_failed(&self) -> Option<&str> {
        self.linking.as_ref()?.failed.as_deref()
    }

    /// A process that was killed begins where its disk is; what it waited for is lost.
    pub(super) fn linking_interrupted(&mut self) {
        if self.linking.as_ref().is_some_and(|linking| linking.failed.is_none()) {
            self.begin_to_be_linked();
        }
    }

    /// Does what is due. Says whether there was anything.
    pub(super) fn proceed_linking(&mut self, outside: &mut Outside<'_>) -> Result<bool, Fault> {
        let due = self.linking.as_ref().and_then(Linking::wake_at).is_some_and(|at| at <= outside.now);
        if !due || self.engine.is_none() || !self.online {
            return Ok(false);
        }
        if let Some(linking) = &mut self.linking {
            linking.waits = None;
            linking.next_at = outside.now + POLL_EVERY;
        }
        match self.code() {
            None => self.offer(outside)?,
            Some(_) => {
                let poll = self.with_engine(|engine, _, _| engine.poll_link());
                if let Some(request) = self.or_failed(poll)? {
                    self.ask_for_link(request, Step::Poll, outside);
                }
            }
        }
        Ok(true)
    }

    fn offer(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let new = NewDevice {
            server: crate::play::ORIGIN.to_owned(),
            server_pin: None,
            name: Some(format!("device {}", self.seat.0)),
        };
        let begun = self.with_engine(|engine, now, rng| engine.begin_link(&new, now, rng));
        if let Some(begun) = self.or_failed(begun)? {
            self.chronicle.add_canary(&format!("the code of {:?}", self.seat), begun.code.as_bytes());
            if let Some(linking) = &mut self.linking {
                linking.offered = Some(begun.code);
            }
            self.ask_for_link(begun.request, Step::Offer, outside);
        }
        self.turn_done(outside)
    }

    fn ask_for_link(&mut self, request: HttpRequest, step: Step, outside: &mut Outside<'_>) {
        let call = outside.calls.ask(self.seat, Asked::Http(request));
        if let Some(linking) = &mut self.linking {
            linking.waits = Some((call, outside.now + ANSWER_WITHIN, step));
        }
    }

    /// An answer came, if it is still waited for.
    pub(super) fn link_answered(
        &mut self,
        call: CallId,
        answer: &Answer,
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        let waits = self.linking.as_mut().and_then(|linking| linking.waits.take_if(|(id, ..)| *id == call));
        let (Some((_, _, step)), Answer::Http(answer), Some(_)) = (waits, answer, &self.engine) else {
            return Ok(());
        };
        match step {
            Step::Offer => {
                let begun = self.with_engine(|engine, _, _| engine.link_begun(answer));
                if self.or_failed(begun)?.is_some()
                    && let Some(linking) = &mut self.linking
                {
                    linking.code = linking.offered.take();
                }
            }
            Step::Answer => {
                let answered = self.with_engine(|engine, _, _| engine.link_answered(answer));
                self.or_failed(answered)?;
            }
            Step::Poll => self.link_polled(answer, outside)?,
        }
        self.turn_done(outside)
    }

    fn link_polled(&mut self, answer: &HttpAnswer, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let polled = self.with_engine(|engine, now, rng| engine.link_polled(answer, now, rng));
        match self.or_failed(polled)? {
            Some(LinkStep::Answer { digits, request }) => {
                if let Some(linking) = &mut self.linking {
                    linking.digits = Some(digits);
                }
                self.ask_for_link(request, Step::Answer, outside);
                Ok(())
            }
            Some(LinkStep::Linked(_)) => self.is_linked(outside),
            Some(LinkStep::Waiting) | None => Ok(()),
        }
    }

    /// The disk says that this is a device of an account now, whether or not its process lived to say so.
    pub(super) fn is_linked(&mut self, outside: &mut Outside<'_>) -> Result<(), Fault> {
        if self.linking.is_none() {
            return Ok(());
        }
        let Some(mailbox) = self.disk.mailbox() else { return Ok(()) };
        self.linking = None;
        self.registered(mailbox);
        if self.online {
            self.record_presence();
            self.connect(outside)?;
        }
        Ok(())
    }

    /// What an engine's step gave; none if the attempt is over, or the step is to be repeated.
    fn or_failed<T>(&mut self, result: Option<Result<T, LinkError>>) -> Result<Option<T>, Fault> {
        match result {
            None => Ok(None),
            Some(Ok(done)) => Ok(Some(done)),
            Some(Err(LinkError::Fault(fault))) => Err(fault),
            Some(Err(LinkError::Server(problem))) if passes(&problem.code) => Ok(None),
            Some(Err(error)) => {
                if let Some(linking) = &mut self.linking {
                    linking.failed = Some(error.to_string());
                }
                Ok(None)
            }
        }
    }

    fn with_engine<T>(
        &mut self,
        act: impl FnOnce(&mut Engine, Timestamp, &mut ChaCha20Rng) -> T,
    ) -> Option<T> {
        self.engine().map(|(engine, now, rng)| act(engine, now, rng))
    }
}

fn passes(code: &str) -> bool {
    matches!(code, "unavailable" | "retry_after")
}
