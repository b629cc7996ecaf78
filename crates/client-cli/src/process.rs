//! The life of a process whose command needs the engine: it holds the profile, or asks the process that
//! does, and takes over from one that leaves or dies. It ends with its command.

use crate::{
    commands::{self, Job, Stop},
    failure::{Failure, Reason},
    forward::{
        caller::{Asked, ask},
        holder::Door,
    },
    output::Terminal,
    profile::{Profile, ProfileLock, not_registered},
    session::{Session, Waiting, Woken},
    trouble,
};
use client::{Engine, EventId, database};
use client_net::Driver;
use rand::{Rng as _, TryRngCore as _, rngs::OsRng};
use std::time::Duration;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep},
};

/// How long a process waits for a holder that cannot be spoken to. A holder that leaves may still wait
/// for its server, and a registration for its answers.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
/// What an interrupted command may still take to hand over what it holds.
const HURRIED_PATIENCE: Duration = Duration::from_secs(2);

/// Does a command, as holder of the profile or through it.
pub async fn run(profile: &Profile, job: &Job, terminal: &mut Terminal) -> Result<(), Stop> {
    if !profile.exists() {
        return Err(not_registered().into());
    }
    let began = Instant::now();
    let hurry = interruptions();
    let mut was_connected = false;
    let mut last_met = began;
    loop {
        let rest = rest_of(job, began.elapsed(), terminal, was_connected);
        if let Some(lock) = profile.try_lock()? {
            return hold(profile, lock, rest, terminal, hurry).await;
        }
        if let Some(address) = profile.holder_address() {
            match ask(&address, rest, terminal, hurry.clone()).await {
                Asked::Finished(result) => return result,
                Asked::Alone { met, connected } => {
                    was_connected |= connected;
                    if met {
                        last_met = Instant::now();
                    }
                }
            }
        }
        if last_met.elapsed() > BUSY_PATIENCE {
            return Err(busy().into());
        }
        if *hurry.borrow() {
            return Err(interrupted().into());
        }
        // Many may wait for the same holder.
        sleep(Duration::from_millis(OsRng.unwrap_err().random_range(5..40))).await;
    }
}

/// What is left of a command.
fn rest_of(job: &Job, elapsed: Duration, terminal: &mut Terminal, was_connected: bool) -> Job {
    let mut rest = job.resumed(elapsed, terminal.messages_printed());
    match &mut rest {
        Job::Receive(receive) => receive.was_connected = was_connected,
        _ => terminal.repeat(),
    }
    rest
}

/// Holds the profile: does the command, serves the others meanwhile, and leaves nothing half done.
async fn hold(
    profile: &Profile,
    mut lock: ProfileLock,
    job: Job,
    terminal: &mut Terminal,
    hurry: watch::Receiver<bool>,
) -> Result<(), Stop> {
    let (driver, task) = Driver::start(open_engine(profile)?);
    let session = Session::new(driver.clone());
    let printed: Vec<EventId> = terminal.unconfirmed().iter().copied().map(EventId).collect();
    if !printed.is_empty() {
        session.mark_printed(printed).await?;
    }
    let door = Door::open(profile, &mut lock, session.clone())
        .map_err(|error| terminal.remark(&format!("other wax commands have to wait for this one: {error}")))
        .ok();
    if job.connects() {
        session.connect().await?;
    }
    let waiting = Waiting::new(&session, hurry);
    let patience = job.patience();
    let result = commands::perform(job, &session, waiting.clone(), terminal).await;
    if let Some(door) = &door {
        door.close();
    }
    settle(&session, waiting, patience).await;
    if let Some(door) = door {
        door.leave().await;
    }
    driver.stop().await;
    // The database is closed before the lock is given up.
    let _ = task.await;
    drop(lock);
    result
}

/// Stays until the mailbox is drained and everything that goes out was accepted, or the server is silent.
async fn settle(session: &Session, mut waiting: Waiting, patience: Duration) {
    if session.driver().hurry().await.is_err() || session.driver().call(|_, _, _| ()).await.is_err() {
        return;
    }
    let mut patience_ends = None;
    loop {
        let progress = waiting.progress();
        if progress.settled || progress.ended.is_some() || !progress.wanted {
            return;
        }
        // A word from the server meanwhile puts the end of our patience off.
        let silent_at = progress.silent_at(waiting.began(), patience);
        let until = patience_ends.map_or(silent_at, |ends: Instant| ends.min(silent_at));
        if Instant::now() >= until {
            return;
        }
        match waiting.until(Some(until)).await {
            Woken::Changed | Woken::TimeUp => {}
            Woken::Hurried => {
                patience_ends = Some(Instant::now() + HURRIED_PATIENCE);
                waiting = waiting.unhurried();
            }
        }
    }
}

/// Opens the profile's database for writing; the caller holds the lock.
pub fn open_engine(profile: &Profile) -> Result<Engine, Failure> {
    let engine = open_unregistered(profile)?;
    match engine.view().whoami() {
        Ok(Some(_)) => Ok(engine),
        Ok(None) => Err(not_registered()),
        Err(fault) => Err(trouble::fault(&fault)),
    }
}

/// The same, whether or not there is an account.
pub fn open_unregistered(profile: &Profile) -> Result<Engine, Failure> {
    let path = profile.database();
    database::open(&path).and_then(Engine::open).map_err(|error| trouble::cannot_open(&error, &path))
}

/// Becomes true when the person wants the command to end. A second time ends the process at once.
fn interruptions() -> watch::Receiver<bool> {
    let (hurry, hurry_out) = watch::channel(false);
    tokio::spawn(async move {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else { return };
        for times in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if times > 0 {
                std::process::exit(130);
            }
            hurry.send_replace(true);
        }
    });
    hurry_out
}

/// The profile is held by a process that cannot be spoken to.
pub fn busy() -> Failure {
    Failure::new(
        Reason::ProfileBusy,
        "another wax process is using this profile and does not answer",
        "let it end, or stop it; then run the command again (for a send with the same --message-id)",
    )
}

fn interrupted() -> Failure {
    Failure::new(Reason::ProfileBusy, "interrupted while another wax process was using this profile", "")
}
