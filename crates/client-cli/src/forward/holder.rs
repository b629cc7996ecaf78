//! The holder's side: takes commands in, does them beside its own, and hands them back when it leaves.

use super::{HEARTBEAT, Reply, Request, VERSION, Word, is_same_user, read, write};
use crate::{
    commands::{self, Stop},
    failure::{Failure, Reason},
    output::{Batch, Output, OutputError},
    profile::{Profile, ProfileLock},
    session::{Session, Waiting, reached},
};
use async_trait::async_trait;
use client::EventId;
use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::BufReader,
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::{interval, timeout},
};

/// Time for the first line of a caller.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A command whose answer is already on its way is finished rather than handed back.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Time for handing everything back.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How far the holder is from leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// New callers wait for the lock; those who are in are served.
    Closed,
    /// Everybody takes over.
    Leaving,
}

/// The open door of a holder.
#[derive(Debug)]
pub struct Door {
    stage: watch::Sender<Stage>,
    served: tokio::task::JoinHandle<()>,
}

impl Door {
    /// Listens, and says so in the lock file. Without a place to listen the holder works alone, and other
    /// processes wait until it has gone.
    pub fn open(profile: &Profile, lock: &mut ProfileLock, session: Session) -> io::Result<Self> {
        let path = profile.socket_path()?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        lock.announce(&path)?;
        let (stage, stage_out) = watch::channel(Stage::Open);
        let served = tokio::spawn(serve_all(listener, path, session, stage_out));
        Ok(Self { stage, served })
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        self.stage.send_replace(Stage::Closed);
    }

    /// Hands back what is not done.
    pub async fn leave(self) {
        self.stage.send_replace(Stage::Leaving);
        let _ = timeout(LEAVE_TIMEOUT, self.served).await;
    }
}

async fn serve_all(
    listener: UnixListener,
    path: PathBuf,
    session: Session,
    mut stage: watch::Receiver<Stage>,
) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    callers.spawn(serve(stream, session.clone(), stage.clone()));
                }
                // Out of descriptors, for instance: the caller tries again.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = callers.join_next() => {}
            () = reached(&mut stage, |stage| *stage >= Stage::Closed) => break,
        }
    }
    drop(listener);
    let _ = fs::remove_file(path);
    while callers.join_next().await.is_some() {}
}

/// Serves one caller. What goes wrong between the two processes ends the caller's command here; the
/// caller asks again or takes over.
async fn serve(stream: UnixStream, session: Session, stage: watch::Receiver<Stage>) {
    if !is_same_user(&stream) {
        return;
    }
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let Ok(Ok(Some(request))) = timeout(REQUEST_TIMEOUT, read::<Request>(&mut reader)).await else { return };
    let caller = Caller(Arc::new(Mutex::new(writer)));
    if request.version != VERSION {
        caller.say(&Reply::Failed(other_version())).await;
        return;
    }
    let printed: Vec<EventId> = request.printed.iter().copied().map(EventId).collect();
    if !printed.is_empty() && session.mark_printed(printed).await.is_err() {
        return;
    }
    // A new command always tries to connect at once.
    if request.job.connects() && session.connect().await.is_err() {
        return;
    }
    if let Some(last) = do_for(&caller, reader, request, session, stage).await {
        caller.say(&last).await;
    }
}

/// Does the command until it ends, the caller goes, or the holder leaves; the last reply, if anybody is there.
async fn do_for(
    caller: &Caller,
    reader: BufReader<OwnedReadHalf>,
    request: Request,
    session: Session,
    mut stage: watch::Receiver<Stage>,
) -> Option<Reply> {
    let (printed, printed_out) = mpsc::channel(1);
    let (answers, answers_out) = mpsc::channel(1);
    let (hurry, hurry_out) = watch::channel(false);
    let progress = session.driver().progress();
    let waiting = Waiting::new(&session, hurry_out);
    let mut output = CallerOutput { caller: caller.clone(), printed: printed_out, answers: answers_out };
    // What has no end of its own would only keep the holder.
    let last_words = if request.job.prints_events() { Duration::ZERO } else { LAST_WORDS };
    let performed = commands::perform(request.job, &session, waiting, &mut output);
    let listened = listen(reader, Heard { printed, answers, hurry });
    let mut heartbeat = interval(HEARTBEAT);
    tokio::pin!(performed, listened);
    loop {
        tokio::select! {
            biased;
            result = &mut performed => return last_reply(result),
            () = &mut listened => return None,
            () = reached(&mut stage, |stage| *stage == Stage::Leaving) => break,
            _ = heartbeat.tick() => {
                let connected = progress.borrow().connections > 0;
                caller.say(&Reply::Alive { connected }).await;
            }
        }
    }
    tokio::select! {
        biased;
        result = timeout(last_words, &mut performed) => result.map_or(Some(Reply::Leaving), last_reply),
        () = &mut listened => None,
    }
}

fn last_reply(result: Result<(), Stop>) -> Option<Reply> {
    match result {
        Ok(()) => Some(Reply::Done),
        Err(Stop::Failed(failure)) => Some(Reply::Failed(failure)),
        Err(Stop::OutputClosed) => None,
    }
}

/// Where each of the caller's words goes.
struct Heard {
    printed: mpsc::Sender<()>,
    answers: mpsc::Sender<bool>,
    hurry: watch::Sender<bool>,
}

/// Hears what the caller says until it goes.
async fn listen(mut reader: BufReader<OwnedReadHalf>, heard: Heard) {
    while let Ok(Some(word)) = read::<Word>(&mut reader).await {
        let is_wanted = match word {
            Word::Printed => heard.printed.send(()).await.is_ok(),
            Word::Answer(answer) => heard.answers.send(answer).await.is_ok(),
            Word::Hurry => {
                heard.hurry.send_replace(true);
                true
            }
        };
        if !is_wanted {
            return;
        }
    }
}

fn other_version() -> Failure {
    Failure::new(
        Reason::ProfileBusy,
        "another version of wax is using this profile",
        "let that command end, or stop it, and run this one again",
    )
}

/// The way to a caller, shared by its command's output and the heartbeat.
#[derive(Clone)]
struct Caller(Arc<Mutex<OwnedWriteHalf>>);

impl Caller {
    /// False if the caller has gone.
    async fn say(&self, reply: &Reply) -> bool {
        write(&mut *self.0.lock().await, reply).await.is_ok()
    }
}

/// The output of a command whose streams belong to another process.
struct CallerOutput {
    caller: Caller,
    printed: mpsc::Receiver<()>,
    answers: mpsc::Receiver<bool>,
}

#[async_trait]
impl Output for CallerOutput {
    async fn print(&mut self, batch: Batch) -> Result<(), OutputError> {
        let said = self.caller.say(&Reply::Lines(batch)).await;
        if said && self.printed.recv().await.is_some() { Ok(()) } else { Err(OutputError::Closed) }
    }

    async fn note(&mut self, text: &str) {
        self.caller.say(&Reply::Note(text.to_owned())).await;
    }

    async fn confirm(&mut self, question: &str) -> Result<bool, OutputError> {
        let said = self.caller.say(&Reply::Ask(question.to_owned())).await;
        let answer = if said { self.answers.recv().await } else { None };
        answer.ok_or(OutputError::Closed)
    }
}
