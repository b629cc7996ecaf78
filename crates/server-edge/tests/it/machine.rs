//! The session machine, event by event.

use crate::harness::{address, mailbox, proof, send};
use bytes::Bytes;
use proptest::prelude::*;
use server_edge::{
    Admitted,
    drain::Read,
    session::{CloseReason, Effect, Event, Session, SessionLimits},
};
use server_ports::{
    Caller, Signal, StoreError,
    mailboxes::{Page, Row},
};
use types::{IncarnationId, Millis, NodeId, Position, Stamp, Timestamp};
use wire::{ClientFrame, Code, KeyCounts, Push, Refusal, Request, Response, ServerFrame};

const BEGAN: Timestamp = Timestamp::from_millis(1_000_000);

/// A session and what came out of it.
struct Machine {
    session: Session,
    limits: SessionLimits,
    now: Timestamp,
    next: u64,
    effects: Vec<Effect>,
}

impl Machine {
    fn new() -> Self {
        let limits = SessionLimits::default();
        let mut effects = Vec::new();
        let incarnation = IncarnationId::from_bytes([4; 16]);
        let session = Session::new([5; 32], BEGAN, incarnation, BEGAN, &limits, &mut effects);
        Self { session, limits, now: BEGAN, next: 0, effects }
    }

    /// An open session whose first read of the mailbox is under way.
    fn open() -> Self {
        let mut machine = Self::new();
        machine.request(proof(1, 7));
        machine.handle(Event::Authenticated(Ok(admitted())));
        machine.handle(Event::Opened(Ok(())));
        machine.effects.clear();
        machine
    }

    /// An open session that has drained an empty mailbox.
    fn drained() -> Self {
        let mut machine = Self::open();
        machine.handle(Event::PageRead(Ok(page(&[], 0))));
        machine.effects.clear();
        machine
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(event, self.now, &self.limits, &mut self.effects);
    }

    fn request(&mut self, request: Request) -> u64 {
        self.next += 1;
        self.handle(Event::Frame(ClientFrame { id: self.next, request }));
        self.next
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Millis(millis);
        self.handle(Event::Tick);
    }

    /// What came out since the last look, in words.
    fn said(&mut self) -> Vec<String> {
        self.effects.drain(..).map(|effect| word(&effect)).collect()
    }
}

fn word(effect: &Effect) -> String {
    match effect {
        Effect::Write(ServerFrame::Answer { id, result: Ok(_) }) => format!("answer {id}"),
        Effect::Write(ServerFrame::Answer { id, result: Err(refusal) }) => {
            format!("refuse {id} {}", refusal.code.name())
        }
        Effect::Write(ServerFrame::Push(push)) => match push {
            Push::Hello(_) => "hello".into(),
            Push::Deliver(rows) => {
                let positions: Vec<String> =
                    rows.iter().map(|row| row.position.as_u128().to_string()).collect();
                format!("deliver {}", positions.join(","))
            }
            Push::Drained => "drained".into(),
            Push::Closing(refusal) => format!("closing {}", refusal.code.name()),
            Push::Reconnect { after } => format!("reconnect {}", after.0),
            Push::KeysLow(_) => "keys low".into(),
            Push::Ephemeral(_) => "ephemeral".into(),
            other => format!("{other:?}"),
        },
        Effect::Authenticate(proof, nonce) => {
            format!("authenticate {} {:?}", proof.connection_number, nonce[0])
        }
        Effect::Open(caller) => format!("open {}", caller.connection),
        Effect::Call { id, request } => format!("call {id} {}", request.name()),
        Effect::ReadMailbox(Read { after, rows, .. }) => format!("read {} {rows}", after.as_u128()),
        Effect::WindowClosed => "window closed".into(),
        Effect::Close(reason) => format!("close {reason:?}"),
    }
}

fn admitted() -> Admitted {
    Admitted { caller: Caller { mailbox: mailbox(1), connection: 7 }, device_list_version: 2 }
}

fn page(positions: &[u64], cursor: u64) -> Page {
    let at = |position: u64| Position::from_u128(position.into());
    let row = |position: &u64| Row { position: at(*position), envelope: Bytes::from_static(b"sealed") };
    Page { rows: positions.iter().map(row).collect(), cursor: at(cursor), complete: true }
}

fn hint(position: u64, previous: u64) -> Event {
    Event::Signal(Signal::Hint {
        position: Position::from_u128(position.into()),
        previous: Some(Position::from_u128(previous.into())),
        envelope: Bytes::from_static(b"sealed"),
    })
}

fn accepted() -> Result<Response, Refusal> {
    Ok(Response::Accepted { stamp: Stamp::new(1, NodeId(1)), skipped: Vec::new() })
}

#[test]
fn a_session_begins_with_hello_proof_route_and_drain() {
    let mut machine = Machine::new();
    let Some(Effect::Write(ServerFrame::Push(Push::Hello(hello)))) = machine.effects.first() else {
        panic!()
    };
    assert_eq!((hello.nonce, hello.time, hello.versions), ([5; 32], BEGAN, wire::version::SUPPORTED));
    assert_eq!(machine.said(), ["hello"]);
    machine.request(proof(1, 7));
    assert_eq!(machine.said(), ["authenticate 7 5"]);
    assert_eq!(machine.session.caller(), None);
    machine.handle(Event::Authenticated(Ok(admitted())));
    assert_eq!(machine.said(), ["open 7"]);
    assert!(!machine.session.is_open());
    machine.handle(Event::Opened(Ok(())));
    let Some(Effect::Write(ServerFrame::Answer { result: Ok(Response::Authenticated(answer)), .. })) =
        machine.effects.first()
    else {
        panic!()
    };
    assert_eq!((answer.version, answer.device_list_version), (wire::version::CURRENT, 2));
    assert_eq!(answer.registration, mailbox(1).registration);
    assert_eq!(machine.said(), ["answer 1", "read 0 100"]);
    machine.handle(Event::PageRead(Ok(page(&[3, 4], 4))));
    assert_eq!(machine.said(), ["deliver 3,4", "drained"]);
    machine.handle(hint(5, 4));
    assert_eq!(machine.said(), ["deliver 5"]);
    assert_eq!(machine.session.caller().map(|caller| caller.address()), Some(address(1)));
}

#[test]
fn a_refused_proof_or_route_ends_the_session() {
    let mut machine = Machine::new();
    machine.request(proof(1, 7));
    machine.handle(Event::Authenticated(Err(Code::Cloned.into())));
    assert_eq!(machine.said()[2..], ["refuse 1 cloned", "close Refused(Cloned)"]);

    let mut machine = Machine::new();
    machine.request(proof(1, 7));
    machine.handle(Event::Authenticated(Ok(admitted())));
    machine.handle(Event::Opened(Err(Code::Revoked.into())));
    assert_eq!(machine.said()[3..], ["refuse 1 revoked", "close Refused(Revoked)"]);
}

#[test]
fn a_version_that_is_not_spoken_is_refused_before_the_proof_is_looked_at() {
    let mut machine = Machine::new();
    let Request::Authenticate(mut authenticate) = proof(1, 7) else { panic!() };
    authenticate.version = wire::version::CURRENT + 1;
    machine.request(Request::Authenticate(authenticate));
    assert_eq!(machine.said()[1..], ["refuse 1 version_unsupported", "close Refused(VersionUnsupported)"]);
}

#[test]
fn nothing_is_answered_before_the_proof() {
    for early in [send(), Request::Sync, Request::Ack(Vec::new()), Request::Unknown] {
        let mut machine = Machine::new();
        machine.request(early.clone());
        assert_eq!(machine.said()[1..], ["refuse 1 unauthenticated", "close Refused(Unauthenticated)"]);
        let mut machine = Machine::new();
        machine.request(proof(1, 7));
        machine.request(early);
        assert_eq!(machine.said()[2..], ["refuse 2 unauthenticated", "close Refused(Unauthenticated)"]);
    }
}

#[test]
fn the_end_of_a_route_that_is_being_claimed_ends_the_session() {
    let mut machine = Machine::new();
    machine.request(proof(1, 7));
    machine.handle(Event::Authenticated(Ok(admitted())));
    machine.said();
    machine.handle(Event::Signal(Signal::Ended(Code::Revoked)));
    assert_eq!(machine.said(), ["closing revoked", "close Refused(Revoked)"]);
    assert!(machine.session.is_opening(), "the claim is still under way");
    machine.handle(Event::Opened(Ok(())));
    assert_eq!(machine.said(), Vec::<String>::new());
}

#[test]
fn a_proof_has_its_time_and_silence_its_limit() {
    let mut machine = Machine::new();
    machine.said();
    assert_eq!(machine.session.deadline(&machine.limits), BEGAN + machine.limits.authentication_timeout);
    machine.pass(9_999);
    assert_eq!(machine.said(), Vec::<String>::new());
    machine.pass(1);
    assert_eq!(machine.said(), ["closing idle", "close Refused(Idle)"]);

    let mut machine = Machine::drained();
    machine.now = machine.now + Millis(134_999);
    machine.handle(Event::Alive);
    machine.said();
    machine.now = machine.now + Millis(134_999);
    machine.handle(Event::PageRead(Ok(page(&[], 0))));
    machine.handle(Event::Tick);
    assert!(!machine.session.is_closed(), "any byte keeps it");
    machine.pass(1);
    assert_eq!(machine.said().last().map(String::as_str), Some("close Refused(Idle)"));
}

#[test]
fn a_silent_store_is_read_again() {
    let mut machine = Machine::drained();
    assert_eq!(machine.session.deadline(&machine.limits), BEGAN + Millis(30_000));
    machine.pass(30_000);
    assert_eq!(machine.said(), ["read 0 100"]);
    machine.handle(Event::PageRead(Err(StoreError::Unavailable("busy".into()))));
    assert_eq!(machine.session.deadline(&machine.limits), machine.now + Millis(1_000));
    machine.pass(1_000);
    assert_eq!(machine.said(), ["read 0 100"]);
}

#[test]
fn a_full_window_waits_for_acknowledgements() {
    let mut machine = Machine::open();
    machine.limits.drain.window_rows = 2;
    machine.handle(Event::PageRead(Ok(Page { complete: false, ..page(&[1, 2], 2) })));
    assert_eq!(machine.said(), ["deliver 1,2", "window closed"]);
    machine.handle(hint(3, 2));
    machine.pass(30_000);
    assert_eq!(machine.said(), Vec::<String>::new());
    let ack = machine.request(Request::Ack(vec![Position::from_u128(1)]));
    assert_eq!(machine.said(), [format!("call {ack} ack"), "read 2 1".into()]);
}

#[test]
fn a_socket_that_blocks_stops_the_drain_and_drops_what_is_ephemeral() {
    let mut machine = Machine::drained();
    machine.handle(Event::WriteBlocked);
    machine.handle(hint(1, 0));
    machine.handle(Event::Signal(Signal::Ephemeral(Bytes::new())));
    machine.handle(Event::Signal(Signal::KeysLow(KeyCounts::default())));
    assert_eq!(machine.said(), ["keys low"]);
    machine.handle(Event::WriteDrained);
    assert_eq!(machine.said(), ["read 0 100"]);
    machine.handle(Event::Signal(Signal::Ephemeral(Bytes::new())));
    assert_eq!(machine.said(), ["ephemeral"]);
}

#[test]
fn a_sync_waits_for_what_was_asked_before_it_and_for_nothing_after() {
    let mut machine = Machine::drained();
    let (first, second) = (machine.request(send()), machine.request(send()));
    let (sync, again) = (machine.request(Request::Sync), machine.request(Request::Sync));
    let later = machine.request(send());
    machine.said();
    machine.handle(Event::Answered { id: later, result: accepted() });
    machine.handle(Event::Answered { id: second, result: accepted() });
    assert_eq!(machine.said(), [format!("answer {later}"), format!("answer {second}")]);
    machine.handle(Event::Answered { id: first, result: Err(Code::Unavailable.into()) });
    let expected =
        [format!("refuse {first} unavailable"), format!("answer {sync}"), format!("answer {again}")];
    assert_eq!(machine.said(), expected);
}

#[test]
fn windows_of_sends_and_of_others_are_apart() {
    let mut machine = Machine::drained();
    for _ in 0..64 {
        machine.request(send());
    }
    machine.said();
    let excess = machine.request(send());
    assert_eq!(machine.said(), [format!("refuse {excess} too_many_in_flight")]);
    for _ in 0..64 {
        machine.request(Request::KeyCount);
    }
    machine.said();
    let excess = machine.request(Request::KeyCount);
    assert_eq!(machine.said(), [format!("refuse {excess} too_many_in_flight")]);
    machine.handle(Event::Answered { id: 2, result: accepted() });
    machine.said();
    let fits = machine.request(send());
    assert_eq!(machine.said(), [format!("call {fits} send")]);
}

#[test]
fn without_room_requests_wait_and_what_makes_room_goes_on() {
    let mut machine = Machine::drained();
    let mut without_room = |request: Request| {
        machine.next += 1;
        machine.handle(Event::NoRoom(ClientFrame { id: machine.next, request }));
        (machine.next, machine.said())
    };
    let (id, said) = without_room(send());
    assert_eq!(said, [format!("refuse {id} retry_after")]);
    let (id, said) = without_room(Request::Ack(vec![Position::from_u128(1)]));
    assert_eq!(said, [format!("call {id} ack")]);
    machine.handle(Event::Answered { id, result: Ok(Response::Done) });
    machine.said();
    machine.next += 1;
    machine.handle(Event::NoRoom(ClientFrame { id: machine.next, request: Request::Sync }));
    assert_eq!(machine.said(), [format!("answer {}", machine.next)]);
    let again = machine.request(send());
    assert_eq!(machine.said(), [format!("call {again} send")], "room again");
}

#[test]
fn an_unknown_request_is_unsupported_and_harmless() {
    let mut machine = Machine::drained();
    let id = machine.request(Request::Unknown);
    assert_eq!(machine.said(), [format!("refuse {id} unsupported")]);
    let sync = machine.request(Request::Sync);
    assert_eq!(machine.said(), [format!("answer {sync}")]);
}

#[test]
fn what_breaks_the_order_of_a_session_ends_it() {
    for (event, code) in [
        (Event::Frame(ClientFrame { id: 1, request: send() }), "malformed"),
        (Event::Frame(ClientFrame { id: 0, request: send() }), "malformed"),
        (Event::Frame(ClientFrame { id: 9, request: proof(1, 8) }), "malformed"),
        (Event::Malformed, "malformed"),
        (Event::Signal(Signal::Ended(Code::Replaced)), "replaced"),
        (Event::Signal(Signal::Ended(Code::Revoked)), "revoked"),
    ] {
        let mut machine = Machine::drained();
        machine.handle(event);
        assert_eq!(machine.said()[0], format!("closing {code}"));
        assert!(machine.session.is_closed());
        machine.handle(hint(1, 0));
        machine.request(send());
        machine.pass(1_000_000);
        assert_eq!(machine.said(), Vec::<String>::new(), "nothing after the end");
    }
}

#[test]
fn a_stop_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut machine = Machine::drained();
    let id = machine.request(send());
    machine.said();
    machine.handle(Event::Stop { reconnect_after: Millis(500) });
    assert_eq!(machine.said(), ["reconnect 500"]);
    let late = machine.request(send());
    machine.handle(hint(1, 0));
    assert_eq!(machine.said()[0], format!("refuse {late} retry_after"));
    assert!(!machine.session.is_closed());
    machine.handle(Event::Answered { id, result: accepted() });
    assert_eq!(machine.said(), [format!("answer {id}"), "close Stopping".into()]);

    let mut idle = Machine::drained();
    idle.handle(Event::Stop { reconnect_after: Millis(0) });
    assert_eq!(idle.said(), ["reconnect 0", "close Stopping"]);
}

#[test]
fn a_stop_that_waits_for_an_answer_rests_meanwhile() {
    let mut machine = Machine::drained();
    machine.request(send());
    machine.handle(Event::Stop { reconnect_after: Millis(500) });
    machine.said();
    machine.pass(machine.limits.drain.reread.0);
    assert!(machine.said().is_empty());
    assert!(machine.session.deadline(&machine.limits) > machine.now);
}

/// Any event that a shard could bring, in any order.
fn events() -> impl Strategy<Value = Vec<(u64, u8, u64)>> {
    prop::collection::vec((0_u64..20_000, 0_u8..16, 0_u64..80), 0..150)
}

proptest! {
    /// Each request is answered once or the session ends; nothing comes after the end; only what was
    /// asked for is read; hello comes first; a tick leaves nothing due.
    #[test]
    fn a_session_keeps_its_invariants(events in events(), reject in any::<bool>()) {
        let mut machine = Machine::new();
        let (mut asked, mut answered, mut reading) = (Vec::new(), Vec::new(), 0_i32);
        for (wait, kind, number) in events {
            machine.now = machine.now + Millis(wait % if kind == 0 { 20_000 } else { 300 });
            let id = machine.next;
            match kind {
                0 => machine.pass(0),
                1 => machine.handle(Event::Alive),
                2 | 3 => asked.push(machine.request(proof(1, 7))),
                4 if number == 0 && reject => machine.handle(Event::Authenticated(Err(Code::Cloned.into()))),
                4 | 5 => machine.handle(Event::Authenticated(Ok(admitted()))),
                6 => machine.handle(Event::Opened(Ok(()))),
                7 | 8 => asked.push(machine.request(send())),
                9 => asked.push(machine.request(Request::Sync)),
                10 => asked.push(machine.request(Request::Ack(vec![Position::from_u128(number.into())]))),
                11 => machine.handle(Event::Answered { id: id.saturating_sub(number % 4), result: accepted() }),
                12 => {
                    machine.handle(Event::PageRead(Ok(page(&[number + 1], number + 1))));
                    reading = 0;
                }
                13 => machine.handle(hint(number + 1, number)),
                14 => machine.handle(if number % 2 == 0 { Event::WriteBlocked } else { Event::WriteDrained }),
                _ if number == 0 => machine.handle(Event::Stop { reconnect_after: Millis(1) }),
                _ => {}
            }
            let closed = machine.effects.iter().position(|effect| matches!(effect, Effect::Close(_)));
            if let Some(at) = closed {
                prop_assert_eq!(at + 1, machine.effects.len(), "close is the last effect");
            }
            prop_assert_eq!(closed.is_some(), machine.session.is_closed());
            for effect in machine.effects.drain(..) {
                match effect {
                    Effect::Write(ServerFrame::Answer { id, .. }) => {
                        prop_assert!(asked.contains(&id), "an answer to nothing");
                        prop_assert!(!answered.contains(&id), "two answers to one request");
                        answered.push(id);
                    }
                    Effect::ReadMailbox(_) => {
                        reading += 1;
                        prop_assert!(reading <= 1, "two reads at once");
                    }
                    Effect::Write(ServerFrame::Push(Push::Deliver(_))) => prop_assert!(machine.session.caller().is_some()),
                    Effect::Close(CloseReason::Refused(_) | CloseReason::Stopping) => {}
                    _ => {}
                }
            }
            if machine.session.is_closed() {
                return Ok(());
            }
            if kind == 0 {
                prop_assert!(machine.session.deadline(&machine.limits) > machine.now, "a session never rests");
            }
        }
    }
}
