//! A hostile server against the engine of a device: what it may answer to a registration, and a whole connection.

use crate::{
    Outcome, Sample, Target,
    people::{NOW, rng},
    post_office::{ORIGIN, PostOffice, SESSION},
};
use bytes::Bytes;
use client::{
    Closed, Effect, Engine, Event, EventView, HttpAnswer, NewAccount, RegistrationError, SendText, database,
};
use rand_chacha::ChaCha20Rng;
use std::{collections::VecDeque, fs, sync::OnceLock};
use tempfile::TempDir;
use types::{AccountId, MessageId, Millis, Timestamp};

/// What a server answers while an account is made.
pub(super) const ANSWER: Target = Target {
    name: "client_answer",
    run: answer,
    samples: || {
        let sent = format!(r#"{{"session":"{SESSION}","expires_in":600}}"#);
        vec![
            Sample::new("code_sent", [&[0], sent.as_bytes()].concat()),
            Sample::new("registered", [&[1][..], &scene().made].concat()),
        ]
    },
    short_runs: 300,
    input_bytes_max: 2 * 1024,
};

/// What a server says on a connection of a device that has a message to send and one to receive.
pub(super) const CONNECTION: Target = Target {
    name: "client_connection",
    run: connection,
    samples: || vec![Sample::new("both_ways", scene().recorded.clone())],
    short_runs: 200,
    input_bytes_max: 64 * 1024,
};

/// What Ben writes; nothing else may ever be shown to Ada.
const FROM_BEN: &str = "hello, Ada";
const FROM_ADA: &str = "hello, Ben";
/// Events of one input; more would only be slow.
const EVENTS_MAX: usize = 64;
/// Effects of one event; an honest connection has a handful.
const EFFECTS_MAX: usize = 1_000;

/// The payload is a frame of the server; so is that of every other tag.
const FRAME: u8 = 0;
/// The payload is a number of seconds that go by.
const TICK: u8 = 6;
/// The connection breaks, and the device connects again.
const AGAIN: u8 = 7;
/// Times that something which waits for a moment gets it.
const TICKS: usize = 3;
const TICK_SECONDS: u8 = 10;

// ---- registration

fn answer(bytes: &[u8]) -> Outcome {
    let Some((tag, body)) = bytes.split_first() else { return Outcome::Refused("empty".to_owned()) };
    let status = if tag & 2 == 0 { 201 } else { 403 };
    let answer = HttpAnswer { status, body: body.to_vec() };
    let scene = scene();
    let outcome = if tag & 1 == 0 {
        let disk = Disk::new(&scene.begun);
        let sent = disk.open().code_sent(&answer);
        if sent.is_ok() {
            let request = disk.open().finish_registration("123456", false).expect("a code was sent");
            let session =
                request.path.strip_prefix("/v1/registrations/").and_then(|p| p.strip_suffix("/account"));
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            assert!(session.is_some_and(|session| session.chars().all(plain)), "a server chose the path");
        }
        sent.map(drop)
    } else {
        Disk::new(&scene.asked).open().registered(&answer).map(drop)
    };
    if let Err(RegistrationError::Fault(fault)) = &outcome {
        panic!("an answer broke the engine: {fault}");
    }
    Outcome::of(&outcome)
}

// ---- a connection

/// The input is a list of: tag (1), length (2, big-endian), bytes. The tag says what happens: mostly a frame comes.
fn connection(bytes: &[u8]) -> Outcome {
    let disk = Disk::new(&scene().ada);
    let mut ada = Device { engine: disk.open(), rng: rng(70), now: NOW };
    let mut closed = None;
    ada.dial();
    let mut rest = bytes;
    for _ in 0..EVENTS_MAX {
        let Some((tag, payload, later)) = next_item(rest) else { break };
        rest = later;
        let effects = match tag % 8 {
            TICK => {
                let seconds = payload.iter().take(3).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                ada.now = ada.now + Millis::from_secs(seconds);
                ada.handle(Event::Tick)
            }
            AGAIN => {
                ada.handle(Event::ConnectionLost);
                ada.dial()
            }
            _ => ada.handle(Event::Received(Bytes::copy_from_slice(payload))),
        };
        closed = closed.or(effects.iter().find_map(|effect| match effect {
            Effect::Close(why) => Some(*why),
            _ => None,
        }));
    }
    let shown = ada.shown();
    assert!(shown.iter().all(|text| text == FROM_BEN), "a server made Ada see {shown:?}");
    assert!(shown.len() <= 1, "a message was shown twice");
    match closed {
        Some(Closed::Reconnect { .. }) => Outcome::Refused("reconnect".to_owned()),
        Some(why) => Outcome::Refused(format!("{why:?}")),
        None if shown.is_empty() => Outcome::Refused("nothing shown".to_owned()),
        None => Outcome::Accepted,
    }
}

fn next_item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let (payload, later) = rest.split_at(length.min(rest.len()));
    Some((head[0], payload, later))
}

fn write_item(tag: u8, payload: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(payload.len()).expect("frames of the scene are short");
    out.push(tag);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
}

// ---- devices

/// An engine with its randomness and its time.
struct Device {
    engine: Engine,
    rng: ChaCha20Rng,
    now: Timestamp,
}

impl Device {
    fn dial(&mut self) -> Vec<Effect> {
        self.engine.dial().expect("a registered device can dial");
        self.handle(Event::Connected)
    }

    /// Whatever comes, the engine takes it in and goes on.
    fn handle(&mut self, event: Event) -> Vec<Effect> {
        let handled = self.engine.handle(event, self.now, &mut self.rng);
        handled.unwrap_or_else(|fault| panic!("an event broke the engine: {fault}"));
        let mut effects = Vec::new();
        while let Some(effect) = self.engine.poll_effect() {
            effects.push(effect);
            assert!(effects.len() <= EFFECTS_MAX, "one event had more than {EFFECTS_MAX} effects");
        }
        effects
    }

    /// The texts of others that were shown.
    fn shown(&self) -> Vec<String> {
        let events = self.engine.view().unprinted_events(1_000).expect("events can be read");
        let texts = events.into_iter().filter_map(|logged| match logged.event {
            EventView::Message(message) => Some(message.text),
            _ => None,
        });
        texts.collect()
    }
}

/// A profile's database in a file of its own.
struct Disk(TempDir);

impl Disk {
    fn new(content: &[u8]) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        fs::write(folder.path().join("profile"), content).expect("a temporary file can be written");
        Self(folder)
    }

    fn open(&self) -> Engine {
        let database = database::open(&self.0.path().join("profile")).expect("the file can be opened");
        Engine::open(database).expect("the profile can be opened")
    }

    /// The whole database, once its engine is gone.
    fn content(&self) -> Vec<u8> {
        fs::read(self.0.path().join("profile")).expect("a temporary file can be read")
    }
}

// ---- the scene

/// Databases to begin with, and what an honest server would say.
struct Scene {
    /// A code was asked for.
    begun: Vec<u8>,
    /// A code was sent, and the account was asked for.
    asked: Vec<u8>,
    /// What an honest server answers to that.
    made: Vec<u8>,
    /// Ada has an account and a message to Ben in her outbox.
    ada: Vec<u8>,
    /// What a server says on her first connection.
    recorded: Vec<u8>,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(make_scene)
}

fn make_scene() -> Scene {
    let mut office = PostOffice::default();
    let (ada_disk, ben_disk) = (Disk::new(&[]), Disk::new(&[]));
    let (begun, asked, made, ada_id) = register(&ada_disk, "+15552000100", 80, &mut office);
    let (_, _, _, ben_id) = register(&ben_disk, "+15552000101", 81, &mut office);

    let mut ben = Device { engine: ben_disk.open(), rng: rng(82), now: NOW };
    write(&mut ben, ada_id, FROM_BEN);
    connect(&mut ben, ben_id, &mut office);
    let mut ada = Device { engine: ada_disk.open(), rng: rng(83), now: NOW };
    write(&mut ada, ben_id, FROM_ADA);
    drop(ada.engine);
    let ada = ada_disk.content();

    let disk = Disk::new(&ada);
    let mut device = Device { engine: disk.open(), rng: rng(70), now: NOW };
    let recorded = connect(&mut device, ada_id, &mut office);
    Scene { begun, asked, made, ada, recorded }
}

/// Makes an account; gives the database at both steps, the last answer, and the account.
fn register(
    disk: &Disk,
    phone: &str,
    seed: u64,
    office: &mut PostOffice,
) -> (Vec<u8>, Vec<u8>, Vec<u8>, AccountId) {
    let phone = phone.parse().expect("an example number is a number");
    let account = NewAccount { server: ORIGIN.to_owned(), server_pin: None, phone, name: None };
    let mut engine = disk.open();
    let request = engine.begin_registration(&account, NOW, &mut rng(seed)).expect("keys can be made");
    drop(engine);
    let begun = disk.content();

    let mut engine = disk.open();
    engine.code_sent(&office.http(&request)).expect("the server is honest");
    let request = engine.finish_registration("123456", false).expect("a code was sent");
    drop(engine);
    let asked = disk.content();

    let answer = office.http(&request);
    let registered = disk.open().registered(&answer).expect("the server is honest");
    (begun, asked, answer.body, registered.account)
}

fn write(device: &mut Device, chat: AccountId, text: &str) {
    let message_id = MessageId::new(NOW, &mut device.rng);
    let text = SendText { chat: chat.into(), message_id, text: text.to_owned() };
    device.engine.send_text(text, NOW, &mut device.rng).expect("a text can be stored");
    while device.engine.poll_effect().is_some() {}
}

/// Plays a whole connection with an honest server; gives what happened to the device, as an input.
fn connect(device: &mut Device, me: AccountId, office: &mut PostOffice) -> Vec<u8> {
    let mut recorded = Vec::new();
    let mut down = VecDeque::from([PostOffice::hello()]);
    device.dial();
    for _ in 0..TICKS {
        while let Some(frame) = down.pop_front() {
            write_item(FRAME, &frame, &mut recorded);
            let effects = device.handle(Event::Received(frame));
            down.extend(transmitted(effects).flat_map(|bytes| office.answer(me, bytes)));
        }
        // What waits for a moment goes out.
        write_item(TICK, &[TICK_SECONDS], &mut recorded);
        device.now = device.now + Millis::from_secs(TICK_SECONDS.into());
        let effects = device.handle(Event::Tick);
        down.extend(transmitted(effects).flat_map(|bytes| office.answer(me, bytes)));
    }
    recorded
}

fn transmitted(effects: Vec<Effect>) -> impl Iterator<Item = Bytes> {
    effects.into_iter().filter_map(|effect| match effect {
        Effect::Transmit(bytes) => Some(bytes),
        Effect::Close(why) => panic!("an honest server was left: {why:?}"),
        _ => None,
    })
}
