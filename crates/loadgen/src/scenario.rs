//! The scenarios of docs/benchmarks.md.

use crate::{
    cost::{Meter, resident},
    device::{Connection, Device, Service, mark, send},
    report::{Report, round},
};
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rand::{SeedableRng, rngs::SmallRng};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{task::LocalSet, time::sleep_until};
use types::{MailboxId, Position};
use wire::{Delivery, Push, Request, Response, ServerFrame};

/// How long the last deliveries may take after the last send.
const SETTLE: Duration = Duration::from_secs(5);

/// Counters that the tasks of one run share.
struct Tally {
    started: Instant,
    accepted: Cell<u64>,
    delivered: Cell<u64>,
    refused: Cell<u64>,
    accept_latency: RefCell<Histogram<u64>>,
    delivery_latency: RefCell<Histogram<u64>>,
}

impl Tally {
    fn new() -> Result<Rc<Self>> {
        Ok(Rc::new(Self {
            started: Instant::now(),
            accepted: Cell::new(0),
            delivered: Cell::new(0),
            refused: Cell::new(0),
            accept_latency: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3)?),
            delivery_latency: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3)?),
        }))
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn accepted_since(&self, sent_us: u64) {
        self.accepted.set(self.accepted.get() + 1);
        self.accept_latency.borrow_mut().saturating_record(self.now_us().saturating_sub(sent_us));
    }

    fn delivered_since(&self, sent_us: u64) {
        self.delivered.set(self.delivered.get() + 1);
        self.delivery_latency.borrow_mut().saturating_record(self.now_us().saturating_sub(sent_us));
    }
}

async fn registered(service: &Service, count: usize) -> Result<Vec<Device>> {
    let mut devices = Vec::with_capacity(count);
    for index in 0..count {
        if index > 0 && index % 1_000 == 0 {
            eprintln!("registered {index} of {count} devices");
        }
        devices.push(service.register(index).await.with_context(|| format!("registering device {index}"))?);
    }
    Ok(devices)
}

async fn ack(connection: &mut Connection, rows: &[Delivery]) -> Result<()> {
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
            tally.refused.set(tally.refused.get() + 1);
            eprintln!("refused: {refusal}");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Both ends of each pair send with a window; what comes is acknowledged.
pub(crate) async fn throughput(
    service: &Service,
    pid: u32,
    pairs: usize,
    seconds: u64,
    window: usize,
) -> Result<Report> {
    let mut devices = registered(service, pairs * 2).await?;
    let mut connections = Vec::new();
    for device in &mut devices {
        connections.push(service.connect(device).await?);
    }
    let tally = Tally::new()?;
    let meter = Meter::start(pid)?;
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
        .figure("messages_per_second", round(accepted as f64 / seconds as f64))
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
        }
        let frame = match tokio::time::timeout_at(stop.into(), connection.next()).await {
            Ok(frame) => frame?,
            Err(_) => return Ok(()),
        };
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
        let settled = unanswered.is_empty() && tally.delivered.get() >= tally.accepted.get();
        if Instant::now() >= end && settled {
            return Ok(());
        }
    }
}

/// Sends leave at their appointed times, whatever the answers do; the mark is the appointed time, so that a
/// stall counts for every message that it delayed.
pub(crate) async fn latency(
    service: &Service,
    pid: u32,
    pairs: usize,
    rate: u64,
    seconds: u64,
) -> Result<Report> {
    let mut devices = registered(service, pairs * 2).await?;
    let mut connections = Vec::new();
    for device in &mut devices {
        connections.push(service.connect(device).await?);
    }
    let tally = Tally::new()?;
    let meter = Meter::start(pid)?;
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
                next += interval;
            }
        }
    }
}

/// Opens many sessions, lets them rest, and divides.
pub(crate) async fn idle(service: &Service, pid: u32, connections: usize) -> Result<Report> {
    let mut devices = registered(service, connections).await?;
    // One session first, so that what the server builds once is not counted for each.
    let mut open = vec![service.connect(&mut devices[0]).await?];
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = resident(pid)?;
    let meter = Meter::start(pid)?;
    for device in &mut devices[1..] {
        open.push(service.connect(device).await?);
    }
    let used = meter.stop()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = resident(pid)?;
    let opened = (open.len() - 1) as u64;
    Ok(Report::new("idle")
        .figure("connections", opened)
        .figure("resident_before_bytes", before)
        .figure("resident_after_bytes", after)
        .figure("resident_bytes_per_connection", after.saturating_sub(before) / opened.max(1))
        .figure("login_cpu_us", round(used.cpu.as_secs_f64() * 1e6 / opened.max(1) as f64))
        .figure("valid", true))
}

/// Fills one mailbox while its device is away, then measures until `Drained`.
pub(crate) async fn drain(service: &Service, pid: u32, messages: usize) -> Result<Report> {
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
    let meter = Meter::start(pid)?;
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
