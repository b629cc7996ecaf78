//! One message to a large group whose members are all online: how long until the last one has it.
//!
//! The members' devices do nothing but receive and acknowledge, and messages go one after another, so that
//! each figure is the fan-out of one message and not a queue of them.

use crate::{
    cost::Meter,
    device::{Connection, Device, Service, group_send, mark},
    report::{Report, round},
    scenario::{ack, connected, registered},
    tally::Tally,
};
use anyhow::{Context, Result, bail};
use rand::{SeedableRng, rngs::SmallRng};
use signed::{
    DeviceCertificate, SignedOperation,
    group::{GroupChange, OperationDraft, OperationId, Permissions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::{Duration, SystemTime},
};
use tokio::{sync::Notify, task::LocalSet};
use types::{DeviceNumber, Timestamp};
use wire::{EnvelopeKind, Push, Request, Response, ServerFrame};

/// A message that has not reached everybody after this long has been lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// The members' acknowledgements are through, and their core has rested, before the next message leaves: what is
/// measured is a message, not how fast one process can be a thousand members.
const BETWEEN_MESSAGES: Duration = Duration::from_millis(50);

/// What the members' tasks share.
struct Arrivals {
    tally: Rc<Tally>,
    /// How many members have each message, by its mark.
    members: std::cell::RefCell<BTreeMap<u64, usize>>,
    everybody: usize,
    complete: Notify,
}

impl Arrivals {
    fn arrived(&self, mark: u64) {
        let mut members = self.members.borrow_mut();
        let count = members.entry(mark).or_default();
        *count += 1;
        if *count == self.everybody {
            self.complete.notify_one();
        }
    }
}

/// Creates a group of so many accounts and sends messages to it, one after another.
pub(crate) async fn fan_out(service: &Service, members: usize, messages: usize) -> Result<Report> {
    let mut devices = registered(service, members).await?;
    let mut connections = connected(service, &mut devices).await?;
    let mut sender = connections.remove(0);
    let founding = found(&devices)?;
    let (group, epoch, head) = (founding.group(), founding.epoch(), founding.hash());
    let operation = founding.as_bytes().to_vec().into();
    let asked = sender.ask(Request::ApplyGroup { operation, highest_stamp: None }).await?;
    accepted(&mut sender, asked).await.context("the group was not made")?;

    let versions = devices.iter().map(|device| (device.mailbox.account, 1)).collect();
    let digest = signed::lists_digest(&versions);
    let arrivals = Rc::new(Arrivals {
        tally: Tally::new()?,
        members: Default::default(),
        everybody: members - 1,
        complete: Notify::new(),
    });
    let tasks = LocalSet::new();
    for connection in connections {
        let arrivals = arrivals.clone();
        tasks.spawn_local(async move {
            if let Err(error) = member(connection, &arrivals).await {
                eprintln!("a member stopped: {error:#}");
            }
        });
    }
    let (mut last_ms, mut accepted_ms) = (Vec::new(), Vec::new());
    let mut rng = SmallRng::seed_from_u64(1);
    let used = tasks
        .run_until(async {
            let meter = Meter::start(service.pid)?;
            for _ in 0..messages {
                let sent = arrivals.tally.now_us();
                let send = group_send(group, epoch, head, digest, sent, &mut rng);
                let asked = sender.ask(send).await?;
                accepted(&mut sender, asked).await?;
                accepted_ms.push(arrivals.tally.now_us().saturating_sub(sent) as f64 / 1e3);
                tokio::time::timeout(LOST_AFTER, arrivals.complete.notified())
                    .await
                    .context("a group message did not reach everybody")?;
                last_ms.push(arrivals.tally.now_us().saturating_sub(sent) as f64 / 1e3);
                tokio::time::sleep(BETWEEN_MESSAGES).await;
            }
            meter.stop()
        })
        .await?;
    last_ms.sort_by(f64::total_cmp);
    accepted_ms.sort_by(f64::total_cmp);
    let rows = (messages * (members - 1)) as u64;
    Ok(Report::new("group")
        .figure("members", members as u64)
        .figure("messages", messages as u64)
        .figure("accepted_p50_ms", round(middle(&accepted_ms)))
        .figure("last_receive_p50_ms", round(middle(&last_ms)))
        .figure("last_receive_max_ms", round(last_ms.last().copied().unwrap_or(f64::NAN)))
        .cost(&used, rows))
}

/// The first operation of a chain whose members are these devices' accounts; the first one makes it.
fn found(devices: &[Device]) -> Result<SignedOperation> {
    let (creator, others) = devices.split_first().context("a group has members")?;
    let draft = OperationDraft {
        follows: None,
        id: OperationId([1; 16]),
        actor_key: creator.account.public(),
        certificate: DeviceCertificate::sign(
            &creator.account,
            DeviceNumber::PRIMARY,
            creator.secret.public(),
        ),
        at: Timestamp::from_system_time(SystemTime::now()),
        change: GroupChange::Create {
            members: others.iter().map(|device| device.mailbox.account).collect::<BTreeSet<_>>(),
            sealed_info: vec![0; 256],
            permissions: Permissions::default(),
        },
    };
    Ok(draft.sign(&creator.secret)?)
}

/// Receives and acknowledges for ever.
async fn member(mut connection: Connection, arrivals: &Arrivals) -> Result<()> {
    loop {
        match connection.next().await? {
            ServerFrame::Push(Push::Deliver(rows)) => {
                for row in &rows {
                    let envelope = wire::Envelope::decode(row.envelope.clone())?;
                    if envelope.kind == EnvelopeKind::SenderKey {
                        let mark = mark(&row.envelope)?;
                        arrivals.tally.delivered_since(mark);
                        arrivals.arrived(mark);
                    }
                }
                ack(&mut connection, &rows).await?;
            }
            ServerFrame::Push(Push::Closing(refusal)) => bail!("the server ended the session: {refusal}"),
            _ => {}
        }
    }
}

/// Waits for the answer to one request.
async fn accepted(connection: &mut Connection, asked: u64) -> Result<()> {
    loop {
        match connection.next().await? {
            ServerFrame::Answer { id, result } if id == asked => match result {
                Ok(Response::Accepted { skipped, .. }) if skipped.is_empty() => return Ok(()),
                Ok(Response::Accepted { .. }) => bail!("mailboxes were full"),
                Ok(_) => bail!("the server answered something else"),
                Err(refusal) => bail!("refused: {refusal}"),
            },
            ServerFrame::Push(Push::Deliver(rows)) => ack(connection, &rows).await?,
            _ => {}
        }
    }
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
