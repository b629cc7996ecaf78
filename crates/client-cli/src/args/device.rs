//! `wax link`, `wax devices …` and `wax backup …`: what makes one account live on several machines.

use clap::{Args, Subcommand, value_parser};
use client_net::{CertificatePin, ServerUrl};
use std::path::PathBuf;

/// `wax link`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax link --server https://chat.example.org --name laptop
  wax --json link --server https://10.0.0.5:8443 --server-pin 3a5f…

Shows a code, as a picture and as text, that the primary device takes within a minute:
  wax devices add CODE
Both sides show the same six digits then; the primary goes on only if they are the same.")]
pub struct Link {
    /// The server, as https://host, with a port where it needs one (http:// only for this machine)
    #[arg(long, value_name = "URL", value_parser = value_parser!(ServerUrl))]
    pub server: ServerUrl,
    /// What to call this device among the devices of the account
    #[arg(long)]
    pub name: Option<String>,
    /// Trust only the server certificate with this SHA-256 fingerprint
    #[arg(long, value_name = "SHA256", value_parser = value_parser!(CertificatePin))]
    pub server_pin: Option<CertificatePin>,
}

/// `wax devices`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax devices
  wax devices add wxl1-… --with-history
  wax devices remove 3")]
pub struct Devices {
    /// What to do; without it, list them.
    #[command(subcommand)]
    pub command: Option<DevicesCommand>,
}

/// What to do with the devices of this account.
#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// Let a new device into this account
    #[command(after_help = "\
Examples:
  wax devices add wxl1-…                   asks whether both sides show the same six digits
  wax devices add wxl1-… --with-history    and hands over the messages from before
  wax devices add wxl1-… --yes             for scripts: asks nothing")]
    Add {
        /// The code that 'wax link' shows ('-' reads it from standard input)
        code: String,
        /// Do not ask whether the six digits are the same
        #[arg(long)]
        yes: bool,
        /// Give it the messages from before, too
        #[arg(long)]
        with_history: bool,
    },
    /// Put a device out of this account: it gets nothing more, and keeps what it has
    #[command(after_help = "Example:\n  wax devices remove 3")]
    Remove {
        /// Its number, as 'wax devices' prints it
        #[arg(value_parser = value_parser!(u8).range(1..=127))]
        device: u8,
    },
}

/// `wax backup`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wax backup create waxwing.backup
  wax backup restore waxwing.backup --server https://chat.example.org")]
pub struct Backup {
    /// What to do.
    #[command(subcommand)]
    pub command: BackupCommand,
}

/// What to do with a backup.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Write the account, its contacts, groups and messages into a sealed file
    #[command(after_help = "\
Example:
  wax backup create waxwing.backup

The recovery key is shown once. Write it down: nobody can open the file without it.")]
    Create {
        /// Where to write it
        file: PathBuf,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Check that a backup is whole and that the key opens it
    #[command(after_help = "Example:\n  wax backup verify waxwing.backup --key-file key.txt")]
    Verify {
        /// The file
        file: PathBuf,
        /// Read the recovery key from here instead of asking ('-' is standard input)
        #[arg(long, value_name = "PATH")]
        key_file: Option<PathBuf>,
    },
    /// Make this profile the account of a backup
    #[command(after_help = "\
Example:
  wax backup restore waxwing.backup --server https://chat.example.org

It is the same account on a new device, which takes the place of the old primary one. Linked devices
stay. No code is needed: the backup proves the account.")]
    Restore {
        /// The file
        file: PathBuf,
        /// The account's server
        #[arg(long, value_name = "URL", value_parser = value_parser!(ServerUrl))]
        server: ServerUrl,
        /// Read the recovery key from here instead of asking ('-' is standard input)
        #[arg(long, value_name = "PATH")]
        key_file: Option<PathBuf>,
        /// Trust only the server certificate with this SHA-256 fingerprint
        #[arg(long, value_name = "SHA256", value_parser = value_parser!(CertificatePin))]
        server_pin: Option<CertificatePin>,
    },
}
