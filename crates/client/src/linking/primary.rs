//! The primary device, asked to add another one: up to the signature nothing of it is anybody's but the person's who
//! compares the digits.

use crate::{
    Effect, Fault, devices,
    linking::LinkingAsked,
    store::{
        Stored, handovers, linking,
        linking::Addition,
        list_changes,
        list_changes::{ChangeKind, ListChange},
    },
    turn::Turn,
};
use seal::link::{Candidate, Completion, Invitation, LinkCode, LinkError, Primary};
use signed::DeviceCertificate;
use types::{DeviceNumber, Millis, limits::DEVICES_MAX};
use wire::{Code, LinkState, Refusal, Request};

/// How often a link is looked at while the new device has not answered.
const LOOK_EVERY: Millis = Millis(300);
/// A new device answers by itself, within a second or two; one that is silent for half a minute is gone.
const LOOKS_MAX: u32 = 100;
/// Nobody waits longer than this in front of a code that is good for a minute.
const WAIT_MAX: Millis = Millis::from_secs(10);
/// The pause after the server could not answer.
const LOOK_AGAIN_AFTER: Millis = Millis::from_secs(1);

/// How the adding of a device goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddingDevice {
    /// The device has answered. Nothing is signed before [`crate::Engine::confirm_device`].
    Digits {
        /// Six digits that the new device shows, too, if nobody stands between the two.
        digits: String,
        /// What it calls itself.
        name: String,
    },
    /// It is on the list, and the server has the list.
    Added {
        /// Its number.
        device: DeviceNumber,
    },
    /// A part of its archive is with the server.
    HandingOver {
        /// Messages that were handed over.
        done: u64,
        /// All messages of the archive.
        total: u64,
    },
    /// All that it is to be given is with the server.
    Done {
        /// Its number.
        device: DeviceNumber,
    },
    /// It was not added; or, after [`AddingDevice::Added`], its archive will be handed over with another connection.
    Failed(AddDeviceError),
}

/// A device was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddDeviceError {
    /// Only the primary device adds devices.
    #[error("only the primary device can add a device")]
    NotPrimary,
    /// Not the text of a link code.
    #[error("this is not a link code")]
    BadCode,
    /// The account has as many devices as it may have, 5.
    #[error("the account has five devices")]
    TooManyDevices,
    /// Another device was confirmed a moment ago, and the server's answer is not here yet.
    #[error("another device is being added")]
    Busy,
    /// No such link here, or it expired, was refused or used.
    #[error("the link code is unknown, has expired or was used")]
    LinkUnavailable,
    /// The server gave other keys than the code says, or the answer is not the device's: somebody stands between.
    #[error("the link was tampered with: {0}")]
    Tampered(LinkError),
    /// The new device cannot read the invitation: its code is another one.
    #[error("the code is not the one that the new device shows")]
    Declined,
    /// The new device took the invitation and said nothing more.
    #[error("the new device has not answered")]
    NoAnswer,
    /// The person said no.
    #[error("the device was refused")]
    Refused,
    /// The device was added, and handing over its archive goes on with another connection.
    #[error("handing over the archive was interrupted")]
    Interrupted,
    /// The device was added, and removed again before it was given everything.
    #[error("the device was removed again")]
    Removed,
    /// Too many devices were added of late: the server wants to be asked again after this long.
    #[error("too many devices were added; try again later")]
    RetryAfter(Millis),
    /// The server refused, in its word.
    #[error("the server refused: {0}")]
    Server(&'static str),
}

/// A device was not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveDeviceError {
    /// Only the primary device removes devices.
    #[error("only the primary device can remove a device")]
    NotPrimary,
    /// The primary itself cannot be removed.
    #[error("the primary device cannot be removed")]
    Primary,
    /// There is no device of this number.
    #[error("there is no such device")]
    NoSuchDevice,
    /// The server refused, in its word.
    #[error("the server refused: {0}")]
    Server(&'static str),
}

impl Turn<'_> {
    /// Begins to add the device that shows this code; with the same code, goes on.
    pub(crate) fn add_device(
        &mut self,
        code: &str,
        with_history: bool,
    ) -> Stored<Result<(), AddDeviceError>> {
        if !devices::is_primary(self.me) {
            return Ok(Err(AddDeviceError::NotPrimary));
        }
        let Ok(code) = code.parse::<LinkCode>() else { return Ok(Err(AddDeviceError::BadCode)) };
        if let Some(change) = list_changes::get(self.db)? {
            // Its own list is on its way: what follows is told to whoever asks now.
            let is_its = matches!(change.kind, ChangeKind::Add { link, .. } if link == code.link());
            return Ok(if is_its { Ok(()) } else { Err(AddDeviceError::Busy) });
        }
        if let Some((device, false)) = handovers::of_link(self.db, code.link())? {
            self.effect(Effect::AddingDevice(AddingDevice::Added { device }));
            return Ok(Ok(()));
        }
        linking::begin_addition(self.db, &code, with_history)?;
        self.live.linking.is_adding = true;
        self.live.linking.look_at = None;
        self.live.linking.looks = 0;
        Ok(Ok(()))
    }

    /// The lowest number that no device has; none if there are as many devices as there may be.
    fn free_number(&mut self) -> Stored<Option<DeviceNumber>> {
        let list = self.list(self.me.account())?.ok_or(Fault::Bug("our own list is missing"))?;
        if list.devices().len() >= DEVICES_MAX {
            return Ok(None);
        }
        let numbers = (2..=127).filter_map(|number| DeviceNumber::new(number).ok());
        Ok(numbers.into_iter().find(|number| list.device(*number).is_none()))
    }

    /// Asks how the link stands, or invites.
    pub(crate) fn advance_addition(&mut self) -> Stored<()> {
        let live = &self.live.linking;
        if !live.is_adding || live.look_at.is_some_and(|at| at > self.now) {
            return Ok(());
        }
        let steps = [LinkingAsked::Link, LinkingAsked::Invite, LinkingAsked::TurnAway];
        if steps.into_iter().any(|step| self.is_linking_asked(step)) {
            return Ok(());
        }
        let Some(addition) = linking::addition(self.db)? else {
            self.live.linking.is_adding = false;
            return Ok(());
        };
        self.live.linking.look_at = None;
        match (&addition.inviting, &addition.answer) {
            // A person is asked.
            (Some(inviting), Some(answer)) => self.show_digits(inviting, answer),
            (Some(inviting), None) if !addition.invited => {
                let (link, invitation) = (inviting.link(), inviting.message().to_vec().into());
                self.ask_linking(Request::InviteLink { link, invitation }, LinkingAsked::Invite);
                Ok(())
            }
            _ => {
                self.ask_linking(Request::GetLink(addition.code.link()), LinkingAsked::Link);
                Ok(())
            }
        }
    }

    pub(crate) fn link_state_came(&mut self, state: &LinkState) -> Stored<()> {
        let Some(addition) = linking::addition(self.db)? else { return Ok(()) };
        match (&addition.inviting, &state.answer) {
            (None, _) => self.invite(&addition, &state.offer),
            (Some(_), None) if self.live.linking.looks >= LOOKS_MAX => {
                self.nobody_answers(addition.code.link())
            }
            (Some(_), None) => {
                self.live.linking.looks += 1;
                self.live.linking.look_at = Some(self.now + LOOK_EVERY);
                Ok(())
            }
            (Some(_), Some(answer)) if answer == super::DECLINED => {
                self.addition_failed(AddDeviceError::Declined)
            }
            (Some(inviting), Some(answer)) => match inviting.open_answer(answer) {
                Ok(_) => linking::set_answer(self.db, answer),
                Err(error) => self.addition_failed(AddDeviceError::Tampered(error)),
            },
        }
    }

    /// Compares the offer with the code, and makes the one invitation that this link gets.
    fn invite(&mut self, addition: &Addition, offer: &[u8]) -> Stored<()> {
        let Some(device) = self.free_number()? else { return self.turn_away(&addition.code, offer) };
        let account_key = devices::account_secret(self.me)?.public();
        let invitation = Invitation { account_key, device, phone: self.me.phone.clone() };
        match Primary::invite(&addition.code, offer, invitation, self.rng) {
            Ok(inviting) => linking::set_inviting(self.db, &inviting),
            Err(error) => self.addition_failed(AddDeviceError::Tampered(error)),
        }
    }

    /// Tells the new device the reason, so that it does not wait for an invitation that cannot come.
    fn turn_away(&mut self, code: &LinkCode, offer: &[u8]) -> Stored<()> {
        match Primary::turn_away(code, offer, self.rng) {
            Ok(message) => {
                let request = Request::InviteLink { link: code.link(), invitation: message.into() };
                self.ask_linking(request, LinkingAsked::TurnAway);
                Ok(())
            }
            Err(error) => self.addition_failed(AddDeviceError::Tampered(error)),
        }
    }

    pub(crate) fn invited(&mut self) -> Stored<()> {
        linking::set_addition_invited(self.db)
    }

    pub(crate) fn link_refused(&mut self, refusal: &Refusal) -> Stored<()> {
        match refusal.code {
            Code::RetryAfter if refusal.retry_after.is_some_and(|after| after > WAIT_MAX) => {
                let after = refusal.retry_after.unwrap_or(WAIT_MAX);
                self.addition_failed(AddDeviceError::RetryAfter(after))
            }
            Code::RetryAfter | Code::Unavailable | Code::TooManyInFlight => {
                let after = refusal.retry_after.unwrap_or(LOOK_AGAIN_AFTER);
                self.live.linking.look_at = Some(self.now + after);
                Ok(())
            }
            Code::LinkUnavailable => self.addition_failed(AddDeviceError::LinkUnavailable),
            Code::Forbidden => self.addition_failed(AddDeviceError::NotPrimary),
            code => self.addition_failed(AddDeviceError::Server(code.name())),
        }
    }

    /// Nobody waits for a device that went away: its link is dead, so that it cannot come back alone.
    fn nobody_answers(&mut self, link: types::LinkId) -> Stored<()> {
        self.ask_linking(Request::RefuseLink(link), LinkingAsked::Refuse);
        self.addition_failed(AddDeviceError::NoAnswer)
    }

    pub(crate) fn addition_failed(&mut self, error: AddDeviceError) -> Stored<()> {
        linking::remove_addition(self.db)?;
        self.live.linking.is_adding = false;
        self.effect(Effect::AddingDevice(AddingDevice::Failed(error)));
        Ok(())
    }

    fn show_digits(&mut self, inviting: &Primary, answer: &[u8]) -> Stored<()> {
        // Told once: from here on the person acts.
        self.live.linking.is_adding = false;
        match inviting.open_answer(answer) {
            Ok(candidate) => {
                let digits = candidate.digits.to_string();
                let name = candidate.name.as_str().to_owned();
                self.effect(Effect::AddingDevice(AddingDevice::Digits { digits, name }));
                Ok(())
            }
            Err(error) => self.addition_failed(AddDeviceError::Tampered(error)),
        }
    }

    /// The person has compared the digits: the list is signed, and leaves once this is on disk.
    pub(crate) fn confirm_device(&mut self) -> Stored<()> {
        let Some(addition) = linking::addition(self.db)? else { return Ok(()) };
        let (Some(inviting), Some(answer)) = (&addition.inviting, &addition.answer) else { return Ok(()) };
        if list_changes::is_pending(self.db)? {
            return self.addition_failed(AddDeviceError::Busy);
        }
        let is_free = self
            .list(self.me.account())?
            .is_some_and(|list| list.device(inviting.invitation().device).is_none());
        if !is_free {
            return self.addition_failed(AddDeviceError::LinkUnavailable);
        }
        match inviting.open_answer(answer) {
            Ok(candidate) => self.sign_addition(&addition, inviting, candidate),
            Err(error) => self.addition_failed(AddDeviceError::Tampered(error)),
        }
    }

    fn sign_addition(&mut self, addition: &Addition, inviting: &Primary, candidate: Candidate) -> Stored<()> {
        let (device, registration) = (candidate.listed.number(), candidate.listed.registration());
        let device_key = *candidate.listed.device_key();
        let list = devices::sign_with(self.db, self.me, candidate, self.server_now(), self.rng)?;
        let completion = Completion {
            list,
            certificate: DeviceCertificate::sign(devices::account_secret(self.me)?, device, device_key),
            sync_key: self.shared_key()?,
        };
        let sealed = inviting
            .complete(&completion, self.rng)
            .map_err(|_| Fault::Bug("a list of ours does not fit the link it was made for"))?;
        let change = ListChange {
            version: completion.list.version(),
            list: completion.list.as_bytes().to_vec(),
            device,
            registration,
            kind: ChangeKind::Add {
                link: inviting.link(),
                completion: sealed,
                with_history: addition.with_history,
            },
        };
        linking::remove_addition(self.db)?;
        self.begin_list_change(&change)
    }

    /// The person has said no, or the digits differ.
    pub(crate) fn refuse_device(&mut self) -> Stored<()> {
        let Some(addition) = linking::addition(self.db)? else { return Ok(()) };
        if self.live.is_open() {
            self.ask_linking(Request::RefuseLink(addition.code.link()), LinkingAsked::Refuse);
        }
        self.addition_failed(AddDeviceError::Refused)
    }
}
