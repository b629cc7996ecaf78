//! A run from its seed to its report: people register, the script is played, faults end, everything
//! pending arrives, and the history is checked.

mod devices;
mod groups;
mod recovery;

use crate::{
    bugs::Planted,
    chance::Chance,
    chronicle::digest_of,
    device::{Device, Outside, Seat},
    guest::{Ask, Guest},
    guild::Guild,
    http,
    plan::{self, Plan},
    watch::record_upload,
    world::{World, phone},
};

use client::{Fault, HttpRequest, NewAccount, RegistrationError};
use groups::Gatherings;
use server_core::Core;
use server_ports::fake::Mode;
use std::{collections::BTreeMap, sync::Arc};
use testkit::{
    check::{self, Report, Terms},
    event::{Event, Person},
    history::{Fact, History, SignedLog},
};
use types::{DeviceAddress, Millis, RegistrationId};
use wire::{FetchKeys, Request};

/// The origin that devices believe they dial.
pub(crate) const ORIGIN: &str = "https://waxwing.example";
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

/// A change of a device list waits for the sends that were admitted before it.
const RELINK_WITHIN: Millis = Millis::from_secs(30);
/// So many texts in a thousand go to the guest.
const GUEST_PER_MILLE: u32 = 100;
/// Accounts made by hand: one more than the guild begins with, so that somebody can be added.
const GUESTS: usize = 4;
/// The guests' numbers come after all people's.
const GUEST: Person = Person(99);

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
    let guests: Vec<_> = (0..GUESTS as u64).map(|number| Guest::new(seed ^ (number << 48))).collect();
    let guild = Guild::new(GUESTS, Chance::new(seed, plan::GUILD));
    let mut play = Play {
        world: World::new(Plan::of(seed), planted.clone())?,
        guests,
        guild,
        gatherings: Gatherings::new(seed),
        backups: BTreeMap::new(),
        texts: 0,
    };
    play.run()?;
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
    /// The first one has two devices now and then, and is written to.
    guests: Vec<Guest>,
    guild: Guild,
    gatherings: Gatherings,
    /// What people have put aside for the day on which they lose their primary device.
    backups: BTreeMap<Person, recovery::Kept>,
    texts: u64,
}

impl Play {
    fn run(&mut self) -> Result<(), Fault> {
        self.everybody_registers()?;
        self.world.begin_faults();
        let script = std::mem::take(&mut self.world.plan.script);
        let middle = script.len() / 2;
        for (at, event) in script.into_iter().enumerate() {
            if at == middle {
                self.pause()?;
            }
            self.happen(event)?;
            self.write_to_those_who_link()?;
            self.shut_out_begin_anew()?;
            let between = self.world.chance.below(BETWEEN_EVENTS_MS);
            self.world.run_for(Millis(between))?;
        }
        self.faults_end()?;
        self.last_words()?;
        self.farewells()?;
        self.note_lost_ones();
        self.world.take_stock()
    }

    fn everybody_registers(&mut self) -> Result<(), Fault> {
        self.world.run_for(Millis::from_secs(1))?;
        self.guests_register()?;
        for person in self.world.plan.people() {
            self.register(person)?;
            self.with_each_of(person, |device, outside| device.go_online(outside))?;
        }
        self.world.run_for(Millis::from_secs(2))
    }

    /// Everybody is away, for minutes or for longer than an envelope lives.
    fn pause(&mut self) -> Result<(), Fault> {
        let Some(length) = self.world.plan.pause else { return Ok(()) };
        for person in self.world.plan.people() {
            self.world.give_up_pairings(person)?;
            self.with_each_of(person, |device, outside| device.go_offline(outside))?;
        }
        self.world.run_for(Millis::from_secs(1))?;
        self.world.set_duties_every(Some(IDLE_DUTIES));
        self.world.run_for(length)?;
        self.world.set_duties_every(None);
        self.everybody_connects()
    }

    fn faults_end(&mut self) -> Result<(), Fault> {
        self.world.end_faults();
        self.everybody_connects()?;
        self.world.begin_pairings_anew()?;
        self.world.run_for(AFTERMATH)?;
        self.shut_out_begin_anew()?;
        self.everybody_has_linked()?;
        self.world.chronicle.record(Fact::FaultsEnded);
        self.lost_ones_dial_again();
        self.everybody_connects()?;
        self.world.run_for(SETTLING)?;
        self.guild_settles()
    }

    /// What a person does who notices that the network is back.
    fn everybody_connects(&mut self) -> Result<(), Fault> {
        let people = self.world.plan.people();
        people
            .into_iter()
            .try_for_each(|person| self.with_each_of(person, |device, outside| device.go_online(outside)))
    }

    /// After the storm everybody can talk to everybody.
    fn last_words(&mut self) -> Result<(), Fault> {
        let people: Vec<_> = self.world.plan.people().collect();
        for from in &people {
            self.with_one_of(*from, |device, outside| device.read(outside))?;
            for to in people.iter().filter(|to| *to != from) {
                self.send(*from, *to)?;
            }
            self.send_to_guest(*from)?;
        }
        self.last_words_in_groups()?;
        self.world.run_for(SETTLING)
    }

    fn happen(&mut self, event: Event) -> Result<(), Fault> {
        self.world.chronicle.record(Fact::Fault { what: format!("{event:?}") });
        match event {
            Event::Send { from, to, messages } => (0..messages).try_for_each(|_| self.send(from, to)),
            Event::SendAgain(person) => {
                self.with_one_of(person, |device, outside| device.send_again(outside))
            }
            Event::Read(person) => self.with_one_of(person, |device, outside| device.read(outside)),
            Event::GoOffline(person) => {
                self.with_one_of(person, |device, outside| device.go_offline(outside))
            }
            Event::GoOnline(person) => self.with_each_of(person, |device, outside| device.go_online(outside)),
            Event::Wait(length) => self.world.run_for(length),
            Event::Reregister(person) => self.reregister(person),
            Event::Relink(_) => self.guest_relinks(),
            Event::Link { person, with_history } => self.link(person, with_history),
            Event::Unlink(person) => self.unlink(person),
            Event::BackUp(person) => self.back_up(person),
            Event::Recover(person) => self.recover(person),
            Event::Assemble => {
                self.guild.act(&mut self.guests, &mut self.world);
                Ok(())
            }
            Event::Gather(person) => self.gather(person),
            Event::Restore(person) => {
                self.with_one_of(person, |device, outside| device.restore(outside));
                Ok(())
            }
            calm => {
                self.break_something(calm);
                Ok(())
            }
        }
    }

    fn break_something(&mut self, event: Event) {
        let world = &mut self.world;
        match event {
            Event::Cut(person) => {
                let seat = one_of(world, person);
                world.cut(seat);
            }
            Event::Freeze(person) => {
                let seat = one_of(world, person);
                world.set_silent(seat, true);
            }
            Event::Thaw(person) => {
                world.devices_of(person).into_iter().for_each(|seat| world.set_silent(seat, false))
            }
            Event::CrashDevice(person) => {
                let (seat, turns) = (one_of(world, person), world.chance.below(4));
                world.devices[seat.0].die_in(turns);
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
        if self.world.chance.per_mille(GUEST_PER_MILLE) {
            return self.send_to_guest(from);
        }
        let text = self.text(from);
        self.with_one_of(from, |device, outside| device.write(&phone(to), text, outside))
    }

    fn send_to_guest(&mut self, from: Person) -> Result<(), Fault> {
        let (text, guest) = (self.text(from), self.guests[0].account());
        self.with_one_of(from, |device, outside| device.write_to(guest, text, outside))
    }

    /// A text that nobody wrote before; sometimes a long one.
    fn text(&mut self, from: Person) -> String {
        self.texts += 1;
        let long = if self.world.chance.per_mille(30) { 3_000 } else { 0 };
        format!("Text {}, by {}.{}", self.texts, from.0, " And so on.".repeat(long))
    }

    fn guests_register(&mut self) -> Result<(), Fault> {
        for number in 0..self.guests.len() {
            let phone = phone(Person(GUEST.0 - number));
            let asked = |core| Ask::begin(core, phone.clone());
            let session = self.world.wait_for(CALL_WITHIN, asked)?.flatten().expect("nothing breaks yet");
            let code = self.world.texter.newest_code(&phone).expect("nothing breaks yet");
            let guest = &mut self.guests[number];
            let (ask, token) = (guest.registration(self.world.now()), guest.token());
            let done = self.world.wait_for(CALL_WITHIN, |core| ask.register(core, session, code, token))?;
            assert_eq!(done, Some(true), "nothing breaks yet");
        }
        Ok(())
    }

    fn guest_relinks(&mut self) -> Result<(), Fault> {
        let former = self.guests[0].second();
        let ask = self.guests[0].relink(self.world.now());
        record_upload(&self.world.chronicle, ask.of(), ask.keys());
        for attempt in 0..CALLS_MAX {
            let asked = ask.clone();
            let asked_at_ms = self.world.chronicle.since_start(self.world.now()).0;
            let done = self.world.wait_for(RELINK_WITHIN, |core| asked.apply(core, attempt as u64))?;
            if done == Some(true) {
                let (guest, chronicle) = (&self.guests[0], &self.world.chronicle);
                guest.second().into_iter().for_each(|mailbox| chronicle.record(Fact::Opened { mailbox }));
                former.into_iter().for_each(|mailbox| chronicle.record(Fact::Closed { mailbox }));
                chronicle.record(Fact::LogAnswered {
                    by: guest.primary().address(),
                    log: SignedLog::DeviceList(guest.account()),
                    version: guest.version(),
                    digest: digest_of(ask.list()),
                    asked_at_ms,
                });
                return Ok(());
            }
        }
        panic!("the guest cannot change its devices");
    }

    /// Whatever the guild still waits for gets an answer.
    fn guild_settles(&mut self) -> Result<(), Fault> {
        for _ in 0..CALLS_MAX {
            if self.guild.settle(&self.guests, &mut self.world) {
                return Ok(());
            }
            self.world.run_for(Millis::from_secs(5))?;
        }
        panic!("the guild never gets its answers");
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
        let primary = Seat::primary(person);
        self.world.give_up_pairings(person)?;
        self.world.with_device(primary, |device, outside| device.go_offline(outside))?;
        let former = self.world.replace_device(primary)?;
        self.register(person)?;
        if let Some(mailbox) = former.mailbox() {
            self.world.chronicle.record(Fact::Closed { mailbox });
        }
        self.world.with_device(primary, |device, outside| device.go_online(outside))
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
        let Some(answer) = self.call_until_answered(begin)? else { return Ok(false) };
        if self.with_engine(person, |engine, _, _| engine.code_sent(&answer)).is_err() {
            return Ok(false);
        }
        let Some(code) = self.world.texter.newest_code(&account.phone) else { return Ok(false) };
        let finish = self.with_engine(person, |engine, _, _| engine.finish_registration(&code, true));
        let Some(answer) = self.call_until_answered(finish)? else { return Ok(false) };
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
    /// Something that a person does on whichever device is at hand.
    fn with_one_of<T>(&mut self, person: Person, act: impl FnOnce(&mut Device, &mut Outside<'_>) -> T) -> T {
        let seat = one_of(&mut self.world, person);
        self.world.with_device(seat, act)
    }

    /// Something that a person does on every device.
    fn with_each_of(
        &mut self,
        person: Person,
        mut act: impl FnMut(&mut Device, &mut Outside<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let seats = self.world.devices_of(person);
        seats.into_iter().try_for_each(|seat| self.world.with_device(seat, &mut act))
    }

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
        request: Result<HttpRequest, RegistrationError>,
    ) -> Result<Option<client::HttpAnswer>, Fault> {
        let request = match request {
            Ok(request) => request,
            Err(RegistrationError::Fault(fault)) => return Err(fault),
            Err(error) => panic!("nobody can ask: {error}"),
        };
        self.ask_until_answered(&request, CALL_WITHIN)
    }

    fn ask_until_answered(
        &mut self,
        request: &HttpRequest,
        within: Millis,
    ) -> Result<Option<client::HttpAnswer>, Fault> {
        for _ in 0..CALLS_MAX {
            let request = request.clone();
            let asked = |core: Arc<Core>| async move { http::answer(&core, &request).await };
            let answer = self.world.wait_for(within, asked)?;
            if let Some(answer) = answer.filter(|answer| answer.status < 500) {
                return Ok(Some(answer));
            }
            self.world.run_for(Millis::from_secs(1))?;
        }
        Ok(None)
    }
}

/// The device that a person has at hand: any that has an account; the primary, if none has.
fn one_of(world: &mut World, person: Person) -> Seat {
    match world.devices_of(person).as_slice() {
        [] => Seat::primary(person),
        [only] => *only,
        seats => world.chance.one_of(seats),
    }
}

/// Which life of the device number the server answered.
fn registration_of(body: &[u8]) -> Option<RegistrationId> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    RegistrationId::new(u32::try_from(body["registration"].as_u64()?).ok()?).ok()
}
