//! `wax verify`: the number that two people compare.

use super::{Stop, chat_name, resolve_account};
use crate::{
    failure::{Failure, Reason},
    lines::{Line, Verification},
    output::Output,
    session::{PATIENCE, Session, Waiting, Woken},
    trouble,
};
use client::Safety;
use serde::{Deserialize, Serialize};
use types::AccountId;

/// Whose number, and whether it was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The chat, as it was typed.
    pub chat: String,
    /// Remember that it was compared.
    pub mark: bool,
}

/// Finds the account's keys if they are not known yet, and prints the safety number.
pub async fn perform(
    job: Job,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let deadline = waiting.began() + PATIENCE;
    let chat = resolve_account(chat_name(&job.chat)?, session, &mut waiting, deadline).await?;
    if session.ask(|engine, _| engine.view().whoami()).await?.is_some_and(|me| me.account == chat) {
        return Err(super::oneself().into());
    }
    if safety(chat, job.mark, session).await?.is_none() {
        let asked =
            session.driver().call(move |engine, now, rng| engine.fetch_device_lists(&[chat], now, rng)).await;
        asked.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| trouble::fault(&fault))?;
        session.connect().await?;
    }
    let safety = loop {
        let progress = waiting.progress();
        let answered = session.ask(|engine, _| Ok(engine.is_settled())).await?;
        if let Some(safety) = safety(chat, job.mark, session).await? {
            break safety;
        }
        if let Some(ended) = &progress.ended {
            return Err(trouble::ended(ended).into());
        }
        if answered || waiting.until(Some(deadline)).await != Woken::Changed {
            return Err(unknown_keys(answered, &mut waiting).into());
        }
    };
    let line = Verification { safety_number: safety.safety_number, verified: safety.verified };
    output.print(Line::Verification(line).into()).await?;
    Ok(())
}

async fn safety(chat: AccountId, mark: bool, session: &Session) -> Result<Option<Safety>, Failure> {
    let asked = session.driver().call(move |engine, now, rng| {
        if mark && engine.view().safety(chat)?.is_some() {
            engine.mark_verified(chat, now, rng)?;
        }
        engine.view().safety(chat)
    });
    asked.await.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| trouble::fault(&fault))
}

/// The server said everything that it will and gave no keys, or it did not answer.
fn unknown_keys(answered: bool, waiting: &mut Waiting) -> Failure {
    if answered {
        return super::unknown_recipient();
    }
    let progress = waiting.progress();
    Failure::new(
        Reason::Unavailable,
        format!(
            "the keys of this account are not known here, and {}",
            trouble::unreachable(progress.trouble.as_deref()).message
        ),
        "run the command again when the server answers",
    )
}
