//! `wax verify NUMBER --accept`: what is written to a number goes to its new account from now on.

use super::{Stop, bad_number, chat_name, resolve_account};
use crate::{
    failure::Failure,
    lines::{Accepted, Line},
    output::Output,
    session::{PATIENCE, Session, Waiting},
    trouble,
};
use client::ChatName;
use types::PhoneNumber;

/// Only a number can lead to another account than before.
pub fn number(typed: &str) -> Result<PhoneNumber, Failure> {
    match chat_name(typed)? {
        ChatName::Phone(phone) => Ok(phone),
        _ => Err(bad_number()),
    }
}

/// Accepts, and lets what was held go out. Where there is nothing to accept, nothing happens: the command may be
/// repeated.
pub async fn perform(
    typed: &str,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let phone = number(typed)?;
    let asked = phone.clone();
    let driver = session.driver();
    let accepted = driver.call(move |engine, now, rng| engine.accept_key_change(&asked, now, rng)).await;
    let accepted =
        accepted.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| trouble::fault(&fault))?;
    let phone_text = phone.e164().to_owned();
    let line = match accepted {
        Some(change) => Accepted {
            phone: phone_text,
            account: change.account.to_string(),
            old_account: Some(change.old_account.to_string()),
            released: change.released,
        },
        None => {
            let deadline = waiting.began() + PATIENCE;
            let account = resolve_account(ChatName::Phone(phone), session, &mut waiting, deadline).await?;
            Accepted { phone: phone_text, account: account.to_string(), old_account: None, released: 0 }
        }
    };
    output.print(Line::Accepted(line).into()).await?;
    Ok(())
}
