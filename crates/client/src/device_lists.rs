//! Device lists of others and our own: fetched, verified, compared with what is known and with what others
//! say that they saw.

use crate::{
    Effect, EventView,
    keys::FETCH_AGAIN_AFTER,
    live::Asked,
    store::{Stored, chats, contacts, device_lists, encryption, events, list_changes},
    turn::Turn,
};
use seal::ListView;
use signed::{DeviceList, ListedDevice, Succession, SuccessionError};
use std::sync::Arc;
use types::{
    AccountId, ChatId, DeviceAddress, DeviceNumber,
    limits::{FETCH_KEYS_ACCOUNTS_MAX, GROUP_MEMBERS_MAX},
};
use wire::{AccountList, Refusal, Request};

/// What came of a list that the server gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ListOutcome {
    /// The list that is known now. The server may have given an older one.
    Known,
    /// The account was closed.
    Closed,
    /// There is no such account, as far as the server says.
    Absent,
    /// What the server gave is not a list of this account, and none is known.
    Refused,
}

/// Which lists two people had in view, as far as they contradict each other.
pub(crate) enum Claim {
    /// Nothing contradicts what we know.
    Agrees,
    /// The other side knows a newer list than we do.
    Newer,
    /// Another list of the same version.
    Contradicts,
}

/// Verified lists that are kept in memory, some 3 MB of them: whoever gives a key to the largest group needs each list
/// several times, and verifying one costs as much as encrypting to its devices.
const LISTS_IN_MEMORY_MAX: usize = 2 * GROUP_MEMBERS_MAX;

impl Turn<'_> {
    /// The newest verified list of an account.
    pub(crate) fn list(&mut self, account: AccountId) -> Stored<Option<Arc<DeviceList>>> {
        if let Some(list) = self.live.lists.get(&account) {
            return Ok(Some(list.clone()));
        }
        Ok(device_lists::get(self.db, account)?.map(|list| self.keep_list(list)))
    }

    /// Keeps a verified list in memory.
    fn keep_list(&mut self, list: DeviceList) -> Arc<DeviceList> {
        if self.live.lists.len() >= LISTS_IN_MEMORY_MAX {
            self.live.lists.clear();
        }
        let list = Arc::new(list);
        self.live.lists.insert(list.account(), list.clone());
        list
    }

    /// Asks for the lists that are wanted.
    pub(crate) fn advance_device_lists(&mut self) -> Stored<()> {
        while !self.live.lists_wanted.is_empty() {
            let wanted = std::mem::take(&mut self.live.lists_wanted);
            let mut accounts: Vec<AccountId> = wanted.into_iter().collect();
            let rest = accounts.split_off(accounts.len().min(FETCH_KEYS_ACCOUNTS_MAX));
            self.live.lists_wanted.extend(rest);
            self.request(Request::GetDeviceLists(accounts.clone()), Asked::Lists(accounts));
        }
        Ok(())
    }

    /// Wants an account's list, unless it is being fetched.
    pub(crate) fn want_list(&mut self, account: AccountId) {
        let is_asked = self
            .live
            .is_asked(|asked| matches!(asked, Asked::Lists(accounts) if accounts.contains(&account)));
        if !is_asked {
            self.live.lists_wanted.insert(account);
        }
    }

    /// The server could not answer: what is held for these lists is looked at again in a while.
    pub(crate) fn lists_refused(&mut self, accounts: Vec<AccountId>, refusal: &Refusal) {
        let at = self.now + refusal.retry_after.unwrap_or(FETCH_AGAIN_AFTER);
        for account in accounts {
            self.live.retry_at.entry(account).or_insert(at);
        }
    }

    pub(crate) fn lists_came(&mut self, asked: &[AccountId], lists: &[AccountList]) -> Stored<()> {
        for list in lists.iter().filter(|list| asked.contains(&list.account)) {
            self.take_list(list.account, &list.device_list, list.closed)?;
            self.retry_held(list.account)?;
            self.wake_lanes(list.account)?;
            self.compare_own_views(list.account)?;
            self.insist(list.account)?;
        }
        self.live.groups.lists_came(asked);
        Ok(())
    }

    /// Verifies a list and puts it in the place of the known one, if it may stand there.
    pub(crate) fn take_list(
        &mut self,
        account: AccountId,
        bytes: &[u8],
        closed: bool,
    ) -> Stored<ListOutcome> {
        if closed {
            contacts::set_closed(self.db, account)?;
            return Ok(ListOutcome::Closed);
        }
        let known = self.list(account)?;
        if bytes.is_empty() {
            return Ok(ListOutcome::Absent);
        }
        let now = self.server_now();
        let Some(list) = DeviceList::verify(bytes).ok().filter(|list| list.account() == account) else {
            return Ok(if known.is_some() { ListOutcome::Known } else { ListOutcome::Refused });
        };
        match known.as_ref().map(|known| list.successor_of(known)) {
            None | Some(Ok(Succession::Newer)) => {
                contacts::ensure(self.db, account)?;
                self.note_removed_devices(known.as_deref(), &list)?;
                device_lists::put(self.db, &list, now)?;
                let list = self.keep_list(list);
                if let Some(known) = &known {
                    self.devices_changed(known, &list)?;
                }
            }
            Some(Ok(Succession::Same)) => device_lists::confirm(self.db, account, now)?,
            Some(Err(SuccessionError::Rollback))
                if account == self.me.account() && self.me.account_secret.is_some() =>
            {
                // It has not got our newest list yet.
                device_lists::confirm(self.db, account, now)?;
                self.live.put_list = true;
            }
            Some(Err(SuccessionError::Rollback)) if self.live.planted.bugs.take_older_lists => {
                device_lists::put(self.db, &list, now)?;
                self.live.lists.remove(&account);
            }
            Some(Err(SuccessionError::Rollback | SuccessionError::Fork)) => {
                // The known list stays. That the server gives out another one is for the person to know.
                self.report_split_view(account.into(), account, list.version())?;
            }
            Some(Err(SuccessionError::OtherAccount)) => {}
        }
        Ok(ListOutcome::Known)
    }

    /// Tells of devices that came and went, forgets the sessions of those that are gone, and notices if this
    /// device is one of them.
    fn devices_changed(&mut self, known: &DeviceList, list: &DeviceList) -> Stored<()> {
        let account = list.account();
        let removed = missing_from(list, known);
        let added = missing_from(known, list);
        self.remember_removed(known);
        for device in &removed {
            if !self.keeps_removed() {
                encryption::forget_device(self.db, DeviceAddress::new(account, *device))?;
            }
            self.end_life(DeviceAddress::new(account, *device))?;
        }
        let me = self.me;
        if account == me.account() {
            let entry = list.device(me.address.device);
            if entry.is_none_or(|entry| entry.registration() != me.registration) {
                self.refused_as_revoked()?;
            }
        }
        let is_known = account == me.account() || chats::with_id(self.db, *account.as_bytes())?.is_some();
        if is_known && !(added.is_empty() && removed.is_empty()) {
            let event = EventView::DeviceChanged { account, added, removed };
            events::log(self.db, self.live.batch, None, &event)?;
            self.effect(Effect::EventsLogged);
        }
        Ok(())
    }

    /// Whether this is the list that we signed and whose acceptance we have not heard of yet.
    pub(crate) fn is_list_on_its_way(&self, view: ListView) -> Stored<bool> {
        let Some(change) = list_changes::get(self.db)? else { return Ok(false) };
        Ok(DeviceList::verify(&change.list).is_ok_and(|list| view_of(&list) == view))
    }

    /// Looks again at what others said of our own list, now that it was fetched.
    fn compare_own_views(&mut self, account: AccountId) -> Stored<()> {
        if account != self.me.account() {
            return Ok(());
        }
        for (chat, view) in std::mem::take(&mut self.live.own_views) {
            if !matches!(self.compare_view(account, view)?, Claim::Agrees) {
                self.report_split_view(chat, account, view.version)?;
            }
        }
        Ok(())
    }

    /// Compares what somebody says of an account's list with the one that is known here.
    pub(crate) fn compare_view(&mut self, account: AccountId, view: ListView) -> Stored<Claim> {
        let known = self.list(account)?.map_or(0, |list| list.version());
        if view.version > known {
            return Ok(Claim::Newer);
        }
        let contradicts =
            device_lists::hash_of(self.db, account, view.version)?.is_some_and(|hash| hash != view.hash);
        Ok(if contradicts { Claim::Contradicts } else { Claim::Agrees })
    }

    /// Logs once that there are two lists of one version, or that a newer one is kept from us.
    pub(crate) fn report_split_view(&mut self, chat: ChatId, account: AccountId, version: u64) -> Stored<()> {
        if self.live.planted.bugs.overlook_forks {
            return Ok(());
        }
        if device_lists::contradict(self.db, account, version)? {
            let event = EventView::SplitView { chat, account };
            events::log(self.db, self.live.batch, None, &event)?;
            self.effect(crate::Effect::EventsLogged);
        }
        Ok(())
    }
}

/// Devices of one list that are not on another one in the same life.
fn missing_from(list: &DeviceList, other: &DeviceList) -> Vec<DeviceNumber> {
    let lives_on = |device: &&ListedDevice| {
        list.device(device.number()).is_some_and(|same| {
            same.registration() == device.registration() && same.identity_key() == device.identity_key()
        })
    };
    other.devices().iter().filter(|device| !lives_on(device)).map(ListedDevice::number).collect()
}

/// How content names a list.
pub(crate) fn view_of(list: &DeviceList) -> ListView {
    ListView { version: list.version(), hash: list.hash() }
}
