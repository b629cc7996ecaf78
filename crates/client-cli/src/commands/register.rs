//! `wax register`: a number, a code, an account. What waits for the code is kept in the profile, so that
//! another run of the program can finish.

use super::{Stop, bad_number};
use crate::{
    args::Register,
    failure::{Failure, Reason},
    lines::{CodeSent, Line, Registered},
    output::{Output as _, Terminal, has_terminal},
    process::{busy, open_unregistered},
    profile::{Profile, ProfileLock},
    trouble,
};
use client::{Engine, HttpAnswer, HttpRequest, NewAccount, Problem, RegistrationError};
use client_net::{CertificatePin, Dialer, exchange};
use rand::{TryRngCore as _, rngs::OsRng};
use std::{
    io::{BufRead as _, Write as _},
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, sleep};
use types::{PhoneNumber, Timestamp};

/// How long to wait for another process that has the profile.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Tries at the prompt; the server counts them too.
const PROMPTS_MAX: u32 = 5;

/// Registers, or asks for the code and ends.
pub async fn perform(
    register: Register,
    no_input: bool,
    profile: &Profile,
    terminal: &mut Terminal,
) -> Result<(), Stop> {
    let phone: PhoneNumber = register.phone.parse().map_err(|_| bad_number())?;
    let registration = Registration { register, phone, profile };
    profile.create()?;
    if let Some(code) = registration.register.code.clone() {
        let code = if code == "-" { read_line()? } else { code };
        let line = registration.finish(&code, registration.register.replace).await?;
        return Ok(terminal.print(Line::Registered(line).into()).await?);
    }
    let expires_in = registration.begin().await?;
    if no_input || !has_terminal() {
        let line = CodeSent { state: "code_sent".into(), expires_in };
        return Ok(terminal.print(Line::CodeSent(line).into()).await?);
    }
    let line = registration.prompt(terminal, expires_in).await?;
    Ok(terminal.print(Line::Registered(line).into()).await?)
}

/// One registration.
struct Registration<'a> {
    register: Register,
    phone: PhoneNumber,
    profile: &'a Profile,
}

impl Registration<'_> {
    /// Asks the server for a code; the seconds that it is good for.
    async fn begin(&self) -> Result<u64, Failure> {
        let (mut engine, _lock) = self.open().await?;
        let account = NewAccount {
            server: self.register.server.to_string(),
            server_pin: self.register.server_pin.map(|pin| *pin.as_bytes()),
            phone: self.phone.clone(),
            name: self.register.name.clone(),
        };
        let now = Timestamp::from_system_time(SystemTime::now());
        let request = engine.begin_registration(&account, now, &mut OsRng.unwrap_err()).map_err(refused)?;
        let answer = self.ask(&request).await?;
        let sent = engine.code_sent(&answer).map_err(refused)?;
        Ok(sent.expires_in.0.div_ceil(1_000))
    }

    /// Proves the number.
    async fn finish(&self, code: &str, replace: bool) -> Result<Registered, Failure> {
        let (mut engine, _lock) = self.open().await?;
        let begun = engine.view().registering().map_err(|fault| trouble::fault(&fault))?;
        if begun != Some((self.register.server.to_string(), self.phone.clone())) {
            return Err(refused(RegistrationError::NotBegun));
        }
        let request = engine.finish_registration(code.trim(), replace).map_err(refused)?;
        let answer = self.ask(&request).await?;
        let registered = engine.registered(&answer).map_err(refused)?;
        Ok(Registered {
            account: registered.account.to_string(),
            device: registered.device.get(),
            phone: registered.phone.e164().to_owned(),
        })
    }

    /// Asks the person for the code until it is right.
    async fn prompt(&self, terminal: &Terminal, expires_in: u64) -> Result<Registered, Failure> {
        terminal.remark(&format!(
            "a code is on its way to {}; it is good for {} minutes",
            self.phone.e164(),
            expires_in.div_ceil(60)
        ));
        let mut replace = self.register.replace;
        let mut code = ask_person("Code: ").await?;
        for _ in 1..PROMPTS_MAX {
            match self.finish(&code, replace).await {
                Err(failure) if failure.reason == Reason::WrongCode => {
                    terminal.remark("that was not the code");
                    code = ask_person("Code: ").await?;
                }
                Err(failure) if failure.reason == Reason::NumberTaken && !replace => {
                    terminal.remark(
                        "this number has an account; a new one closes it and drops what waits for it",
                    );
                    let answer = ask_person("Type 'replace' to go on: ").await?;
                    if answer.trim() != "replace" {
                        return Err(failure);
                    }
                    replace = true;
                }
                result => return result,
            }
        }
        self.finish(&code, replace).await
    }

    /// Takes the profile, which must not have an account.
    async fn open(&self) -> Result<(Engine, ProfileLock), Failure> {
        let lock = self.lock().await?;
        let engine = open_unregistered(self.profile)?;
        match engine.view().whoami() {
            Ok(None) => Ok((engine, lock)),
            Ok(Some(_)) => Err(has_account()),
            Err(fault) => Err(trouble::fault(&fault)),
        }
    }

    async fn lock(&self) -> Result<ProfileLock, Failure> {
        let began = Instant::now();
        loop {
            if let Some(lock) = self.profile.try_lock()? {
                return Ok(lock);
            }
            // Whoever holds a profile for longer than a moment has an account in it, or waits for a server.
            if super::local::has_account(self.profile) {
                return Err(has_account());
            }
            if began.elapsed() > LOCK_PATIENCE {
                return Err(busy());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, request: &HttpRequest) -> Result<HttpAnswer, Failure> {
        let url =
            request.origin.parse().map_err(|_| Failure::bug("a stored server address cannot be read"))?;
        let pin = request.server_pin.map(CertificatePin::from_bytes);
        let dialer = Dialer::new(url, pin).map_err(|error| trouble::unreachable(Some(&error)))?;
        exchange(&dialer, request).await.map_err(|error| trouble::unreachable(Some(&error)))
    }
}

fn has_account() -> Failure {
    Failure::new(
        Reason::AlreadyRegistered,
        "this profile has an account",
        "'wax whoami' says which; name another profile with --profile DIR to make a second one",
    )
}

#[allow(clippy::needless_pass_by_value)]
fn refused(error: RegistrationError) -> Failure {
    match error {
        RegistrationError::HasAccount => has_account(),
        RegistrationError::NotBegun => Failure::new(
            Reason::NoCode,
            "no code was asked for in this profile, for this number and server",
            "run the same command without --code first",
        ),
        RegistrationError::BadAnswer => Failure::new(
            Reason::Unreachable,
            "what answered is not a Waxwing server, or is broken",
            "check the server's address",
        ),
        RegistrationError::Fault(fault) => trouble::fault(&fault),
        RegistrationError::Refused(problem) => problem_failure(&problem),
    }
}

fn problem_failure(problem: &Problem) -> Failure {
    match problem.code.as_str() {
        "wrong_code" => Failure::new(
            Reason::WrongCode,
            "this is not the code that was sent",
            "check it; a code takes five tries",
        ),
        "expired_code" | "no_session" => {
            Failure::new(Reason::ExpiredCode, "this code is not good any more", ASK_AGAIN)
        }
        "exhausted_code" => {
            Failure::new(Reason::ExpiredCode, "this code was tried too often and is void", ASK_AGAIN)
        }
        "number_taken" => Failure::new(
            Reason::NumberTaken,
            "this number has an account",
            "if it is yours, run the same command with --replace: the old account is closed; the code stays good",
        ),
        "bad_number" => Failure::new(Reason::BadNumber, "the server does not take this number", CHECK_NUMBER),
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

const ASK_AGAIN: &str = "run the command without --code to get a new one";
const CHECK_NUMBER: &str = "check it; it begins with '+' and the country code";

/// The server's own words, without anything that could play with a terminal.
fn words(problem: &Problem, code: &str) -> String {
    let words = problem.detail.as_deref().unwrap_or(&problem.title);
    let words = if words.is_empty() { code } else { words };
    words.chars().filter(|c| !c.is_control()).take(300).collect()
}

async fn ask_person(question: &'static str) -> Result<String, Failure> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stderr = std::io::stderr();
        let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
        read_line()
    });
    asked.await.map_err(Failure::bug)?
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(line.trim().to_owned()),
        _ => Err(Failure::new(Reason::NoCode, "no code was given", "run the same command with --code CODE")),
    }
}
