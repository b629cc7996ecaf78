//! `wax read`: the other side learns that everything was read.

use super::{Stop, chat_name, resolve};
use crate::{
    failure::{Failure, Reason},
    lines::{Line, Read},
    output::Output,
    session::{PATIENCE, Session, Waiting, Woken},
    trouble,
};
use tokio::time::Instant;

/// Marks a chat as read, and waits until the server has the receipt.
pub async fn perform(
    chat: &str,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let deadline = waiting.began() + PATIENCE;
    let chat = resolve(chat_name(chat)?, session, &mut waiting, deadline).await?;
    if let Some(ended) = waiting.progress().ended {
        return Err(trouble::ended(&ended).into());
    }
    let marked = session.driver().call(move |engine, now, rng| engine.mark_read(chat, now, rng)).await;
    let marked =
        marked.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| trouble::fault(&fault))?;
    loop {
        let progress = waiting.progress();
        if session.ask(move |engine, _| engine.view().is_read_accepted(chat)).await? {
            let up_to = marked.up_to.map(|stamp| stamp.to_string());
            output.print(Line::Read(Read { chat: chat.to_string(), up_to }).into()).await?;
            return Ok(());
        }
        if let Some(ended) = &progress.ended {
            return Err(trouble::ended(ended).into());
        }
        let silent_at = progress.silent_at(waiting.began(), PATIENCE);
        if Instant::now() >= silent_at || waiting.until(Some(silent_at)).await == Woken::Hurried {
            let why = trouble::unreachable(waiting.progress().trouble.as_deref()).message;
            let hint =
                "the chat is marked as read here; the receipt goes out with the next command that connects";
            return Err(Failure::new(Reason::NotAcceptedYet, why, hint).into());
        }
    }
}
