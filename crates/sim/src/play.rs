//! A run from its seed to its report: people register, the script is played, faults end, everything
//! pending arrives, and the history is checked.

use crate::{
    bugs::Planted,
    plan::{self, Plan},
    world::{World, phone},
};
use client::{Fault, HttpRequest, NewAccount, RegistrationError};
use server_ports::fake::Mode;
use testkit::{
    check::{self, Report, Terms},
    event::{Event, Person},
    history::{Fact, History},
};
use types::{DeviceAddress, Millis, RegistrationId};
use wire::{FetchKeys, Request};

/// The origin that devices believe they dial.
const ORIGIN: &str = "https://waxwing.example";
/// How long an HTTP request may take before it is repeated.
const CALL_WITHIN: Millis = Millis::from_secs(10);
/// How often a request is repeated before the run counts as stuck.
const CALLS_MAX: usize = 50;
/// The longest pause between two events of a script.
const BETWEEN_EVENTS_MS: u64 = 400;
/// What was late when faults ended has arrived after this long: rows, hints, slow parcels, restarts.
const AFTERMATH: Millis = Millis::from_secs(20);
/// Everything pending is delivered within 30 s; a little more is watched.
const SETTLING: Millis = Millis::from_secs(35);
/// While everybody is away for days, nodes do their duties this often.
const IDLE_DUTIES: Millis = Millis::from_mins(10);

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What happened.
    pub history: History,
    /// What the checker says of it.
    pub report: Report,
    /// The digest of every fact and of every byte on the network.
    pub trace: u128,
}

/// Plays one seed. An engine that fails is a failure of the run.
pub fn play(seed: u64, planted: &Planted) -> Result<Outcome, Fault> {
    let mut play = Play { world: World::new(Plan::of(seed), planted.clone())?, texts: 0 };
    play.from_first_to_last()?;
    let terms = Terms {
        race_within: match play.world.plan.mode {
            Mode::Solo => Millis(0),
            Mode::Fleet => Millis(plan::LATE_MAX.0 + 1_000),
        },
        clock_skew: Millis(u64::from(plan::NODE_SKEW_MS_MAX)),
        ..Terms::default()
    };
    let (history, trace) = play.world.chronicle.close();
    let report = check::check(&history, terms);
    Ok(Outcome { seed, history, report, trace })
}

struct Play {
    world: World,
    texts: u64,
}

impl Play {
    fn from_first_to_last(&mut self) -> Result<(), Fault> {
        self.everybody_registers()?;
        self.world.begin_faults();
        let script = std::mem::take(&mut self.world.plan.script);
        let middle = script.len() / 2;
        for (at, event) in script.into_iter().enumerate() {
            if at == middle {
                self.pause()?;
            }
            self.happen(event)?;
            let between = self.world.chance.below(BETWEEN_EVENTS_MS);
            self.world.run_for(Millis(between))?;
        }
        self.faults_end()?;
        self.last_words()?;
        self.world.take_stock()
    }

    fn everybody_registers(&mut self) -> Result<(), Fault> {
        for person in self.world.plan.people() {
            self.register(person)?;
            self.world.with_device(person, |device, outside| device.go_online(outside))?;
        }
        self.world.run_for(Millis::from_secs(2))
    }

    /// Everybody is away, for minutes or for longer than an envelope lives.
    fn pause(&mut self) -> Result<(), Fault> {
        let Some(length) = self.world.plan.pause else { return Ok(()) };
        for person in self.world.plan.people() {
            self.world.with_device(person, |device, outside| device.go_offline(outside))?;
        }
        self.world.run_for(Millis::from_secs(1))?;
        self.world.set_duties_every(Some(IDLE_DUTIES));
        self.world.run_for(length)?;
        self.world.set_duties_every(None);
        for person in self.world.plan.people() {
            self.world.with_device(person, |device, outside| device.go_online(outside))?;
        }
        Ok(())
    }

    fn faults_end(&mut self) -> Result<(), Fault> {
        self.world.end_faults();
        self.everybody_connects()?;
        self.world.run_for(AFTERMATH)?;
        self.world.chronicle.record(Fact::FaultsEnded);
        self.everybody_connects()?;
        self.world.run_for(SETTLING)
    }

    /// What a person does who notices that the network is back.
    fn everybody_connects(&mut self) -> Result<(), Fault> {
        for person in self.world.plan.people() {
            self.world.with_device(person, |device, outside| device.go_online(outside))?;
        }
        Ok(())
    }

    /// After the storm everybody can talk to everybody.
    fn last_words(&mut self) -> Result<(), Fault> {
        let people: Vec<_> = self.world.plan.people().collect();
        for from in &people {
            for to in people.iter().filter(|to| *to != from) {
                self.send(*from, *to)?;
            }
        }
        self.world.run_for(SETTLING)
    }

    fn happen(&mut self, event: Event) -> Result<(), Fault> {
        self.world.chronicle.record(Fact::Fault { what: format!("{event:?}") });
        match event {
            Event::Send { from, to, messages } => (0..messages).try_for_each(|_| self.send(from, to)),
            Event::SendAgain(person) => {
                self.world.with_device(person, |device, outside| device.send_again(outside))
            }
            Event::Read(person) => self.world.with_device(person, |device, outside| device.read(outside)),
            Event::GoOffline(person) => {
                self.world.with_device(person, |device, outside| device.go_offline(outside))
            }
            Event::GoOnline(person) => {
                self.world.with_device(person, |device, outside| device.go_online(outside))
            }
            Event::Wait(length) => self.world.run_for(length),
            Event::Reregister(person) => self.reregister(person),
            calm => {
                self.break_something(calm);
                Ok(())
            }
        }
    }

    fn break_something(&mut self, event: Event) {
        let world = &mut self.world;
        match event {
            Event::Cut(person) => world.cut(person),
            Event::Freeze(person) => world.set_silent(person, true),
            Event::Thaw(person) => world.set_silent(person, false),
            Event::CrashDevice(person) => {
                let turns = world.chance.below(4);
                world.devices[person.0].die_in(turns);
            }
            Event::CrashNode(node) => {
                let back_after = Millis(500 + world.chance.below(20_000));
                if world.chance.per_mille(300) {
                    world.stop_node(node);
                } else {
                    world.crash_node(node, back_after);
                }
            }
            Event::CrashStores => world.cut_power(),
            Event::LoseSoftState => world.lose_soft_state(),
            Event::SetClock { node, skew_ms } => world.set_clock(node, skew_ms),
            Event::TakeKeys { from, of } => self.take_keys(from, of),
            _ => {}
        }
    }

    fn send(&mut self, from: Person, to: Person) -> Result<(), Fault> {
        self.texts += 1;
        let long = if self.world.chance.per_mille(30) { 3_000 } else { 0 };
        let text = format!("Text {} of {} to {}.{}", self.texts, from.0, to.0, " And so on.".repeat(long));
        self.world.with_device(from, |device, outside| device.write(&phone(to), text, outside))
    }

    fn take_keys(&mut self, from: Person, of: Person) {
        let mailbox = |person: Person| self.world.devices[person.0].mailbox();
        let (Some(requester), Some(target)) = (mailbox(from), mailbox(of)) else { return };
        self.world.ask(|core| async move {
            let fetch = FetchKeys { accounts: vec![target.account], reset: false, device: None };
            let caller = server_ports::Caller { mailbox: requester, connection: 0 };
            // What the taker does with the keys, or that there are none, is nobody's concern here.
            let _ = core.handle(&caller, Request::FetchKeys(fetch)).await;
        });
    }

    fn reregister(&mut self, person: Person) -> Result<(), Fault> {
        self.world.with_device(person, |device, outside| device.go_offline(outside))?;
        let device = self.world.new_device(person)?;
        let former = std::mem::replace(&mut self.world.devices[person.0], device);
        self.register(person)?;
        if let Some(mailbox) = former.mailbox() {
            self.world.chronicle.record(Fact::Closed { mailbox });
        }
        self.world.with_device(person, |device, outside| device.go_online(outside))
    }

    fn register(&mut self, person: Person) -> Result<(), Fault> {
        let account =
            NewAccount { server: ORIGIN.to_owned(), server_pin: None, phone: phone(person), name: None };
        for _ in 0..CALLS_MAX {
            if self.try_to_register(person, &account)? {
                return Ok(());
            }
            self.world.run_for(Millis::from_secs(1))?;
        }
        panic!("{person:?} cannot register");
    }

    /// False if something did not answer, and the person begins again.
    fn try_to_register(&mut self, person: Person, account: &NewAccount) -> Result<bool, Fault> {
        let begin = self.with_engine(person, |engine, now, rng| engine.begin_registration(account, now, rng));
        let Some(answer) = self.call_until_answered(person, begin)? else { return Ok(false) };
        if self.with_engine(person, |engine, _, _| engine.code_sent(&answer)).is_err() {
            return Ok(false);
        }
        let Some(code) = self.world.texter.newest_code(&account.phone) else { return Ok(false) };
        let finish = self.with_engine(person, |engine, _, _| engine.finish_registration(&code, true));
        let Some(answer) = self.call_until_answered(person, finish)? else { return Ok(false) };
        let Ok(registered) = self.with_engine(person, |engine, _, _| engine.registered(&answer)) else {
            return Ok(false);
        };
        let registration = registration_of(&answer.body).expect("the answer was understood by the engine");
        let address = DeviceAddress::new(registered.account, registered.device);
        let mailbox = address.mailbox(registration);
        self.world.chronicle.record(Fact::Opened { mailbox });
        self.world.devices[person.0].registered(mailbox);
        Ok(true)
    }
}

impl Play {
    fn with_engine<T>(
        &mut self,
        person: Person,
        act: impl FnOnce(&mut client::Engine, types::Timestamp, &mut rand_chacha::ChaCha20Rng) -> T,
    ) -> T {
        let (engine, now, rng) = self.world.devices[person.0].engine().expect("a new device does not crash");
        act(engine, now, rng)
    }

    fn call_until_answered(
        &mut self,
        person: Person,
        request: Result<HttpRequest, RegistrationError>,
    ) -> Result<Option<client::HttpAnswer>, Fault> {
        let request = match request {
            Ok(request) => request,
            Err(RegistrationError::Fault(fault)) => return Err(fault),
            Err(error) => panic!("{person:?} cannot ask: {error}"),
        };
        for _ in 0..CALLS_MAX {
            let answer = self.world.call(person, request.clone(), CALL_WITHIN)?;
            if let Some(answer) = answer.filter(|answer| answer.status < 500) {
                return Ok(Some(answer));
            }
            self.world.run_for(Millis::from_secs(1))?;
        }
        Ok(None)
    }
}

/// Which life of the device number the server answered.
fn registration_of(body: &[u8]) -> Option<RegistrationId> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    RegistrationId::new(u32::try_from(body["registration"].as_u64()?).ok()?).ok()
}
