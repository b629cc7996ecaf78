//! Commands about other people: who they are, whether they are who they say, and whether one wants to hear them.

use super::Engine;
use crate::{AcceptedChange, Fault, store::contacts};
use rand_core::CryptoRng;
use types::{AccountId, PhoneNumber, Timestamp};

impl Engine {
    /// Asks the server which account a number leads to: [`crate::Effect::LookedUp`]. Forgotten with the process.
    pub fn look_up(
        &mut self,
        phone: PhoneNumber,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Fault> {
        self.look_up_all([phone], now, rng)
    }

    /// The same for several numbers: one [`crate::Effect::LookedUp`] each.
    pub fn look_up_all(
        &mut self,
        phones: impl IntoIterator<Item = PhoneNumber>,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            turn.live.lookups.extend(phones);
            turn.advance()
        })
    }

    /// Asks for the newest device lists of these accounts, so that [`crate::View::safety`] can answer and [`crate::View::is_closed`] is
    /// up to date.
    pub fn fetch_device_lists(
        &mut self,
        accounts: &[AccountId],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            accounts.iter().for_each(|account| turn.want_list(*account));
            turn.advance()
        })
    }

    /// Remembers that the safety number with this account was compared. False if the account is not known.
    pub fn mark_verified(
        &mut self,
        account: AccountId,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<bool, Fault> {
        self.turn(now, rng, |turn| {
            let is_known = contacts::set_verified(turn.db, account)?;
            if is_known {
                turn.tell_contact(account, false)?;
            }
            turn.advance()?;
            Ok(is_known)
        })
    }

    /// Blocks an account or ends that, on all devices of this one: what it writes one-to-one meanwhile is neither shown
    /// nor receipted, then or later. False if it is so already, or the account is one's own.
    pub fn set_blocked(
        &mut self,
        account: AccountId,
        blocked: bool,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<bool, Fault> {
        self.turn(now, rng, |turn| {
            let changed = turn.set_blocked(account, blocked)?;
            turn.advance()?;
            Ok(changed)
        })
    }

    /// Accepts the account that a number leads to now: the number moves to it, and what was held for the number
    /// is sent there. None if the number leads where it led.
    pub fn accept_key_change(
        &mut self,
        phone: &PhoneNumber,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Option<AcceptedChange>, Fault> {
        self.turn(now, rng, |turn| {
            let accepted = turn.accept_key_change(phone)?;
            turn.advance()?;
            Ok(accepted)
        })
    }
}
