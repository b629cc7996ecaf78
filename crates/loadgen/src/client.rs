//! What a client spends: the real `wax`, with its database on disk, at the two things that are large for it.

use crate::{
    device::Service,
    report::{Report, round},
    scenario::AT_ONCE,
    wax::{Counted, Profile},
};
use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use rusqlite::Connection;
use std::{path::Path, time::Instant};
use testkit::people::{Person, crowd};
use tokio::task::LocalSet;

/// Longer than anything here takes.
const PATIENCE: &str = "600";

/// Creates a group of so many accounts, which have so many devices together, writes to it, removes a member and writes
/// again: the second message needs a new sender key on every device that is left, over sessions that are open.
pub(crate) async fn rotation(
    service: &Service,
    wax: &Path,
    folder: &Path,
    members: usize,
    devices: usize,
) -> Result<Report> {
    let others = crowd(members - 1, devices - 1);
    admit(service, &others).await?;
    let names: Vec<String> = others.iter().map(|(person, _)| person.id().to_string()).collect();
    let everybody = |command: &'static str| [&["group", command, "Everybody"][..], &refs(&names)].concat();
    LocalSet::new()
        .run_until(async {
            let way = Counted::to(service.authority()).await?;
            let profile = Profile::new(wax, folder.join("profile"));
            register(service, &profile, &way.url).await?;
            let send = |text| ["send", "Everybody", text, "--require-accepted", "--timeout", PATIENCE];
            let created = profile.run(&everybody("create")).await?;
            let first = profile.run(&send("first")).await?;
            let second = profile.run(&send("second")).await?;
            let before = way.up().await;
            let removed = profile.run(&["group", "remove", "Everybody", &names[0]]).await?;
            let third = profile.run(&send("third")).await?;
            let sent = way.up().await - before;
            let (cpu, wall) = (removed.cpu + third.cpu, removed.wall + third.wall);
            Ok(Report::new("rotation")
                .figure("members", members as u64)
                .figure("devices", devices as u64)
                .figure("create_cpu_s", round((created.cpu + first.cpu).as_secs_f64()))
                .figure("create_s", round((created.wall + first.wall).as_secs_f64()))
                .figure("send_cpu_s", round(second.cpu.as_secs_f64()))
                .figure("cpu_s", round(cpu.as_secs_f64()))
                .figure("seconds", round(wall.as_secs_f64()))
                .figure("megabytes", round(sent as f64 / 1e6)))
        })
        .await
}

/// Links a second device with a history of so many messages, and waits until it has all of them.
pub(crate) async fn history(service: &Service, wax: &Path, folder: &Path, messages: u32) -> Result<Report> {
    let (friends, url) = (crowd(1, 1), format!("http://{}", service.authority()));
    admit(service, &friends).await?;
    let friend = friends[0].0.id().to_string();
    let primary = Profile::new(wax, folder.join("primary"));
    let linked = Profile::new(wax, folder.join("linked"));
    register(service, &primary, &url).await?;
    primary.run(&["send", &friend, "the first of many", "--require-accepted"]).await?;
    multiply(&primary, messages)?;

    let mut new = linked.start(&["link", "--server", &url])?;
    let code = new.line().await?["code"].as_str().context("no link code")?.to_owned();
    let cpu = crate::cost::finished_children()?;
    let started = Instant::now();
    let add = primary.start(&["devices", "add", &code, "--yes", "--with-history"])?;
    let handed_over = async { add.finish().await.map(|_| started.elapsed()) };
    let (handed_over, _) = tokio::try_join!(handed_over, new.finish())?;
    let wall = started.elapsed();
    let cpu = crate::cost::finished_children()?.saturating_sub(cpu);
    let arrived = linked.run(&["history", &friend]).await?.lines.len();
    ensure!(arrived == messages as usize, "{arrived} of {messages} messages arrived");
    Ok(Report::new("history")
        .figure("messages", u64::from(messages))
        .figure("seconds", round(wall.as_secs_f64()))
        .figure("handed_over_s", round(handed_over.as_secs_f64()))
        .figure("both_cpu_s", round(cpu.as_secs_f64())))
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

async fn admit(service: &Service, people: &[(&'static Person, usize)]) -> Result<()> {
    let admitted = stream::iter(people).map(|(person, devices)| service.admit(person, *devices));
    admitted.buffered(AT_ONCE).try_collect().await
}

async fn register(service: &Service, profile: &Profile, url: &str) -> Result<()> {
    let phone = service.next_number()?;
    let register = ["register", "--server", url, "--phone", phone.e164()];
    profile.run(&register).await?;
    let code = service.code(&phone)?;
    profile.run(&[&register[..], &["--code", &code]].concat()).await?;
    Ok(())
}

/// Makes the only message of a profile so many, from both sides in turn, as if they had been sent: sending them would
/// take minutes, and is not what is measured.
fn multiply(profile: &Profile, messages: u32) -> Result<()> {
    let database = Connection::open(profile.folder.join("profile.db"))?;
    database.execute(
        "WITH RECURSIVE copy (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM copy WHERE number < ?1 - 1)
         INSERT INTO message (id, chat, sender, device, counter, sent_at, stamp, text)
         SELECT randomblob(16), chat, iif(number % 2, chat, sender), 1, counter + number, sent_at + number, stamp,
                'message ' || number || ' says about as much as people say at a time, which is not a lot'
         FROM message, copy ORDER BY number",
        [messages],
    )?;
    database.execute(
        "INSERT INTO delivery (message, account, device, delivered_at)
         SELECT seq, chat, 1, sent_at FROM message WHERE sender <> chat AND counter > 1",
        [],
    )?;
    Ok(())
}
