//! The control of what "accepted" is worth: a server is killed under load, started again, and has to
//! have every message that it had accepted.

use crate::{
    device::{Connection, mark, send},
    process::{Protection, ServerProcess},
    report::Report,
    scenario::{ack, registered},
};
use anyhow::{Result, bail};
use rand::{SeedableRng, rngs::SmallRng};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
    time::Duration,
};
use tokio::task::LocalSet;
use types::MailboxId;
use wire::{Push, Response, ServerFrame};

const PAIRS: usize = 20;
const WINDOW: usize = 16;
/// Messages accepted before the kill.
const ACCEPTED_MIN: u64 = 5_000;
const LOOK: Duration = Duration::from_millis(1);

/// Marks of the messages that the server accepted, for each recipient.
type Accepted = Rc<RefCell<Vec<BTreeSet<u64>>>>;

/// Sends to devices that are away, kills the server in the middle, starts it again on the same data,
/// and compares what the devices then find with what was accepted.
pub(crate) async fn control(server: ServerProcess, program: &Path, data: &Path) -> Result<Report> {
    let service = server.service(data.to_owned())?;
    let mut devices = registered(&service, PAIRS * 2).await?;
    let mut recipients = devices.split_off(PAIRS);
    let accepted: Accepted = Rc::new(RefCell::new(vec![BTreeSet::new(); PAIRS]));
    let sending = LocalSet::new();
    let total = Rc::new(Cell::new(0));
    for (index, (sender, recipient)) in devices.iter_mut().zip(&recipients).enumerate() {
        let (connection, to) = (service.connect(sender).await?, recipient.mailbox);
        let (accepted, total) = (accepted.clone(), total.clone());
        // It ends with its connection.
        sending
            .spawn_local(async move { drop(send_until_cut(connection, to, index, &accepted, &total).await) });
    }
    sending
        .run_until(async {
            while total.get() < ACCEPTED_MIN {
                tokio::time::sleep(LOOK).await;
            }
            server.kill().await
        })
        .await?;
    sending.await;

    let server = ServerProcess::start(program, data, Protection::Plaintext).await?;
    let service = server.service(data.to_owned())?;
    let (mut lost, mut twice) = (0, 0);
    for (recipient, accepted) in recipients.iter_mut().zip(accepted.take()) {
        let found = drained(service.connect(recipient).await?).await?;
        lost += accepted.iter().filter(|mark| !found.contains_key(mark)).count();
        twice += found.values().filter(|times| **times > 1).count();
    }
    Ok(Report::new("durability")
        .figure("accepted_before_kill", total.get())
        .figure("lost", lost)
        .figure("twice", twice))
}

async fn send_until_cut(
    mut connection: Connection,
    to: MailboxId,
    recipient: usize,
    accepted: &RefCell<Vec<BTreeSet<u64>>>,
    total: &Cell<u64>,
) -> Result<()> {
    let mut rng = SmallRng::seed_from_u64(recipient as u64);
    let mut unanswered = BTreeMap::new();
    for mark in 0.. {
        while unanswered.len() >= WINDOW {
            match connection.next().await? {
                ServerFrame::Answer { id, result: Ok(Response::Accepted { .. }) } => {
                    if let (Some(mark), Some(marks)) =
                        (unanswered.remove(&id), accepted.borrow_mut().get_mut(recipient))
                    {
                        marks.insert(mark);
                        total.set(total.get() + 1);
                    }
                }
                ServerFrame::Answer { result: Err(refusal), .. } => bail!("refused: {refusal}"),
                _ => {}
            }
        }
        unanswered.insert(connection.ask(send(to, mark, &mut rng)).await?, mark);
    }
    Ok(())
}

/// Everything in a mailbox, by mark, and how often it came.
async fn drained(mut connection: Connection) -> Result<BTreeMap<u64, u64>> {
    let mut found = BTreeMap::new();
    loop {
        match connection.next().await? {
            ServerFrame::Push(Push::Deliver(rows)) => {
                for row in &rows {
                    *found.entry(mark(&row.envelope)?).or_default() += 1;
                }
                ack(&mut connection, &rows).await?;
            }
            ServerFrame::Push(Push::Drained) => return Ok(found),
            _ => {}
        }
    }
}
