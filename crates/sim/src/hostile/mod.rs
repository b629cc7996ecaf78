//! A hostile server between honest devices.
//!
//! Owns: schedules in which a server injects, drops, reorders, replays, forks and rolls back what it is
//! trusted with; real engines on both sides of it; and the properties that must hold all the same, judged by
//! looking inside everybody.
//!
//! Invariants: one seed is one schedule; the server never has a key that it could not have (except where a
//! schedule says that an account key was stolen).
//!
//! Must not know: the server's own crates. This server shares no code with the real one, so that a rule that
//! only the real one keeps cannot hide a client that relies on it.

pub mod bugs;
mod device;
mod forger;
mod gathering;
mod groups;
mod liar;
mod linking;
mod links;
mod office;
mod profiles;
mod server;
mod witness;

pub use liar::Lie;
pub use witness::{Property, Violation};

use crate::{chance::Chance, disk::Disk};
use bugs::Planted;
use client::{Fault, SendText};
use device::Device;
use liar::Liar;
use linking::Newcomer;
use office::Office;
use profiles::Profile;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use server::Server;
use signed::{AccountSecret, DeviceListDraft};
use std::collections::BTreeMap;
use types::{AccountId, MessageId, Millis, Timestamp};
use witness::Witness;

/// Steps of a schedule.
const STEPS: u64 = 16;
/// One in so many pairs of schedules has a group.
const GROUP_EVERY: u64 = 4;
/// One in so many has an account whose devices change.
const LINKS_EVERY: u64 = 3;
/// Frames that may pass while nothing else happens: engines that need more never rest.
const FRAMES_MAX: u32 = 4_000;
/// What was asked for again, backed off from or held has come after this long with an honest server.
const RECOVERY: Millis = Millis::from_mins(15);

/// What became of a schedule.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// How often each property was judged.
    pub judged: BTreeMap<Property, u64>,
    /// What the server did.
    pub told: BTreeMap<Lie, u64>,
}

/// Plays one schedule. An engine that fails is a failure of the run.
pub fn play(seed: u64, planted: Planted) -> Result<Outcome, Fault> {
    let mut world = World::new(seed, planted);
    for device in &mut world.devices {
        device.connect(&mut world.server, world.now)?;
    }
    world.carry()?;
    if world.meets {
        world.found()?;
    }
    if world.links {
        // Most begin with a second device: a server that lies from the first moment on mostly prevents it.
        world.server.liar.sleep();
        if world.chance.per_mille(700) {
            world.link()?;
            world.poll_newcomer()?;
        }
        world.server.liar.wake();
    }
    for _ in 0..STEPS {
        world.step()?;
    }
    world.recover()?;
    let last_words = world.last_words()?;
    world.conclude(&last_words)?;
    Ok(Outcome {
        violations: world.witness.violations,
        judged: world.witness.judged,
        told: world.server.liar.told,
    })
}

/// Whether people meet in a group in this schedule.
pub const fn has_group(seed: u64) -> bool {
    seed / 2 % GROUP_EVERY == 1
}

/// Whether somebody's devices change in this schedule.
pub const fn has_links(seed: u64) -> bool {
    seed / (2 * GROUP_EVERY) % LINKS_EVERY == 1
}

struct World {
    now: Timestamp,
    chance: Chance,
    server: Server,
    devices: Vec<Device>,
    witness: Witness,
    planted: Planted,
    texts: u64,
    /// How many people there are: their first devices come first.
    people: usize,
    /// There is a group in this schedule.
    meets: bool,
    /// The first account links and unlinks devices.
    links: bool,
    /// Devices that can be linked.
    spares: Vec<Disk>,
    /// The one that is being linked.
    newcomer: Option<Newcomer>,
    /// An account that will publish a second list, and its key.
    moves_on: Option<(AccountId, AccountSecret)>,
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut chance = Chance::new(seed, 1);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let meets = has_group(seed);
        let links = has_links(seed) && !planted.theft_unnoticed;
        let people = 2 + usize::from(meets) + chance.below(2) as usize;
        let profiles = profiles::take(people);
        let eagerness = chance.one_of(&[20, 60, 150]);
        let theft = !meets && !links && (chance.per_mille(250) || planted.theft_unnoticed);
        let victim = theft.then(|| chance.below(people as u64) as usize);
        let stolen = victim.map(|at| (profiles[at].mailbox.account, profiles[at].account_secret()));
        let traitor = profiles.last().filter(|_| meets).map(Profile::account_secret);
        let moves_on = profiles.first().filter(|_| !theft && !links && chance.per_mille(400));
        let moves_on = moves_on.map(|profile| (profile.mailbox.account, profile.account_secret()));
        let liar = Liar::new(seed, eagerness, stolen, traitor);
        let mut office = Office::new(profiles::START, &mut rng);
        profiles.iter().for_each(|profile| profile.enter(&mut office));
        let mut witness = Witness::new(liar.stolen().filter(|_| !planted.theft_unnoticed));
        let spares = if links { profiles::newcomers() } else { Vec::new() };
        for spare in &spares {
            witness.knows(spare.link_identity(), spare.link_secrets());
        }
        for profile in &profiles {
            let account = profile.disk.account_secret().expect("a primary has it").to_vec();
            witness.knows(profile.identity(), [profile.disk.private_keys(), vec![account]].concat());
        }
        let devices = profiles
            .into_iter()
            .zip(1..)
            .map(|(profile, number)| {
                Device::new(profile, seed.wrapping_mul(31).wrapping_add(number), planted.client)
            })
            .collect();
        let server = Server::new(office, liar, rng);
        Self {
            now: profiles::START,
            chance,
            server,
            devices,
            witness,
            planted,
            texts: 0,
            people,
            meets,
            links,
            spares,
            newcomer: None,
            moves_on,
        }
    }

    // ---- what happens

    fn step(&mut self) -> Result<(), Fault> {
        if self.meets && self.chance.per_mille(500) {
            self.gather()?;
        }
        if self.moves_on.is_some() && self.chance.per_mille(150) {
            self.publish();
        }
        if self.links {
            self.manage_devices()?;
        }
        let who = self.chance.below(self.devices.len() as u64) as usize;
        match self.chance.below(20) {
            0..=9 => {
                let others: Vec<usize> =
                    (0..self.devices.len()).filter(|to| self.are_two(who, *to)).collect();
                let to = self.chance.one_of(&others);
                self.write(who, to)?;
            }
            10..=11 => self.devices[who].connect(&mut self.server, self.now)?,
            12..=13 => self.read(who)?,
            _ => {
                let length = Millis(1 + self.chance.below(20_000));
                self.pass(length)?;
            }
        }
        self.server.liar.stir(&mut self.server.office);
        self.carry()
    }

    /// Whether two devices are those of two people.
    fn are_two(&self, one: usize, other: usize) -> bool {
        self.devices[one].mailbox.account != self.devices[other].mailbox.account
    }

    /// A device is linked or unlinked, or the one that is being linked asks once more.
    fn manage_devices(&mut self) -> Result<(), Fault> {
        self.poll_newcomer()?;
        match self.chance.below(10) {
            0 => self.link(),
            1 => self.unlink(),
            _ => Ok(()),
        }
    }

    /// The first account publishes another list: the same devices, one version later.
    fn publish(&mut self) {
        let Some((account, secret)) = &self.moves_on else { return };
        let Some(known) = self.server.office.accounts.get(account) else { return };
        let held = self.devices[0].disk.list_version(*account).unwrap_or(0);
        let draft = DeviceListDraft {
            version: held + 1,
            issued_at: self.now,
            devices: known.list().devices().to_vec(),
            sealed_names: Vec::new(),
        };
        let list = draft.sign(secret).expect("the same devices make a good list");
        self.devices[0].begin_anew_with(&list);
    }

    /// Writes, unless the device knows that it was removed.
    fn write(&mut self, from: usize, to: usize) -> Result<Option<MessageId>, Fault> {
        if self.devices[from].engine.view().is_revoked()? {
            return Ok(None);
        }
        self.texts += 1;
        let text = format!("text {} of {from} to {to}", self.texts);
        let (chat, now) = (self.devices[to].mailbox.account, self.now);
        let device = &mut self.devices[from];
        let message_id = MessageId::new(now, &mut device.rng);
        self.witness.wrote(message_id, device.mailbox, chat.into(), text.clone());
        match device.engine.send_text(SendText { chat: chat.into(), message_id, text }, now, &mut device.rng)
        {
            Ok(_) => {}
            Err(client::SendError::Fault(fault)) => return Err(fault),
            Err(error) => panic!("a short text to somebody else can be sent: {error}"),
        }
        device.poll();
        Ok(Some(message_id))
    }

    fn read(&mut self, who: usize) -> Result<(), Fault> {
        let (device, now) = (&mut self.devices[who], self.now);
        for chat in device.engine.view().chats()? {
            device.engine.mark_read(chat.chat, now, &mut device.rng)?;
        }
        device.poll();
        Ok(())
    }

    /// Lets time go by, waking engines when they want; who lost the connection tries again.
    fn pass(&mut self, length: Millis) -> Result<(), Fault> {
        let end = self.now + length;
        while self.now < end {
            self.carry()?;
            let wakes = self.devices.iter().filter_map(|device| device.engine.wake_at());
            let next = wakes.filter(|at| *at > self.now && *at < end).min();
            self.now = next.unwrap_or(end);
            self.server.office.now = self.now;
            for device in &mut self.devices {
                device.handle(client::Event::Tick, self.now)?;
                if !device.is_connected() {
                    device.connect(&mut self.server, self.now)?;
                }
            }
        }
        self.carry()
    }

    /// Carries frames until all wires are quiet, and lets everybody look.
    fn carry(&mut self) -> Result<(), Fault> {
        if self.witness.has_seen_broken(Property::Rests) {
            // Nobody waits a second time for those who never rest.
            return Ok(());
        }
        let mut frames = 0;
        loop {
            let mut moved = false;
            for at in 0..self.devices.len() {
                self.read_over(at);
                if let Some(frame) = self.devices[at].leaves() {
                    moved = true;
                    self.witness.left(&self.devices, at, &frame.request, &self.server.office);
                    self.devices[at].asked(frame, &mut self.server);
                }
                let device = &mut self.devices[at];
                moved |= device.listens(&mut self.server);
                moved |= device.hears(self.now)?;
                if self.links && device.has_news {
                    self.witness.look(device)?;
                }
                self.read_over(at);
            }
            frames += 1;
            if !moved || frames > FRAMES_MAX {
                break;
            }
        }
        self.witness.judge(Property::Rests, frames <= FRAMES_MAX, || "engines never rest".to_owned());
        for device in &self.devices {
            let changes = self.moves_on.as_ref().map(|(account, _)| *account);
            let owner = self.devices.first().filter(|_| self.links).map(|first| first.mailbox.account);
            if let Some(account) = changes.or(owner) {
                self.witness.look_at_list(device, account);
            }
        }
        self.devices.iter_mut().try_for_each(|device| self.witness.look(device))
    }

    /// Lets the witness read what an engine made while it still knows just what it knew then.
    fn read_over(&mut self, at: usize) {
        while let Some(frame) = self.devices[at].writes() {
            self.witness.made(&self.devices, at, &frame);
        }
    }

    // ---- the end

    /// The server turns honest, and everything has time to heal.
    fn recover(&mut self) -> Result<(), Fault> {
        if !self.planted.never_repents {
            self.server.liar.repent(&mut self.server.office);
        }
        for device in &mut self.devices {
            device.connect(&mut self.server, self.now)?;
        }
        self.poll_newcomer()?;
        self.pass(RECOVERY)
    }

    /// Everybody writes to everybody once more.
    fn last_words(&mut self) -> Result<Vec<(MessageId, usize)>, Fault> {
        let mut words = Vec::new();
        let present = |world: &Self, at: usize| !world.witness.is_former(world.devices[at].mailbox);
        for from in 0..self.devices.len() {
            for to in 0..self.devices.len() {
                if self.are_two(from, to) && present(self, from) && present(self, to) {
                    words.extend(self.write(from, to)?.map(|message| (message, to)));
                }
            }
        }
        let in_group = self.last_words_in_group()?;
        self.pass(RECOVERY)?;
        self.witness.conclude_group(&self.devices, &in_group, &self.server.office);
        self.witness.conclude_formers(&self.server.office);
        Ok(words)
    }

    fn conclude(&mut self, last_words: &[(MessageId, usize)]) -> Result<(), Fault> {
        if self.server.liar.stolen().is_none() {
            for (message, to) in last_words {
                self.witness.arrived(*message, &self.devices[*to], self.now)?;
            }
        }
        let true_stamps = !self.server.liar.told.contains_key(&Lie::Restamped);
        self.witness.conclude(&self.devices, self.now, true_stamps)
    }
}
