//! Who waits for what the engine tells later.

use client::{AddingDevice, ChangeId, GroupError, LookupRefused, RemoveDeviceError};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};
use types::{AccountId, DeviceNumber, GroupId, PhoneNumber};

/// What a lookup found.
pub type LookupResult = Result<Option<AccountId>, LookupRefused>;

/// What came of a change of a group.
pub type GroupResult = Result<Changed, GroupError>;

/// A change of a group that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// For [`client::Engine::change_told`], once the person has seen it.
    pub change: ChangeId,
    /// The group.
    pub group: GroupId,
}

/// The steps of adding a device, as they happen. Ends without its last step when another addition begins.
pub type AddingDevices = mpsc::Receiver<AddingDevice>;

/// Steps of an addition that may wait to be looked at.
const STEPS_QUEUED_MAX: usize = 64;
/// Room among them that is kept for the steps that matter: there are four, and any number of reports between.
const STEPS_RESERVED: usize = 8;

/// Those who wait. What nobody waits for any more is not told to anybody.
#[derive(Default)]
pub(crate) struct Outcomes {
    lookups: Vec<(PhoneNumber, oneshot::Sender<LookupResult>)>,
    groups: BTreeMap<ChangeId, Vec<oneshot::Sender<GroupResult>>>,
    /// One device is added at a time.
    adding: Option<mpsc::Sender<AddingDevice>>,
    removals: Vec<(DeviceNumber, oneshot::Sender<Result<(), RemoveDeviceError>>)>,
}

impl Outcomes {
    pub(crate) fn await_lookup(&mut self, phone: PhoneNumber, answer: oneshot::Sender<LookupResult>) {
        self.lookups.push((phone, answer));
    }

    pub(crate) fn looked_up(&mut self, phone: &PhoneNumber, result: LookupResult) {
        for (_, answer) in self.lookups.extract_if(.., |(asked, _)| asked == phone) {
            let _ = answer.send(result);
        }
    }

    /// The same change may be asked for twice, and is one.
    pub(crate) fn await_group_change(&mut self, change: ChangeId, answer: oneshot::Sender<GroupResult>) {
        self.groups.entry(change).or_default().push(answer);
    }

    pub(crate) fn group_changed(&mut self, change: ChangeId, result: Result<GroupId, GroupError>) {
        let result = result.map(|group| Changed { change, group });
        for answer in self.groups.remove(&change).unwrap_or_default() {
            let _ = answer.send(result.clone());
        }
    }

    pub(crate) fn await_addition(&mut self) -> AddingDevices {
        let (steps, steps_out) = mpsc::channel(STEPS_QUEUED_MAX);
        self.adding = Some(steps);
        steps_out
    }

    pub(crate) fn adding(&mut self, step: AddingDevice) {
        let over = matches!(step, AddingDevice::Done { .. } | AddingDevice::Failed(_));
        let is_report = matches!(step, AddingDevice::HandingOver { .. });
        if let Some(steps) =
            self.adding.as_ref().filter(|steps| !is_report || steps.capacity() > STEPS_RESERVED)
        {
            let _ = steps.try_send(step);
        }
        if over {
            self.adding = None;
        }
    }

    pub(crate) fn await_removal(
        &mut self,
        device: DeviceNumber,
        answer: oneshot::Sender<Result<(), RemoveDeviceError>>,
    ) {
        self.removals.push((device, answer));
    }

    pub(crate) fn removed(&mut self, device: DeviceNumber, result: Result<(), RemoveDeviceError>) {
        for (_, answer) in self.removals.extract_if(.., |(asked, _)| *asked == device) {
            let _ = answer.send(result);
        }
    }
}
