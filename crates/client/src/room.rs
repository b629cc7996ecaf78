//! Room for what cannot be opened yet: bounded, shared fairly, and never a reason to leave a row with the server.
//!
//! Invariants: no account holds more than its bound, and none that holds less than another one is pushed out by it.
//! What there is no room for is missed, so that it is asked for and comes again when it can be opened.

use crate::{
    receive::Intake,
    store::{Stored, room, room::Waiting},
    turn::Turn,
};
use types::AccountId;
use wire::Envelope;

/// Envelopes held unopened of one account, and of all, in each place: what others can make us store.
pub(crate) const HELD_OF_ACCOUNT_MAX: u64 = 500;
pub(crate) const HELD_MAX: u64 = 5_000;
/// Why an envelope is missing that there was no room for.
const NO_ROOM: &str = "no_room";

impl Turn<'_> {
    /// An envelope for which there is no room: its content is asked for like anything else that is missing.
    pub(crate) fn pass_over(&mut self, envelope: &Envelope) -> Stored<Intake> {
        self.miss(envelope, NO_ROOM, 0)?;
        Ok(Intake::Done)
    }

    /// Whether one envelope more of an account may be held unopened. Where everything is taken, whoever takes the most
    /// gives way to those who take less.
    pub(crate) fn make_room(&mut self, waiting: Waiting, account: AccountId) -> Stored<bool> {
        let (of_account, all) = room::counts(self.db, waiting, account)?;
        if of_account >= HELD_OF_ACCOUNT_MAX || all < HELD_MAX {
            return Ok(of_account < HELD_OF_ACCOUNT_MAX);
        }
        let Some(greediest) = room::greediest(self.db, waiting, of_account + 1)? else { return Ok(false) };
        if let Some(bytes) = room::take_newest(self.db, waiting, greediest)?
            && let Ok(envelope) = Envelope::decode(bytes)
        {
            self.pass_over(&envelope)?;
        }
        Ok(true)
    }
}
