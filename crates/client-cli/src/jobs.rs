//! From what was typed to what is done. A command that needs the engine becomes a [`Job`], which can be handed to
//! another process; what can be checked without the profile is checked here.

use crate::{
    args::{self, Command, DevicesCommand, GroupCommand},
    commands::{self, Job, devices, group, group::MemberChange, receive, send, status, verify},
    failure::{Failure, Reason},
    lines::State,
    prompt,
};
use rand::{TryRngCore as _, rngs::OsRng};
use std::{io::Read as _, time::SystemTime};
use types::{MessageId, Timestamp, limits};

/// The command as something that can be handed to another process.
pub fn job(command: Command, no_input: bool) -> Result<Job, Failure> {
    Ok(match command {
        Command::Send(send) => Job::Send(send_job(send)?),
        Command::Receive(receive) => Job::Receive(receive::Job {
            follow: receive.follow,
            timeout: receive.timeout,
            count: receive.count,
            was_connected: false,
        }),
        Command::Read(read) => {
            commands::chat_name(&read.chat)?;
            Job::Read { chat: read.chat }
        }
        Command::Status(status) => {
            send::message_id(&status.message_id)?;
            let wait = status.wait.map_or(State::Queued, State::from);
            Job::Status(status::Job { message_id: status.message_id, wait, timeout: status.timeout })
        }
        Command::Verify(verify) if verify.accept => {
            commands::accept::number(&verify.number)?;
            Job::Accept { number: verify.number }
        }
        Command::Verify(verify) => {
            commands::people::person(&verify.number)?;
            Job::Verify(verify::Job { chat: verify.number, mark: verify.mark })
        }
        Command::Block(args::Block { number }) => block_job(number, true)?,
        Command::Unblock(args::Block { number }) => block_job(number, false)?,
        Command::Group(args::Group { command }) => Job::Group(group_job(command)?),
        Command::Devices(args::Devices { command: Some(command) }) => devices_job(command, no_input)?,
        _ => return Err(Failure::bug("a command without a job")),
    })
}

fn block_job(number: String, blocked: bool) -> Result<Job, Failure> {
    commands::people::person(&number)?;
    Ok(Job::Block { number, blocked })
}

fn send_job(send: args::Send) -> Result<send::Job, Failure> {
    let job = send::Job {
        chat: send.chat,
        text: if send.text == "-" { text_from_stdin()? } else { send.text },
        message_id: send.message_id.unwrap_or_else(|| new_message_id().to_string()),
        timeout: send.timeout,
        require_accepted: send.require_accepted,
    };
    job.check()?;
    Ok(job)
}

fn group_job(command: GroupCommand) -> Result<group::Job, Failure> {
    let members = |members: args::Members, change| group::Job::Members {
        group: members.group,
        change,
        members: members.members,
    };
    let job = match command {
        GroupCommand::Create { name, members } => group::Job::Create { name, members },
        GroupCommand::Add(who) => members(who, MemberChange::Add),
        GroupCommand::Remove(who) => members(who, MemberChange::Remove),
        GroupCommand::Promote(who) => members(who, MemberChange::Promote),
        GroupCommand::Demote(who) => members(who, MemberChange::Demote),
        GroupCommand::Rename { group, name } => group::Job::Rename { group, name },
        GroupCommand::Leave { group } => group::Job::Leave { group },
        GroupCommand::Link { group, reset } => group::Job::Link { group, reset },
        GroupCommand::Join { url } => group::Job::Join { url: given_or_typed(url, "link")? },
        GroupCommand::Info { .. } => return Err(Failure::bug("a question with a job")),
    };
    job.check()?;
    Ok(job)
}

fn devices_job(command: DevicesCommand, no_input: bool) -> Result<Job, Failure> {
    Ok(match command {
        DevicesCommand::Add { yes: false, .. } if no_input || !prompt::has_terminal() => {
            return Err(Failure::new(
                Reason::Usage,
                "somebody has to compare the six digits, and there is no terminal to ask on",
                "run it on a terminal, or with --yes if you trust the way that the code came",
            ));
        }
        DevicesCommand::Add { code, yes, with_history } => {
            let code = given_or_typed(code, "link code")?;
            Job::AddDevice(devices::Add { code, yes, with_history, again: false })
        }
        DevicesCommand::Remove { device } => Job::RemoveDevice { device },
    })
}

/// What was given, or one line of standard input in its place.
fn given_or_typed(given: String, what: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    prompt::read_line().ok_or_else(|| {
        Failure::new(Reason::Usage, format!("there is no {what} on standard input"), "give it as argument")
    })
}

/// The whole of standard input, as it is: a line break at the end is part of the text.
fn text_from_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let longest = limits::TEXT_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(longest).read_to_end(&mut bytes).map_err(|error| {
        Failure::new(
            Reason::BadText,
            format!("standard input cannot be read: {error}"),
            "give the text as argument",
        )
    })?;
    if bytes.len() as u64 == longest {
        let words = format!("the text is too long: at most {} bytes are allowed", limits::TEXT_BYTES_MAX);
        return Err(Failure::new(Reason::BadText, words, "send it in parts"));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::new(Reason::BadText, "the text is not UTF-8", "convert it, for instance with iconv")
    })
}

fn new_message_id() -> MessageId {
    MessageId::new(Timestamp::from_system_time(SystemTime::now()), &mut OsRng.unwrap_err())
}
