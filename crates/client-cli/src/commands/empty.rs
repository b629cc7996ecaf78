//! What the commands share that give a profile its account: the profile is taken for writing without an engine
//! that connects, and the server is asked over HTTP.

use super::has_account;
use crate::{
    failure::{Failure, Reason},
    process::{busy, open_unregistered},
    profile::{Profile, ProfileLock},
    trouble,
};
use client::{Engine, HttpAnswer, HttpRequest, Problem};
use client_net::{CertificatePin, Dialer, exchange};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long to wait for another process that has the profile.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Takes a profile that must not have an account.
pub async fn take(profile: &Profile) -> Result<(Engine, ProfileLock), Failure> {
    let lock = lock(profile).await?;
    let engine = open_unregistered(profile)?;
    match engine.view().whoami() {
        Ok(None) => Ok((engine, lock)),
        Ok(Some(_)) => Err(has_account()),
        Err(fault) => Err(trouble::fault(&fault)),
    }
}

async fn lock(profile: &Profile) -> Result<ProfileLock, Failure> {
    let began = Instant::now();
    loop {
        if let Some(lock) = profile.try_lock()? {
            return Ok(lock);
        }
        // Whoever holds a profile for longer than a moment has an account in it, or waits for a server.
        if super::local::has_account(profile) {
            return Err(has_account());
        }
        if began.elapsed() > LOCK_PATIENCE {
            return Err(busy());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Makes one request.
pub async fn ask(request: &HttpRequest) -> Result<HttpAnswer, Failure> {
    exchange(&dialer(request)?, request).await.map_err(|error| trouble::unreachable(Some(&error)))
}

/// The way to the server of a request, with the trust that it names.
pub fn dialer(request: &HttpRequest) -> Result<Dialer, Failure> {
    let url = request.origin.parse().map_err(|_| Failure::bug("a stored server address cannot be read"))?;
    let pin = request.server_pin.map(CertificatePin::from_bytes);
    Dialer::new(url, pin).map_err(|error| trouble::unreachable(Some(&error)))
}

/// What answered does not speak this interface.
pub fn bad_answer() -> Failure {
    Failure::new(
        Reason::Unreachable,
        "what answered is not a Waxwing server, or is broken",
        "check the server's address",
    )
}

/// A refusal that no command of these has words of its own for.
pub fn refused(problem: &Problem) -> Failure {
    match problem.code.as_str() {
        "retry_after" => super::come_back(problem.retry_after.map(types::Millis::from_secs)),
        "unavailable" => {
            Failure::new(Reason::Unavailable, "the server cannot do this now", "try again in a while")
        }
        code => Failure::new(
            Reason::NotAllowed,
            format!("the server refused: {}", words(problem, code)),
            "ask the operator of the server",
        ),
    }
}

/// The server's own words, without anything that could play with a terminal.
fn words(problem: &Problem, code: &str) -> String {
    let words = problem.detail.as_deref().unwrap_or(&problem.title);
    let words = if words.is_empty() { code } else { words };
    words.chars().filter(|c| !c.is_control()).take(300).collect()
}
