//! The command line: what can be typed, with its help. Scripts rely on every name in here.

mod device;
mod group;

pub use device::{Backup, BackupCommand, Devices, DevicesCommand, Link};
pub use group::{Group, GroupCommand, Members};

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use client_net::{CertificatePin, ServerUrl};
use std::{path::PathBuf, time::Duration};

/// Write to people from the command line. What you write is sealed on this machine and opened on
/// theirs; the server in between cannot read it.
#[derive(Debug, Parser)]
#[command(
    name = "wax",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = false,
    after_long_help = EXIT_CODES
)]
pub struct Cli {
    /// Where this account lives [default: $WAX_PROFILE, else $XDG_DATA_HOME/wax/default]
    #[arg(long, global = true, value_name = "DIR")]
    pub profile: Option<PathBuf>,

    /// One JSON object a line on standard output; errors as JSON on the last line of standard error
    #[arg(long, global = true, overrides_with = "json")]
    pub json: bool,

    /// Never ask anything on the terminal
    #[arg(long, global = true)]
    pub no_input: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
   0  done
  64  unknown command or flag, or not in this state of the profile
  65  bad number, text too long, unknown recipient or chat, damaged profile
  69  the server cannot be reached (register, receive)
  70  a bug in wax
  75  try again later
  77  wrong or expired code, not allowed, or this device was revoked

Examples:
  wax register --server https://chat.example.org --phone +15552000100
  wax send +15552000101 'Are you there?'
  wax receive --follow";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an account for a phone number
    Register(Register),
    /// Send a text message
    Send(Send),
    /// Fetch and print what is new
    Receive(Receive),
    /// Tell the other side that you have read a chat
    Read(Read),
    /// Print the messages of a chat
    History(History),
    /// List the chats
    #[command(after_help = "Example:\n  wax chats --json")]
    Chats,
    /// Find messages by their words
    Search(Search),
    /// Say how far a message has come
    Status(Status),
    /// Print the safety number to compare with someone, or accept their new account
    Verify(Verify),
    /// Do not hear from someone any more, on all your devices
    Block(Block),
    /// Hear from someone again
    Unblock(Block),
    /// List whom you have blocked
    Blocked,
    /// Make, change and show groups
    Group(Group),
    /// List the groups
    #[command(after_help = "Example:\n  wax groups --json")]
    Groups,
    /// Make this profile another device of an account
    Link(Link),
    /// List the devices of this account, add and remove them
    Devices(Devices),
    /// Save the account into a sealed file, and bring it back
    Backup(Backup),
    /// Say whose profile this is
    #[command(after_help = "Example:\n  wax whoami --profile ~/work")]
    Whoami,
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// `wax register`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax register --server https://chat.example.org --phone +15552000100
  wax register --server https://chat.example.org --phone +15552000100 --code 123456
  wax register --server https://10.0.0.5:8443 --server-pin 3a5f… --phone +15552000100

Without a terminal the first call asks the server to send a code and ends; the same call with --code
finishes. Asking again makes the earlier code void.")]
pub struct Register {
    /// The server, as https://host, with a port where it needs one (http:// only for this machine)
    #[arg(long, value_name = "URL", value_parser = value_parser!(ServerUrl))]
    pub server: ServerUrl,
    /// Your number with country code
    #[arg(long, value_name = "NUMBER")]
    pub phone: String,
    /// Your name for yourself, kept in this profile
    #[arg(long)]
    pub name: Option<String>,
    /// The code that the server sent ('-' reads it from standard input)
    #[arg(long)]
    pub code: Option<String>,
    /// Close the account that has this number now, and make a new one
    #[arg(long)]
    pub replace: bool,
    /// Trust only the server certificate with this SHA-256 fingerprint
    #[arg(long, value_name = "SHA256", value_parser = value_parser!(CertificatePin))]
    pub server_pin: Option<CertificatePin>,
}

/// `wax send`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax send +15552000101 'Are you there?'
  wax send Family 'Dinner is ready'
  git log -1 | wax send +15552000101 -
  wax send --message-id 0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10 +15552000101 'Exactly once'

Text that begins with a hyphen goes after '--'. A message that was stored is sent by the next wax
command that reaches the server, whatever happens to this one.")]
pub struct Send {
    /// A phone number, an account id, or a group's id or name
    pub chat: String,
    /// The text, at most 65,536 bytes of UTF-8; '-' reads standard input
    #[arg(allow_negative_numbers = true)]
    pub text: String,
    /// Makes a repeated call the same message
    #[arg(long, value_name = "UUID")]
    pub message_id: Option<String>,
    /// How long to wait for the server before the message is left queued
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    pub timeout: Duration,
    /// Exit with 75 unless the server has accepted the message
    #[arg(long)]
    pub require_accepted: bool,
}

/// `wax receive`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax receive                       what is new, then leave
  wax receive --follow              stay until interrupted
  wax --json receive --count 1 --timeout 30 | jq -r .body.text

An event is printed by one 'wax receive' of a profile, once: it counts as printed when its line has
been written.")]
pub struct Receive {
    /// Stay and print what comes
    #[arg(long)]
    pub follow: bool,
    /// Stay this long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Leave after this many messages
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// `wax read`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wax read +15552000101")]
pub struct Read {
    /// A phone number, an account id, or a group's id or name
    pub chat: String,
}

/// `wax history`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wax history +15552000101 --limit 20")]
pub struct History {
    /// A phone number, an account id, or a group's id or name
    pub chat: String,
    /// Only the last N messages
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
}

/// `wax search`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wax search train tickets")]
pub struct Search {
    /// Words that the message contains, all of them
    #[arg(required = true, num_args = 1.., allow_negative_numbers = true)]
    pub words: Vec<String>,
}

/// `wax status`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax status 0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10
  wax status 0190f7a2-6c1e-7d55-b0c4-2f3a5e8d9b10 --wait delivered --timeout 60")]
pub struct Status {
    /// As 'wax send' printed it
    pub message_id: String,
    /// Stay until the message has come this far
    #[arg(long, value_name = "STATE")]
    pub wait: Option<WaitFor>,
    /// How long to wait; without it, as long as it takes
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "wait")]
    pub timeout: Option<Duration>,
}

/// How far a message has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// On the server's disk.
    Accepted,
    /// On the disk of a device of every recipient.
    Delivered,
    /// Seen by every recipient.
    Read,
}

/// `wax verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wax verify +15552000101
  wax verify +15552000101 --mark      after both of you saw the same digits
  wax verify +15552000101 --accept    they registered anew: write to the new account from now on")]
pub struct Verify {
    /// A phone number or an account id
    pub number: String,
    /// Remember that the safety number was compared and is right
    #[arg(long)]
    pub mark: bool,
    /// Accept that the number leads to a new account, and send what waits for that
    #[arg(long, conflicts_with = "mark")]
    pub accept: bool,
}

/// `wax block` and `wax unblock`
#[derive(Debug, Args)]
#[command(after_help = "\
What somebody writes to you while they are blocked is not shown, now or later, and they get no ticks
for it; nothing tells them. In groups they are members like all others.

Examples:
  wax block +15552000101
  wax unblock +15552000101
  wax blocked")]
pub struct Block {
    /// A phone number or an account id
    pub number: String,
}

/// Whole or decimal seconds, up to a year.
fn seconds(text: &str) -> Result<Duration, String> {
    const MAX: f64 = 366.0 * 86_400.0;
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=MAX).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds".into()),
    }
}
