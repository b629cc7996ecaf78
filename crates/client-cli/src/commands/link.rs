//! `wax link`: this profile becomes another device of an account. It shows a code, waits for the primary to take
//! it, and shows the digits that both sides compare.

use super::{Stop, empty, has_account};
use crate::{
    args::Link,
    failure::{Failure, Reason},
    lines::{Line, LinkCode, Linked},
    output::{Output as _, Terminal},
    profile::Profile,
    qr,
    session::PATIENCE,
    trouble,
};
use client::{Engine, HistorySync, HttpAnswer, HttpRequest, LinkError, LinkStep, NewDevice};
use client_net::{Dialer, Driver, exchange};
use rand::{TryRngCore as _, rngs::OsRng};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep, timeout_at};
use types::Timestamp;

/// How often to ask whether the primary has acted.
const POLL_EVERY: Duration = Duration::from_millis(700);

/// How long to wait for the next sign of what the primary hands over.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(15);

/// Links, or fails when the code's time is over.
pub async fn perform(link: Link, profile: &Profile, terminal: &mut Terminal) -> Result<(), Stop> {
    profile.create()?;
    let (mut engine, lock) = empty::take(profile).await?;
    let device = NewDevice {
        server: link.server.to_string(),
        server_pin: link.server_pin.map(|pin| *pin.as_bytes()),
        name: link.name,
    };
    let begun = engine.begin_link(&device, now(), &mut OsRng.unwrap_err()).map_err(failed)?;
    let server = Server { dialer: empty::dialer(&begun.request)? };
    let answer = server.ask(&begun.request).await?;
    let expires_in = engine.link_begun(&answer).map_err(failed)?.0.div_ceil(1_000);
    if terminal.json()
        && let Some(picture) = qr::draw(&begun.code)
    {
        terminal.show(&picture);
    }
    let line = LinkCode { event: "link_code".into(), code: begun.code, expires_in };
    terminal.print(Line::LinkCode(line).into()).await?;
    let linked = wait(&mut engine, &server, terminal).await?;
    take_over(engine, terminal).await;
    drop(lock);
    Ok(terminal.print(Line::Linked(linked).into()).await?)
}

/// Waits for what the primary hands over, so that contacts and history are there when this ends. A primary that is
/// slow or gone is not waited for: what is missing comes with any later connection.
async fn take_over(engine: Engine, terminal: &Terminal) {
    let (driver, task) = Driver::start(engine);
    let mut progress = driver.progress();
    if driver.connect().await.is_ok() {
        let mut told = None;
        let mut patience_ends = Instant::now() + HAND_OVER_PATIENCE;
        while !matches!(told, Some(HistorySync::Imported | HistorySync::Failed)) {
            let now = progress.borrow_and_update().clone();
            if now.ended.is_some() {
                break;
            }
            if now.history != told {
                told = now.history;
                patience_ends = Instant::now() + HAND_OVER_PATIENCE;
                continue;
            }
            if timeout_at(patience_ends, progress.changed()).await.is_err() {
                terminal.remark("the primary is still handing over: the rest comes with 'wax receive'");
                break;
            }
        }
    }
    driver.stop().await;
    let _ = task.await;
}

async fn wait(engine: &mut Engine, server: &Server, terminal: &Terminal) -> Result<Linked, Failure> {
    loop {
        let answer = server.ask(&engine.poll_link().map_err(failed)?).await?;
        let decline = engine.decline_link().map_err(failed)?;
        let step = engine.link_polled(&answer, now(), &mut OsRng.unwrap_err());
        if let Err(LinkError::Tampered(_)) = &step {
            // Without it the primary waits for an answer for half a minute.
            let _ = exchange(&server.dialer, &decline).await;
        }
        match step.map_err(failed)? {
            LinkStep::Waiting => sleep(POLL_EVERY).await,
            LinkStep::Answer { digits, request } => {
                let answer = server.ask(&request).await?;
                engine.link_answered(&answer).map_err(failed)?;
                terminal.remark(&format!(
                    "the primary device has to show the same six digits: {}; confirm them there",
                    spaced(&digits)
                ));
            }
            LinkStep::Linked(linked) => {
                return Ok(Linked { account: linked.account.to_string(), device: linked.device.get() });
            }
        }
    }
}

/// The server, asked again for as long as its absence may be passing: each request may be repeated.
struct Server {
    dialer: Dialer,
}

impl Server {
    async fn ask(&self, request: &HttpRequest) -> Result<HttpAnswer, Failure> {
        let patience_ends = Instant::now() + PATIENCE;
        loop {
            match exchange(&self.dialer, request).await {
                // Busy or starting; anything else is the engine's to read.
                Ok(answer) if answer.status == 503 && Instant::now() < patience_ends => {}
                Ok(answer) => return Ok(answer),
                Err(error) if trouble::is_untrusted(&error) || Instant::now() >= patience_ends => {
                    return Err(trouble::unreachable(Some(&error)));
                }
                Err(_) => {}
            }
            sleep(POLL_EVERY).await;
        }
    }
}

/// Six digits as they are read aloud.
pub fn spaced(digits: &str) -> String {
    match (digits.get(..3), digits.get(3..)) {
        (Some(first), Some(last)) => format!("{first} {last}"),
        _ => digits.to_owned(),
    }
}

#[allow(clippy::needless_pass_by_value)]
fn failed(error: LinkError) -> Failure {
    let again = "run the command again for a new code";
    match error {
        LinkError::HasAccount => has_account(),
        LinkError::BadName => Failure::new(
            Reason::BadText,
            "a device's name has 1 to 64 printable characters",
            "give another one with --name",
        ),
        LinkError::Expired => Failure::new(
            Reason::BadLinkCode,
            "the code has expired: nobody has taken it on the primary device, or confirmed it there",
            again,
        ),
        LinkError::Refused => {
            Failure::new(Reason::LinkRefused, "the primary device has refused this one", again)
        }
        LinkError::TooManyDevices => Failure::new(
            Reason::TooManyDevices,
            "the account has five devices, and may not have more",
            "remove one there with 'wax devices remove N', and run the command again for a new code",
        ),
        LinkError::NotBegun => {
            Failure::new(Reason::BadLinkCode, "the server does not know this link any more", again)
        }
        LinkError::Tampered(why) => Failure::new(
            Reason::BadLinkCode,
            format!("what came was not made by the device that took the code: {why}"),
            "somebody may stand between the two devices: try again over another network",
        ),
        LinkError::Server(problem) if problem.code == "no_link" => {
            Failure::new(Reason::BadLinkCode, "the server does not know this link any more", again)
        }
        LinkError::Server(problem) => empty::refused(&problem),
        LinkError::BadAnswer => empty::bad_answer(),
        LinkError::Fault(fault) => trouble::fault(&fault),
    }
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}
