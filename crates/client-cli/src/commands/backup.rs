//! `wax backup …`: one sealed file that can bring the account back on another machine.

use super::{Stop, empty, has_account, local};
use crate::{
    args::BackupCommand,
    failure::{Failure, Reason},
    files,
    lines::{BackupMade, BackupVerified, Line, Registered},
    output::{Output as _, Terminal},
    profile::Profile,
    prompt, trouble,
};
use client::{
    RestoreError, RestoreStep,
    backup::{self, BackupError, BackupSummary},
};
use client_net::{CertificatePin, ServerUrl};
use rand::{TryRngCore as _, rngs::OsRng};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    time::SystemTime,
};
use types::Timestamp;

/// A larger backup than this does not fit into memory beside everything else.
const BACKUP_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// A recovery key has 64 digits; its file may have spaces, and a remark to find it by.
const KEY_FILE_BYTES_MAX: u64 = 4_096;

/// Does one of the three.
pub async fn perform(
    command: BackupCommand,
    no_input: bool,
    profile: &Profile,
    terminal: &mut Terminal,
) -> Result<(), Stop> {
    match command {
        BackupCommand::Create { file, force } => create(&file, force, profile, terminal).await,
        BackupCommand::Verify { file, key_file } => {
            let bytes = files::read(&file, BACKUP_BYTES_MAX)?;
            let key = recovery_key(key_file, no_input).await?;
            let summary = backup::verify(&bytes, &key).map_err(refused)?;
            Ok(terminal.print(Line::BackupVerified(verified(&file, summary)).into()).await?)
        }
        BackupCommand::Restore { file, server, key_file, server_pin } => {
            if local::has_account(profile) {
                return Err(has_account().into());
            }
            let bytes = files::read(&file, BACKUP_BYTES_MAX)?;
            let key = recovery_key(key_file, no_input).await?;
            let line = restore(&bytes, &key, &server, server_pin, profile).await?;
            Ok(terminal.print(Line::Registered(line).into()).await?)
        }
    }
}

/// Writes the file and shows its key. A file whose key nobody has seen is of no use to anybody.
async fn create(file: &Path, force: bool, profile: &Profile, terminal: &mut Terminal) -> Result<(), Stop> {
    files::check_free(file, force)?;
    let made = local::with_view(profile, |view| backup::create(&view, now(), &mut OsRng.unwrap_err()))?;
    let made = made.map_err(refused)?;
    let written = files::write(file, &made.bytes, force)?;
    let line = BackupMade { file: file.display().to_string(), recovery_key: made.recovery_key.to_string() };
    let printed = terminal.print(Line::BackupMade(line).into()).await;
    if printed.is_err() {
        written.undo();
    }
    Ok(printed?)
}

fn verified(file: &Path, summary: BackupSummary) -> BackupVerified {
    BackupVerified {
        file: file.display().to_string(),
        account: summary.account.to_string(),
        phone: summary.phone.e164().to_owned(),
        made_at: summary.made_at.to_string(),
        contacts: summary.contacts,
        groups: summary.groups,
        messages: summary.messages,
    }
}

/// Makes this profile device 1 of the account.
async fn restore(
    bytes: &[u8],
    key: &str,
    server: &ServerUrl,
    server_pin: Option<CertificatePin>,
    profile: &Profile,
) -> Result<Registered, Failure> {
    profile.create()?;
    let (mut engine, _lock) = empty::take(profile).await?;
    let pin = server_pin.map(|pin| *pin.as_bytes());
    let mut rng = OsRng.unwrap_err();
    let mut request =
        engine.begin_restore(bytes, key, &server.to_string(), pin, now(), &mut rng).map_err(not_restored)?;
    loop {
        let answer = empty::ask(&request).await?;
        match engine.restored(&answer, now(), &mut rng).map_err(not_restored)? {
            RestoreStep::Again(next) => request = next,
            RestoreStep::Done(restored) => {
                return Ok(Registered {
                    account: restored.account.to_string(),
                    device: restored.device.get(),
                    phone: restored.phone.e164().to_owned(),
                });
            }
        }
    }
}

/// The key from its file, or from the person.
async fn recovery_key(file: Option<PathBuf>, no_input: bool) -> Result<String, Failure> {
    let text = match file {
        Some(file) if file == Path::new("-") => key_from_stdin()?,
        Some(file) => String::from_utf8(files::read(&file, KEY_FILE_BYTES_MAX)?).map_err(|_| not_a_key())?,
        None if no_input || !prompt::has_terminal() => {
            return Err(Failure::new(
                Reason::Usage,
                "the recovery key is needed, and there is no terminal to ask on",
                "give it with --key-file PATH; '-' reads standard input",
            ));
        }
        None => prompt::ask("Recovery key (64 digits): ").await?.unwrap_or_default(),
    };
    Ok(text.trim().to_owned())
}

fn key_from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(KEY_FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|_| not_a_key())?;
    Ok(text)
}

fn not_a_key() -> Failure {
    Failure::new(
        Reason::WrongRecoveryKey,
        "this is not a recovery key",
        "a recovery key has 64 digits, in groups of four or not",
    )
}

#[allow(clippy::needless_pass_by_value)]
fn refused(error: BackupError) -> Failure {
    match error {
        BackupError::NotPrimary => Failure::new(
            Reason::NotPrimary,
            "only the primary device has what a backup needs",
            "run the command on device 1; 'wax whoami' says which one this is",
        ),
        BackupError::Damaged => Failure::new(
            Reason::DamagedBackup,
            "this is not a backup, or it is damaged",
            "take another copy of it",
        ),
        BackupError::WrongKey => Failure::new(
            Reason::WrongRecoveryKey,
            "this recovery key does not open the backup",
            "each backup has a key of its own: 64 digits, shown when it was made",
        ),
        BackupError::Newer => Failure::new(
            Reason::NewerBackup,
            "the backup was made by a newer version of wax",
            "update wax; nothing was changed",
        ),
        BackupError::Fault(fault) => trouble::fault(&fault),
    }
}

#[allow(clippy::needless_pass_by_value)]
fn not_restored(error: RestoreError) -> Failure {
    match error {
        RestoreError::HasAccount => has_account(),
        RestoreError::NotBegun => Failure::bug("a restore that was begun is gone"),
        RestoreError::Backup(error) => refused(error),
        RestoreError::Refused(problem) if problem.code == "no_account" => Failure::new(
            Reason::UnknownRecipient,
            "this server does not have the account of the backup",
            "name the server that the account is registered at",
        ),
        RestoreError::Refused(problem) if problem.code == "account_closed" => Failure::new(
            Reason::Revoked,
            "the account of the backup was closed: its number was registered again, or it was deleted",
            "register the number again in a new profile",
        ),
        RestoreError::Refused(problem) => empty::refused(&problem),
        RestoreError::BadAnswer => empty::bad_answer(),
        RestoreError::Fault(fault) => trouble::fault(&fault),
    }
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}
