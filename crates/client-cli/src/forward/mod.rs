//! One process holds a profile; the others hand their commands to it over a Unix socket.
//!
//! JSON lines in both directions. The caller sends one [`Request`], then a [`Word`] after each batch of
//! lines that it has written and flushed. The holder answers with [`Reply`]s; when it leaves or dies, the
//! caller takes over or asks the next holder, with the same message id and without what it has printed.
//!
//! Both sides check that the other one is the same user. Nothing here is a protocol between versions: a
//! holder of another version is not asked.

pub mod caller;
pub mod holder;

use crate::{commands::Job, failure::Failure, output::Batch};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Which language this is: the version of the program that speaks it.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A holder says that it is alive this often.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Longer than any batch: its text is bounded, and JSON writes no byte as more than six.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A command, handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The caller's version.
    pub version: String,
    /// What to do.
    pub job: Job,
    /// Events that the caller has printed and an earlier holder may not have marked.
    pub printed: Vec<i64>,
}

/// What a caller says while its command is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The last batch was written and flushed.
    Printed,
    /// The person wants the command to end.
    Hurry,
    /// What the person said to the last question.
    Answer(bool),
}

/// What the holder says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Lines to print. The holder waits for [`Word::Printed`].
    Lines(Batch),
    /// A remark for the person.
    Note(String),
    /// A question for the person. The holder waits for [`Word::Answer`].
    Ask(String),
    /// The command is done.
    Done,
    /// The command failed.
    Failed(Failure),
    /// The holder is there, and the command goes on.
    Alive {
        /// It has been connected since it holds the profile.
        connected: bool,
    },
    /// The holder leaves: take over.
    Leaving,
}

/// Whether the process at the other end belongs to this user.
fn is_same_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

/// Reads one line; none at the end of the stream.
async fn read<T: DeserializeOwned>(stream: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Ok(None);
    }
    serde_json::from_slice(&line).map(Some).map_err(io::Error::from)
}

/// Writes one line.
async fn write(stream: &mut OwnedWriteHalf, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}
