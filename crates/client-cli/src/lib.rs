//! `wax`: the command line of a Waxwing account.
//!
//! Owns: arguments, output, exit codes, the profile's directory and lock, and which process of a profile
//! does the work. The engine decides everything else, and the driver owns the network.
//!
//! Invariants: data goes to standard output and everything else to standard error; exactly one process
//! writes a profile; no process outlives its command; a message id is made before anybody is asked to send,
//! so that a command can be done twice and is one send.

pub mod args;
pub mod commands;
pub mod failure;
pub mod files;
pub mod forward;
pub mod jobs;
pub mod lines;
pub mod names;
pub mod output;
pub mod process;
pub mod profile;
pub mod prompt;
pub mod qr;
pub mod render;
pub mod session;
pub mod trouble;

use args::{Cli, Command};
use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use commands::{Stop, backup, link, local, register};
use failure::{Failure, Reason};
use lines::{Line, State};
use output::{Batch, Output as _, Terminal};
use profile::Profile;
use std::{
    ffi::OsString,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::SystemTime,
};
use types::Timestamp;

/// Runs the program.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    // Whatever is created here is for this user only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, wants_json(&arguments)),
    };
    let json = cli.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Reason::Io, format!("wax could not start: {error}"), "try again");
            return fail(&failure, json);
        }
    };
    // A panic is a bug like any other: scripts get its exit code and its object.
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(cli))));
    let code = match done {
        Ok(Ok(()) | Err(Stop::OutputClosed)) => ExitCode::SUCCESS,
        Ok(Err(Stop::Failed(failure))) => fail(&failure, json),
        Err(_) => fail(&Failure::bug("it panicked; the lines above say where"), json),
    };
    // A write that nobody takes must not keep the process.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> Result<(), Stop> {
    if let Command::Completions { shell } = cli.command {
        return write_out(|out| {
            clap_complete::generate(shell, &mut Cli::command(), "wax", out);
            Ok(())
        });
    }
    if matches!(cli.command, Command::Man) {
        return write_out(|out| clap_mangen::Man::new(Cli::command()).render(out));
    }
    let profile = Profile::new(cli.profile)?;
    let mut terminal = Terminal::new(cli.json);
    if let Some(question) = local::Question::of(&cli.command) {
        let answer = local::ask(&question, &profile, now())?;
        return Ok(terminal.print(answer).await?);
    }
    if let Command::Status(status) = &cli.command
        && let Some(answer) = already_there(status, &profile)?
    {
        return Ok(terminal.print(answer).await?);
    }
    match cli.command {
        Command::Register(register) => {
            register::perform(register, cli.no_input, &profile, &mut terminal).await
        }
        Command::Link(link) => link::perform(link, &profile, &mut terminal).await,
        Command::Backup(args::Backup { command }) => {
            backup::perform(command, cli.no_input, &profile, &mut terminal).await
        }
        command => process::run(&profile, &jobs::job(command, cli.no_input)?, &mut terminal).await,
    }
}

/// The answer to `status --wait`, if nothing has to be waited for.
fn already_there(status: &args::Status, profile: &Profile) -> Result<Option<Batch>, Failure> {
    let question = local::Question::Status { message_id: status.message_id.clone() };
    let answer = local::ask(&question, profile, now())?;
    let wanted = status.wait.map_or(State::Queued, State::from);
    let reached = |line: &Line| matches!(line, Line::Status(status) if status.state >= wanted);
    Ok(answer.lines.iter().any(reached).then_some(answer))
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

/// Writes a document to standard output.
fn write_out(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<(), Stop> {
    let mut document = Vec::new();
    let written = write(&mut document).and_then(|()| std::io::stdout().lock().write_all(&document));
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Stop::OutputClosed),
        Err(error) => {
            let words = format!("the output could not be written: {error}");
            Err(Failure::new(Reason::Io, words, "check where it goes").into())
        }
        Ok(()) => Ok(()),
    }
}

/// Help and version are answers; anything else that cannot be parsed is a wrong use.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if !json {
        let _ = error.print();
        return ExitCode::from(u8::from(Reason::Usage.exit()));
    }
    let text = error.to_string();
    // What is missing stands in lines of its own; a blank line ends it.
    let said = text.lines().take_while(|line| !line.trim().is_empty());
    let message = said.map(str::trim).collect::<Vec<_>>().join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    fail(&Failure::new(Reason::Usage, message, "'wax --help' lists commands and flags"), true)
}

fn fail(failure: &Failure, json: bool) -> ExitCode {
    Terminal::report(failure, json);
    ExitCode::from(u8::from(failure.exit()))
}

/// Whether `--json` stands anywhere among the flags, even where the rest cannot be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments.iter().skip(1).take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}
