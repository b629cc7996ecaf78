//! The caller's side: hands a command to the holder and prints what comes back.

use super::{Reply, Request, VERSION, Word, is_same_user, read, write};
use crate::{
    commands::{Job, Stop},
    output::{Output as _, Terminal},
    session::reached,
};
use std::{path::Path, time::Duration};
use tokio::{
    io::BufReader,
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// Time for a holder that listens to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A holder that says nothing for this long, not even that it is alive, is stopped or stuck.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What became of a command that was handed over.
#[derive(Debug)]
pub enum Asked {
    /// The holder did it.
    Finished(Result<(), Stop>),
    /// The holder left, died, or fell silent: take over, or ask the next one.
    Alone {
        /// It did speak to us.
        met: bool,
        /// It was connected to the server.
        connected: bool,
    },
}

/// Hands a command to the holder that listens at `address`.
pub async fn ask(
    address: &Path,
    job: Job,
    terminal: &mut Terminal,
    mut hurry: watch::Receiver<bool>,
) -> Asked {
    let mut connected = false;
    let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, UnixStream::connect(address)).await else {
        return Asked::Alone { met: false, connected };
    };
    if !is_same_user(&stream) {
        return Asked::Alone { met: false, connected };
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let request = Request { version: VERSION.into(), job, printed: terminal.unconfirmed().to_vec() };
    if write(&mut writer, &request).await.is_err() {
        return Asked::Alone { met: false, connected };
    }
    let mut met = false;
    loop {
        let reply = tokio::select! {
            reply = next_reply(&mut reader, &mut writer, &mut hurry) => reply,
            () = sleep_until(Instant::now() + SILENCE_MAX) => None,
        };
        let Some(reply) = reply else { return Asked::Alone { met, connected } };
        met = true;
        match reply {
            Reply::Lines(batch) => {
                terminal.confirmed();
                if let Err(error) = terminal.print(batch).await {
                    return Asked::Finished(Err(error.into()));
                }
                // If the holder is gone, the next read says so.
                let _ = write(&mut writer, &Word::Printed).await;
            }
            Reply::Note(text) => terminal.note(&text).await,
            Reply::Ask(question) => {
                let answer = answer(&question, terminal, &mut hurry).await;
                let _ = write(&mut writer, &Word::Answer(answer)).await;
            }
            Reply::Done => {
                terminal.confirmed();
                return Asked::Finished(Ok(()));
            }
            Reply::Failed(failure) => return Asked::Finished(Err(failure.into())),
            Reply::Alive { connected: now } => connected |= now,
            Reply::Leaving => return Asked::Alone { met, connected },
        }
    }
}

/// What the person says. Somebody who wants the command to end does not agree to anything.
async fn answer(question: &str, terminal: &mut Terminal, hurry: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        () = reached(hurry, |hurry| *hurry) => false,
        answer = terminal.confirm(question) => answer.unwrap_or(false),
    }
}

/// The next reply; passes the person's wish to end on to the holder meanwhile. None if the holder is gone.
async fn next_reply(
    reader: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    hurry: &mut watch::Receiver<bool>,
) -> Option<Reply> {
    let reply = read::<Reply>(reader);
    tokio::pin!(reply);
    let mut told = false;
    loop {
        tokio::select! {
            reply = &mut reply => return reply.ok().flatten(),
            () = reached(hurry, |hurry| *hurry), if !told => {
                told = true;
                write(writer, &Word::Hurry).await.ok()?;
            }
        }
    }
}
