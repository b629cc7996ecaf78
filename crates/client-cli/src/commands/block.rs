//! `wax block` and `wax unblock`: whom this account does not want to hear.

use super::{Stop, chat_name, resolve_account};
use crate::{
    failure::Failure,
    lines::{Blocked, Line},
    names::Names,
    output::Output,
    session::{PATIENCE, Session, Waiting},
    trouble,
};

/// Decides it here at once; the other devices of the account hear of it with this connection or the next one. What is
/// so already stays so: the command may be repeated.
pub async fn perform(
    typed: &str,
    blocked: bool,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let deadline = waiting.began() + PATIENCE;
    let account = resolve_account(chat_name(typed)?, session, &mut waiting, deadline).await?;
    if session.ask(|engine, _| engine.view().whoami()).await?.is_some_and(|me| me.account == account) {
        return Err(super::oneself().into());
    }
    let driver = session.driver();
    let decided = driver.call(move |engine, now, rng| engine.set_blocked(account, blocked, now, rng)).await;
    decided.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| trouble::fault(&fault))?;
    let batch = session.ask(move |engine, _| {
        let phone = engine.view().phone_of(account)?;
        let lines = vec![Line::Blocked(Blocked::new(account, phone.as_ref(), blocked))];
        let names = Names::of(&lines, engine.view())?;
        Ok((lines, names))
    });
    let batch: Result<_, Failure> = batch.await;
    output.print(batch?.into()).await?;
    Ok(())
}
