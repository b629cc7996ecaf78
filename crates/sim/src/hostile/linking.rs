//! What people do with their devices: one is linked, with two screens side by side, and one is unlinked.
//!
//! The person is careful: they read the code from one screen into the other, and say yes only if both show the same six
//! digits.

use super::{World, device::Device, forger, profiles};
use crate::disk::Disk;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use client::{AddingDevice, Engine, Fault, HttpAnswer, HttpRequest, LinkError, LinkStep, Linked};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use serde_json::Value;
use types::Millis;

/// Looks at both screens before a person gives up.
const LOOKS: u32 = 10;
/// Time between two looks.
const PAUSE: Millis = Millis(700);

/// A device on its way into the first account.
pub(super) struct Newcomer {
    disk: Disk,
    engine: Engine,
    rng: ChaCha20Rng,
    /// What it shows.
    digits: Option<String>,
    /// The invitation that it accepted.
    accepted: Option<Vec<u8>>,
    /// Somebody else saw its code.
    is_overheard: bool,
    /// Its person saw the same digits on the primary.
    is_confirmed: bool,
}

impl World {
    /// One try to link a device to the first account, as far as it comes.
    pub(super) fn link(&mut self) -> Result<(), Fault> {
        if self.newcomer.is_some() || self.devices[0].ended.is_some() {
            return Ok(());
        }
        let Some(code) = self.show_code()? else { return Ok(()) };
        let code = self.server.liar.hands_code(&mut self.server.office).unwrap_or(code);
        let (now, primary) = (self.now, &mut self.devices[0]);
        primary.adding.clear();
        let begun = primary.engine.add_device(&code, false, now, &mut primary.rng)?;
        primary.poll();
        if begun.is_err() {
            self.newcomer = None;
            return Ok(());
        }
        for _ in 0..LOOKS {
            self.poll_newcomer()?;
            self.carry()?;
            if self.looks_at_primary()? {
                return self.carry();
            }
            self.pass(PAUSE)?;
        }
        self.say_no()?;
        self.newcomer = None;
        self.carry()
    }

    /// A new device begins, and shows its code.
    fn show_code(&mut self) -> Result<Option<String>, Fault> {
        let Some(disk) = self.spares.pop() else { return Ok(None) };
        disk.begin_link_at(self.now);
        let mut engine = Engine::open(disk.connect()).expect("a ready-made profile can be opened");
        let mut rng = ChaCha20Rng::seed_from_u64(self.chance.below(u64::MAX));
        let begun = unless_fault(engine.begin_link(&profiles::newcomer(), self.now, &mut rng))?;
        let begun = begun.expect("a ready-made link goes on");
        let answer = self.http(&begun.request);
        if unless_fault(engine.link_begun(&answer))?.is_err() {
            return Ok(None);
        }
        let told = self.planted.nonce_told.then(|| forger::nonce_of(&disk.offering()));
        let is_overheard = self.server.liar.overhears(&begun.code, told);
        self.newcomer = Some(Newcomer {
            disk,
            engine,
            rng,
            digits: None,
            accepted: None,
            is_overheard,
            is_confirmed: false,
        });
        Ok(Some(begun.code))
    }

    /// The new device asks how its link stands.
    pub(super) fn poll_newcomer(&mut self) -> Result<(), Fault> {
        let Some(mut newcomer) = self.newcomer.take() else { return Ok(()) };
        let Ok(request) = unless_fault(newcomer.engine.poll_link())? else { return Ok(()) };
        let answer = self.http(&request);
        let step = newcomer.engine.link_polled(&answer, self.now, &mut newcomer.rng);
        match unless_fault(step)? {
            Ok(LinkStep::Answer { digits, request }) => {
                newcomer.accepted = newcomer.disk.invitation();
                newcomer.digits = Some(digits);
                let answer = self.http(&request);
                let _ = unless_fault(newcomer.engine.link_answered(&answer))?;
            }
            Ok(LinkStep::Linked(linked)) => return self.joins(newcomer, &linked),
            // A dead link is forgotten by the device itself, and the next poll says so.
            Ok(LinkStep::Waiting) | Err(_) => {}
        }
        self.newcomer = Some(newcomer);
        Ok(())
    }

    /// What leaves a device that has no session is looked at, too.
    fn http(&mut self, request: &HttpRequest) -> HttpAnswer {
        let body: Value = serde_json::from_slice(&request.body).expect("a body is JSON");
        let fields = body.as_object().into_iter().flat_map(|fields| fields.values());
        for field in fields.filter_map(|field| BASE64.decode(field.as_str()?).ok()) {
            self.witness.keeps_keys(&field);
        }
        self.server.http(request)
    }

    /// The person looks at the primary's screen. True once they need not look again.
    fn looks_at_primary(&mut self) -> Result<bool, Fault> {
        let mut is_over = false;
        for adding in std::mem::take(&mut self.devices[0].adding) {
            match adding {
                AddingDevice::Digits { digits, .. } => {
                    let newcomer = self.newcomer.as_ref();
                    let same = newcomer.is_some_and(|one| one.digits.as_ref() == Some(&digits));
                    self.witness.compares(same, newcomer.and_then(|one| one.accepted.as_deref()));
                    if same || self.planted.any_digits {
                        self.say_yes(same)?
                    } else {
                        self.say_no()?
                    }
                    is_over = true;
                }
                AddingDevice::Failed(_) => {
                    self.newcomer = None;
                    is_over = true;
                }
                _ => {}
            }
        }
        Ok(is_over)
    }

    fn say_yes(&mut self, same: bool) -> Result<(), Fault> {
        if let Some(newcomer) = &mut self.newcomer {
            newcomer.is_confirmed = same;
        }
        let (now, primary) = (self.now, &mut self.devices[0]);
        primary.engine.confirm_device(now, &mut primary.rng)?;
        primary.poll();
        Ok(())
    }

    fn say_no(&mut self) -> Result<(), Fault> {
        self.newcomer = None;
        let (now, primary) = (self.now, &mut self.devices[0]);
        primary.engine.refuse_device(now, &mut primary.rng)?;
        primary.poll();
        Ok(())
    }

    /// The new device believes that it is one of an account.
    fn joins(&mut self, newcomer: Newcomer, linked: &Linked) -> Result<(), Fault> {
        let owner = self.devices[0].mailbox.account;
        let is_trusted = newcomer.is_confirmed || !newcomer.is_overheard;
        self.witness.linked(owner, linked.account, is_trusted);
        if linked.account != owner {
            // Its person saw that the primary shows nothing, and throws it away.
            return Ok(());
        }
        let mailbox = newcomer.disk.mailbox().expect("a linked device has a mailbox");
        let Newcomer { disk, engine, rng, .. } = newcomer;
        let mut device = Device::linked(disk, engine, mailbox, rng, self.planted.client);
        self.witness.joins(&device, &self.server.office);
        device.connect(&mut self.server, self.now)?;
        self.devices.push(device);
        self.carry()
    }

    /// The first account's person takes a device off their list.
    pub(super) fn unlink(&mut self) -> Result<(), Fault> {
        let owner = self.devices[0].mailbox;
        let linked: Vec<_> = self
            .devices
            .iter()
            .map(|device| device.mailbox)
            .filter(|one| one.account == owner.account && *one != owner && !self.witness.is_former(*one))
            .collect();
        if linked.is_empty() || self.devices[0].ended.is_some() {
            return Ok(());
        }
        let gone = self.chance.one_of(&linked);
        let (now, primary) = (self.now, &mut self.devices[0]);
        // It may have been asked for before, and wait for the server's word.
        let _ = primary.engine.remove_device(gone.device, now, &mut primary.rng)?;
        primary.poll();
        self.carry()
    }
}

/// A link that ends is no fault; an engine that fails is one.
fn unless_fault<T>(result: Result<T, LinkError>) -> Result<Result<T, LinkError>, Fault> {
    match result {
        Err(LinkError::Fault(fault)) => Err(fault),
        other => Ok(other),
    }
}
