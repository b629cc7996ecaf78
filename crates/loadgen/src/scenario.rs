//! The scenarios of docs/benchmarks.md.

use crate::{
    cost::{Meter, kernel_objects, resident},
    device::{Connection, Device, Service, mark, send},
    report::{Report, round},
    tally::Tally,
};
use anyhow::{Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::{SeedableRng, rngs::SmallRng};
use std::time::{Duration, Instant};
use tokio::{task::LocalSet, time::sleep_until};
use types::{MailboxId, Position};
use wire::{Delivery, Push, Request, Response, ServerFrame};

/// How long the last deliveries may take after the last send.
const SETTLE: Duration = Duration::from_secs(5);

/// Between looks at whether a run has settled.
const LOOK: Duration = Duration::from_millis(20);
/// Registrations and logins under way at once: they share commits of the directory.
pub(crate) const AT_ONCE: usize = 16;

/// Registers devices of so many new accounts.
pub(crate) async fn registered(service: &Service, count: usize) -> Result<Vec<Device>> {
    stream::iter(0..count).map(|_| service.register()).buffered(AT_ONCE).try_collect().await
}

/// Opens a session of each device.
pub(crate) async fn connected(service: &Service, devices: &mut [Device]) -> Result<Vec<Connection>> {
    stream::iter(devices).map(|device| service.connect(device)).buffered(AT_ONCE).try_collect().await
}

/// Acknowledges rows.
pub(crate) async fn ack(connection: &mut Connection, rows: &[Delivery]) -> Result<()> {
    let positions: Vec<Position> = rows.iter().map(|row| row.position).collect();
    connection.ask(Request::Ack(positions)).await?;
    Ok(())
}

/// Handles what is not an answer to a send.
async fn receive(connection: &mut Connection, frame: ServerFrame, tally: &Tally) -> Result<()> {
    match frame {
        ServerFrame::Push(Push::Deliver(rows)) => {
            for row in &rows {
                tally.delivered_since(mark(&row.envelope)?);
            }
            ack(connection, &rows).await
        }
        ServerFrame::Push(Push::Closing(refusal)) => bail!("the server ended the session: {refusal}"),
        ServerFrame::Answer { result: Err(refusal), .. } => {
            tally.refuse();
            eprintln!("refused: {refusal}");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Both ends of each pair send with a window; what comes is acknowledged.
pub(crate) async fn throughput(
    service: &Service,
    pairs: usize,
    seconds: u64,
    window: usize,
) -> Result<Report> {
    let mut devices = registered(service, pairs * 2).await?;
    let connections = connected(service, &mut devices).await?;
    let tally = Tally::new()?;
    let meter = Meter::start(service.pid)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks = LocalSet::new();
    for (index, connection) in connections.into_iter().enumerate() {
        let peer = devices[index ^ 1].mailbox;
        let tally = tally.clone();
        tasks.spawn_local(async move {
            if let Err(error) = windowed(connection, peer, window, end, &tally, index as u64).await {
                eprintln!("a device stopped: {error:#}");
            }
        });
    }
    tasks.await;
    let used = meter.stop()?;
    let (accepted, delivered) = (tally.accepted.get(), tally.delivered.get());
    Ok(Report::new("throughput")
        .figure("messages_per_second", round(accepted as f64 / tally.accepting().as_secs_f64()))
        .figure("accepted", accepted)
        .figure("delivered", delivered)
        .figure("refused", tally.refused.get())
        .cost(&used, accepted)
        .latencies("accepted", &tally.accept_latency.borrow())
        .latencies("delivered", &tally.delivery_latency.borrow()))
}

async fn windowed(
    mut connection: Connection,
    peer: MailboxId,
    window: usize,
    end: Instant,
    tally: &Tally,
    seed: u64,
) -> Result<()> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut unanswered = std::collections::BTreeMap::new();
    let stop = end + SETTLE;
    loop {
        while unanswered.len() < window && Instant::now() < end {
            let now = tally.now_us();
            unanswered.insert(connection.ask(send(peer, now, &mut rng)).await?, now);
            tally.send();
        }
        let now = Instant::now();
        if now >= stop || now >= end && tally.is_settled() {
            return Ok(());
        }
        let Ok(frame) = tokio::time::timeout(LOOK, connection.next()).await else { continue };
        let frame = frame?;
        match frame {
            ServerFrame::Answer { id, result: Ok(Response::Accepted { .. }) } => {
                if let Some(sent) = unanswered.remove(&id) {
                    tally.accepted_since(sent);
                }
            }
            ServerFrame::Answer { id, result: Err(refusal) } => {
                unanswered.remove(&id);
                receive(&mut connection, ServerFrame::Answer { id, result: Err(refusal) }, tally).await?;
            }
            other => receive(&mut connection, other, tally).await?,
        }
    }
}

/// Sends leave at their appointed times, whatever the answers do; the mark is the appointed time, so that a
/// stall counts for every message that it delayed.
pub(crate) async fn latency(service: &Service, pairs: usize, rate: u64, seconds: u64) -> Result<Report> {
    let mut devices = registered(service, pairs * 2).await?;
    let connections = connected(service, &mut devices).await?;
    let tally = Tally::new()?;
    let meter = Meter::start(service.pid)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks = LocalSet::new();
    let interval = Duration::from_micros(1_000_000 * pairs as u64 / rate.max(1));
    for (index, connection) in connections.into_iter().enumerate() {
        let peer = devices[index ^ 1].mailbox;
        let sends = index % 2 == 0;
        let tally = tally.clone();
        // Pairs start at different times within the interval, or all would send at once.
        let offset = interval.mul_f64((index / 2) as f64 / pairs as f64);
        tasks.spawn_local(async move {
            let result =
                appointed(connection, peer, sends.then_some(interval), offset, end, &tally, index as u64)
                    .await;
            if let Err(error) = result {
                eprintln!("a device stopped: {error:#}");
            }
        });
    }
    tasks.await;
    let used = meter.stop()?;
    Ok(Report::new("latency")
        .figure("rate", rate)
        .figure("accepted", tally.accepted.get())
        .figure("delivered", tally.delivered.get())
        .figure("refused", tally.refused.get())
        .cost(&used, tally.accepted.get())
        .latencies("accepted", &tally.accept_latency.borrow())
        .latencies("delivered", &tally.delivery_latency.borrow()))
}

async fn appointed(
    mut connection: Connection,
    peer: MailboxId,
    interval: Option<Duration>,
    offset: Duration,
    end: Instant,
    tally: &Tally,
    seed: u64,
) -> Result<()> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut unanswered = std::collections::BTreeMap::new();
    let mut next = Instant::now() + offset;
    let stop = end + Duration::from_secs(1);
    loop {
        let alarm = if interval.is_some() && next < end { next } else { stop };
        tokio::select! {
            biased;
            frame = connection.next() => match frame? {
                ServerFrame::Answer { id, result: Ok(Response::Accepted { .. }) } => {
                    if let Some(sent) = unanswered.remove(&id) {
                        tally.accepted_since(sent);
                    }
                }
                other => receive(&mut connection, other, tally).await?,
            },
            () = sleep_until(alarm.into()) => {
                let Some(interval) = interval.filter(|_| next < end) else { return Ok(()) };
                let due = u64::try_from(next.duration_since(tally.started).as_micros()).unwrap_or(0);
                unanswered.insert(connection.ask(send(peer, due, &mut rng)).await?, due);
                tally.send();
                next += interval;
            }
        }
    }
}

/// Opens many sessions, lets them rest, and divides.
pub(crate) async fn idle(service: &Service, connections: usize) -> Result<Report> {
    let mut devices = registered(service, connections).await?;
    // Every device once, a few at a time: what the server keeps of accounts is bounded and shared by all
    // connections, and what it builds once is not to be counted for each.
    let visits = stream::iter(devices.iter_mut()).map(async |device| service.connect(device).await.map(drop));
    visits.buffered(AT_ONCE).try_collect::<()>().await?;
    let mut open = vec![service.connect(&mut devices[0]).await?];
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, objects_before) = (resident(service.pid)?, kernel_objects()?);
    let meter = Meter::start(service.pid)?;
    open.extend(connected(service, &mut devices[1..]).await?);
    let used = meter.stop()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (after, objects_after) = (resident(service.pid)?, kernel_objects()?);
    let opened = (open.len() - 1) as u64;
    Ok(Report::new("idle")
        .figure("connections", opened)
        .figure("resident_before_mb", round(before as f64 / 1e6))
        .figure("resident_after_mb", round(after as f64 / 1e6))
        .figure("resident_bytes_per_connection", after.saturating_sub(before) / opened.max(1))
        .figure(
            "kernel_bytes_per_connection_both_ends",
            objects_after.saturating_sub(objects_before) / opened.max(1),
        )
        .figure("login_cpu_us", round(used.cpu.as_secs_f64() * 1e6 / opened.max(1) as f64))
        .figure("valid", true))
}

/// Fills one mailbox while its device is away, then measures until `Drained`.
pub(crate) async fn drain(service: &Service, messages: usize) -> Result<Report> {
    let mut devices = registered(service, 2).await?;
    let peer = devices[1].mailbox;
    let tally = Tally::new()?;
    let mut sender = service.connect(&mut devices[0]).await?;
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut sent, mut answered) = (0, 0);
    while answered < messages {
        while sent < messages && sent - answered < 64 {
            sender.ask(send(peer, tally.now_us(), &mut rng)).await?;
            sent += 1;
        }
        match sender.next().await? {
            ServerFrame::Answer { result: Ok(Response::Accepted { .. }), .. } => answered += 1,
            ServerFrame::Answer { result: Err(refusal), .. } => bail!("refused: {refusal}"),
            _ => {}
        }
    }
    let meter = Meter::start(service.pid)?;
    let started = Instant::now();
    let mut receiver = service.connect(&mut devices[1]).await?;
    let mut received = 0_u64;
    loop {
        match receiver.next().await? {
            ServerFrame::Push(Push::Deliver(rows)) => {
                received += rows.len() as u64;
                ack(&mut receiver, &rows).await?;
            }
            ServerFrame::Push(Push::Drained) => break,
            _ => {}
        }
    }
    let drained = started.elapsed();
    let used = meter.stop()?;
    Ok(Report::new("drain")
        .figure("messages", received)
        .figure("drained_ms", round(drained.as_secs_f64() * 1_000.0))
        .cost(&used, received))
}
