//! Lists that add or remove a device: signed once, sent as they are until the server's word on them is known, and in
//! force here from then on.

use crate::{
    AddDeviceError, AddingDevice, Effect, RemoveDeviceError, devices,
    linking::LinkingAsked,
    store::{
        Stored, account, device_lists, encryption, handovers,
        handovers::Newcomer,
        list_changes,
        list_changes::{ChangeKind, ListChange},
    },
    turn::Turn,
};
use signed::DeviceList;
use types::{DeviceAddress, DeviceNumber, Millis};
use wire::{AccountList, Code, Refusal, Request};

/// The pause before a list is sent again that the server could not take.
const AGAIN_AFTER: Millis = Millis::from_secs(2);

impl Turn<'_> {
    /// Signs what is to be signed, and sends what waits for the server's word.
    pub(crate) fn advance_list_change(&mut self) -> Stored<()> {
        let live = &mut self.live.linking;
        if !live.is_changing || live.put_at.is_some_and(|at| at > self.now) {
            return Ok(());
        }
        live.put_at = None;
        let is_asked = self.is_linking_asked(LinkingAsked::ListChange)
            || self.is_linking_asked(LinkingAsked::OwnList)
            // A list that was signed before goes first.
            || self.live.put_list;
        if is_asked {
            return Ok(());
        }
        loop {
            if let Some(change) = list_changes::get(self.db)? {
                self.put_list_change(change);
                return Ok(());
            }
            let Some(device) = list_changes::take_removal(self.db)? else {
                self.live.linking.is_changing = false;
                return Ok(());
            };
            self.sign_removal(device)?;
        }
    }

    /// Writes a list that was signed, to be sent until the server's word on it is known.
    pub(crate) fn begin_list_change(&mut self, change: &ListChange) -> Stored<()> {
        list_changes::insert(self.db, change)?;
        self.live.linking.is_changing = true;
        if self.live.planted.bugs.reuse_list_versions {
            account::forget_list_version(self.db)?;
        }
        Ok(())
    }

    fn put_list_change(&mut self, change: ListChange) {
        let list = change.list.into();
        let request = match change.kind {
            ChangeKind::Add { link, completion, .. } => {
                Request::CompleteLink { link, device_list: list, completion: completion.into() }
            }
            ChangeKind::Remove => Request::PutDeviceList(list),
        };
        self.ask_linking(request, LinkingAsked::ListChange);
    }

    fn sign_removal(&mut self, device: DeviceNumber) -> Stored<()> {
        let known = self.list(self.me.account())?;
        let Some(listed) = known.as_ref().and_then(|list| list.device(device)).cloned() else {
            self.device_removed(device, Err(RemoveDeviceError::NoSuchDevice));
            return Ok(());
        };
        let list = devices::sign_without(self.db, self.me, device, self.server_now(), self.rng)?;
        let change = ListChange {
            version: list.version(),
            list: list.as_bytes().to_vec(),
            device,
            registration: listed.registration(),
            kind: ChangeKind::Remove,
        };
        self.begin_list_change(&change)
    }

    /// The server has the list.
    pub(crate) fn list_change_accepted(&mut self) -> Stored<()> {
        let Some(change) = list_changes::get(self.db)? else { return Ok(()) };
        let list = DeviceList::verify(&change.list).map_err(|_| crate::Fault::Damaged)?;
        let now = self.server_now();
        list_changes::remove(self.db)?;
        self.take_own_list(&list)?;
        match change.kind {
            ChangeKind::Add { with_history, link, .. } => {
                let newcomer = Newcomer {
                    device: change.device,
                    registration: change.registration,
                    list_version: change.version,
                    link,
                };
                handovers::begin(self.db, &newcomer, now, with_history)?;
                self.live.linking.is_handing_over = true;
                self.live.linking.window = handovers::window(self.db)?;
                self.effect(Effect::AddingDevice(AddingDevice::Added { device: change.device }));
            }
            ChangeKind::Remove => {
                self.forget_device(change.device)?;
                self.device_removed(change.device, Ok(()));
            }
        }
        Ok(())
    }

    /// A list of ours is in force.
    fn take_own_list(&mut self, list: &DeviceList) -> Stored<()> {
        let me = self.me.account();
        let known = self.list(me)?;
        self.note_removed_devices(known.as_deref(), list)?;
        device_lists::put(self.db, list, self.server_now())?;
        self.live.lists.remove(&me);
        Ok(())
    }

    /// A number that is free begins anew with its next device.
    fn forget_device(&mut self, device: DeviceNumber) -> Stored<()> {
        let address = DeviceAddress::new(self.me.account(), device);
        if handovers::remove(self.db, device)? {
            self.live.linking.is_handing_over = handovers::unfinished(self.db)?.is_some();
            self.effect(Effect::AddingDevice(AddingDevice::Failed(AddDeviceError::Removed)));
        }
        encryption::forget_device(self.db, address)?;
        self.end_life(address)
    }

    /// Whether it was stored by an earlier try, whose answer was lost, is for the server's own list to say.
    pub(crate) fn list_change_refused(&mut self, refusal: &Refusal) -> Stored<()> {
        match refusal.code {
            Code::RetryAfter | Code::Unavailable | Code::TooManyInFlight => {
                self.put_list_change_again(refusal);
            }
            _ => {
                self.live.linking.refused = Some(refusal.code);
                self.ask_linking(Request::GetDeviceLists(vec![self.me.account()]), LinkingAsked::OwnList);
            }
        }
        Ok(())
    }

    pub(crate) fn put_list_change_again(&mut self, refusal: &Refusal) {
        self.live.linking.put_at = Some(self.now + refusal.retry_after.unwrap_or(AGAIN_AFTER));
    }

    pub(crate) fn own_list_came(&mut self, lists: &[AccountList]) -> Stored<()> {
        let Some(change) = list_changes::get(self.db)? else { return Ok(()) };
        let stored = lists.iter().any(|list| {
            list.account == self.me.account() && list.device_list.as_ref() == change.list.as_slice()
        });
        if stored {
            return self.list_change_accepted();
        }
        // Its number stays used: nothing else is ever signed under it.
        list_changes::remove(self.db)?;
        let code = self.live.linking.refused.take().unwrap_or(Code::BadDeviceList);
        match change.kind {
            ChangeKind::Add { .. } => {
                let error = match code {
                    Code::LinkUnavailable => AddDeviceError::LinkUnavailable,
                    code => AddDeviceError::Server(code.name()),
                };
                self.effect(Effect::AddingDevice(AddingDevice::Failed(error)));
            }
            ChangeKind::Remove => {
                self.device_removed(change.device, Err(RemoveDeviceError::Server(code.name())));
            }
        }
        Ok(())
    }

    /// The server has a newer list of ours than the one in force. True if it is the one whose answer was lost: nobody
    /// else can have signed that version.
    pub(crate) fn settle_list_change(&mut self, version: u64) -> Stored<bool> {
        let is_ours = list_changes::get(self.db)?.is_some_and(|change| change.version == version);
        if is_ours {
            self.list_change_accepted()?;
        }
        Ok(is_ours)
    }

    fn device_removed(&mut self, device: DeviceNumber, result: Result<(), RemoveDeviceError>) {
        self.live.linking.removals.remove(&device);
        self.effect(Effect::DeviceRemoved { device, result });
    }

    // ---- the command

    /// Removes a device: with this turn, or as soon as there is a connection and no other change waits.
    pub(crate) fn remove_device(&mut self, device: DeviceNumber) -> Stored<Result<(), RemoveDeviceError>> {
        if !devices::is_primary(self.me) {
            return Ok(Err(RemoveDeviceError::NotPrimary));
        }
        if device == self.me.address.device {
            return Ok(Err(RemoveDeviceError::Primary));
        }
        let pending = list_changes::get(self.db)?.is_some_and(|change| change.device == device);
        let listed = self.list(self.me.account())?.is_some_and(|list| list.device(device).is_some());
        if !listed && !pending {
            return Ok(Err(RemoveDeviceError::NoSuchDevice));
        }
        list_changes::want_removal(self.db, device)?;
        self.live.linking.removals.insert(device);
        self.live.linking.is_changing = true;
        Ok(Ok(()))
    }
}
