//! Device lists of others and our own: fetched, verified, compared with what is known and with what others
//! say that they saw.

use crate::{
    EventView,
    keys::FETCH_AGAIN_AFTER,
    live::Asked,
    store::{Stored, contacts, device_lists, events},
    turn::Turn,
};
use seal::ListView;
use signed::{DeviceList, Succession, SuccessionError};
use std::sync::Arc;
use types::{AccountId, ChatId, limits::FETCH_KEYS_ACCOUNTS_MAX};
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

/// Verified lists that are kept in memory; a person writes with few people at a time.
const LISTS_IN_MEMORY_MAX: usize = 256;

impl Turn<'_> {
    /// The newest verified list of an account.
    pub(crate) fn list(&mut self, account: AccountId) -> Stored<Option<Arc<DeviceList>>> {
        if let Some(list) = self.live.lists.get(&account) {
            return Ok(Some(list.clone()));
        }
        let Some(list) = device_lists::get(self.db, account)?.map(Arc::new) else { return Ok(None) };
        if self.live.lists.len() >= LISTS_IN_MEMORY_MAX {
            self.live.lists.clear();
        }
        self.live.lists.insert(account, list.clone());
        Ok(Some(list))
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
            self.wake_lanes(list.account);
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
                self.live.lists.remove(&account);
            }
            Some(Ok(Succession::Same)) => device_lists::confirm(self.db, account, now)?,
            Some(Err(SuccessionError::Rollback | SuccessionError::Fork)) => {
                // The known list stays. That the server gives out another one is for the person to know.
                self.report_split_view(account.into(), account, list.version())?;
            }
            Some(Err(SuccessionError::OtherAccount)) => {}
        }
        Ok(ListOutcome::Known)
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
        if device_lists::contradict(self.db, account, version)? {
            let event = EventView::SplitView { chat, account };
            events::log(self.db, self.live.batch, None, &event)?;
            self.effect(crate::Effect::EventsLogged);
        }
        Ok(())
    }
}

/// How content names a list.
pub(crate) fn view_of(list: &DeviceList) -> ListView {
    ListView { version: list.version(), hash: list.hash() }
}
