//! `wax register`: a number, a code, an account. What waits for the code is kept in the profile, so that
//! another run of the program can finish.

use super::{Stop, bad_number, empty};
use crate::{
    args::Register,
    failure::{Failure, Reason},
    lines::{CodeSent, Line, Registered},
    output::{Output as _, Terminal},
    profile::Profile,
    prompt, trouble,
};
use client::{NewAccount, Problem, RegistrationError};
use rand::{TryRngCore as _, rngs::OsRng};
use std::time::SystemTime;
use types::{PhoneNumber, Timestamp};

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
        let code = if code == "-" { typed(prompt::read_line())? } else { code };
        let line = registration.finish(&code, registration.register.replace).await?;
        return Ok(terminal.print(Line::Registered(line).into()).await?);
    }
    let expires_in = registration.begin().await?;
    if no_input || !prompt::has_terminal() {
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
        let (mut engine, _lock) = empty::take(self.profile).await?;
        let account = NewAccount {
            server: self.register.server.to_string(),
            server_pin: self.register.server_pin.map(|pin| *pin.as_bytes()),
            phone: self.phone.clone(),
            name: self.register.name.clone(),
        };
        let now = Timestamp::from_system_time(SystemTime::now());
        let request = engine.begin_registration(&account, now, &mut OsRng.unwrap_err()).map_err(refused)?;
        let answer = empty::ask(&request).await?;
        let sent = engine.code_sent(&answer).map_err(refused)?;
        Ok(sent.expires_in.0.div_ceil(1_000))
    }

    /// Proves the number.
    async fn finish(&self, code: &str, replace: bool) -> Result<Registered, Failure> {
        let (mut engine, _lock) = empty::take(self.profile).await?;
        let begun = engine.view().registering().map_err(|fault| trouble::fault(&fault))?;
        if begun != Some((self.register.server.to_string(), self.phone.clone())) {
            return Err(refused(RegistrationError::NotBegun));
        }
        let request = engine.finish_registration(code.trim(), replace).map_err(refused)?;
        let answer = empty::ask(&request).await?;
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
        let mut code = typed(prompt::ask("Code: ").await?)?;
        for _ in 1..PROMPTS_MAX {
            match self.finish(&code, replace).await {
                Err(failure) if failure.reason == Reason::WrongCode => {
                    terminal.remark("that was not the code");
                    code = typed(prompt::ask("Code: ").await?)?;
                }
                Err(failure) if failure.reason == Reason::NumberTaken && !replace => {
                    terminal.remark(
                        "this number has an account; a new one closes it and drops what waits for it",
                    );
                    let answer = prompt::ask("Type 'replace' to go on: ").await?.unwrap_or_default();
                    if answer != "replace" {
                        return Err(failure);
                    }
                    replace = true;
                }
                result => return result,
            }
        }
        self.finish(&code, replace).await
    }
}

#[allow(clippy::needless_pass_by_value)]
fn refused(error: RegistrationError) -> Failure {
    match error {
        RegistrationError::HasAccount => super::has_account(),
        RegistrationError::NotBegun => Failure::new(
            Reason::NoCode,
            "no code was asked for in this profile, for this number and server",
            "run the same command without --code first",
        ),
        RegistrationError::BadAnswer => empty::bad_answer(),
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
        _ => empty::refused(problem),
    }
}

const ASK_AGAIN: &str = "run the command without --code to get a new one";
const CHECK_NUMBER: &str = "check it; it begins with '+' and the country code";

/// What was typed, or that nothing was.
fn typed(code: Option<String>) -> Result<String, Failure> {
    code.ok_or_else(|| {
        Failure::new(Reason::NoCode, "no code was given", "run the same command with --code CODE")
    })
}
