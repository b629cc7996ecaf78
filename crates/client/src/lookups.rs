//! Numbers and the accounts that they lead to: asked for by commands, and checked where a contact claims one.

use crate::{
    Closed, Effect, LookupRefused,
    live::Asked,
    store::{Stored, contacts},
    turn::Turn,
};
use std::collections::BTreeSet;
use types::{AccountId, PhoneNumber, limits::LOOKUP_NUMBERS_MAX};
use wire::{Refusal, Request};

/// Claims that are checked at a time.
const CLAIMS_AT_ONCE: usize = 16;

impl Turn<'_> {
    pub(crate) fn advance_lookups(&mut self) -> Stored<()> {
        // Where a number led before may be in the mailbox, from another device of ours: who sends to a number that has
        // moved since must hear of that first.
        let is_behind = self.live.is_draining() && !self.peers(&[self.me.account()])?.is_empty();
        let lookups = if is_behind { BTreeSet::new() } else { std::mem::take(&mut self.live.lookups) };
        let lookups = Vec::from_iter(lookups);
        for numbers in lookups.chunks(LOOKUP_NUMBERS_MAX) {
            let request = Request::Lookup { numbers: numbers.to_vec(), verify_sender: false };
            self.request(request, Asked::LookUp(numbers.to_vec()));
        }
        let is_checking = self.live.is_asked(|asked| matches!(asked, Asked::CheckClaim { .. }));
        if !self.live.has_claims || is_checking {
            return Ok(());
        }
        self.live.has_claims = false;
        for (account, phone) in contacts::claims(self.db, CLAIMS_AT_ONCE)? {
            let request = Request::Lookup { numbers: vec![phone.clone()], verify_sender: true };
            self.request(request, Asked::CheckClaim { account, phone });
        }
        Ok(())
    }

    /// What the server says of numbers, in the order in which they were asked for.
    pub(crate) fn looked_up(&mut self, phones: Vec<PhoneNumber>, found: &[Option<AccountId>]) -> Stored<()> {
        if found.len() != phones.len() {
            self.live.lookups.extend(phones);
            self.close(Closed::Protocol);
            return Ok(());
        }
        phones.into_iter().zip(found).try_for_each(|(phone, account)| self.number_found(phone, *account))
    }

    fn number_found(&mut self, phone: PhoneNumber, account: Option<AccountId>) -> Stored<()> {
        match account {
            Some(account) => self.learn_number(&phone, account)?,
            None => self.forget_number(&phone)?,
        }
        // What the person has not accepted yet is not where the number leads.
        let account = contacts::last_account_of(self.db, &phone)?;
        self.effect(Effect::LookedUp { phone, result: Ok(account) });
        Ok(())
    }

    /// Writes where a number leads, and lets our other devices know, if that is new.
    fn learn_number(&mut self, phone: &PhoneNumber, account: AccountId) -> Stored<()> {
        let known = contacts::phone_of(self.db, account)?;
        self.set_number(phone, account)?;
        let now_known = contacts::phone_of(self.db, account)?;
        let is_news = now_known != known && account != self.me.account();
        if is_news { self.tell_contact(account, false) } else { Ok(()) }
    }

    pub(crate) fn look_up_refused(&mut self, phones: Vec<PhoneNumber>, refusal: &Refusal) {
        let refused = LookupRefused { retry_after: refusal.retry_after };
        for phone in phones {
            self.effect(Effect::LookedUp { phone, result: Err(refused) });
        }
    }

    /// A claim is believed only if the number leads to the account that made it.
    pub(crate) fn claim_checked(
        &mut self,
        account: AccountId,
        phone: &PhoneNumber,
        found: Option<AccountId>,
    ) -> Stored<()> {
        // There may be more claims than were checked at a time.
        self.live.has_claims = true;
        if found == Some(account) {
            self.set_number(phone, account)
        } else {
            contacts::drop_claim(self.db, account)
        }
    }
}
