//! Commands that make and change groups.

use super::Engine;
use crate::{ChangeId, Fault, GroupCommand, GroupError, InviteLink, store::group_changes};
use rand_core::CryptoRng;
use types::{AccountId, GroupId, Timestamp};

impl Engine {
    /// Makes a group of one's own account and these. Its outcome is an [`crate::Effect::GroupChangeDone`]; asking again
    /// before [`Engine::change_told`] is the same change. A change that never left is forgotten with the process.
    pub fn create_group(
        &mut self,
        name: &str,
        members: &[AccountId],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChangeId, GroupError> {
        self.turn(now, rng, |turn| {
            let change = turn.create_group(name, members)?;
            turn.advance()?;
            Ok(change)
        })?
    }

    /// The person has seen what came of a change: who asks for the same again wants another one.
    pub fn change_told(&mut self, change: ChangeId) -> Result<(), Fault> {
        self.write(|db| group_changes::remove_applied(db, change))
    }

    /// Changes a group, as [`Engine::create_group`] makes one.
    pub fn change_group(
        &mut self,
        group: GroupId,
        command: GroupCommand,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChangeId, GroupError> {
        self.turn(now, rng, |turn| {
            let change = turn.change_group(group, command)?;
            turn.advance()?;
            Ok(change)
        })?
    }

    /// Joins a group by its invite link, as [`Engine::create_group`] makes one.
    pub fn join_group(
        &mut self,
        link: &InviteLink,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<ChangeId, GroupError> {
        self.turn(now, rng, |turn| {
            let change = turn.join_group(link)?;
            turn.advance()?;
            Ok(change)
        })?
    }
}
