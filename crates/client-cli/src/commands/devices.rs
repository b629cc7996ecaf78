//! `wax devices add` and `wax devices remove`: the primary decides which devices its account has.

use super::{Stop, come_back, link::spaced, never_reached};
use crate::{
    failure::{Failure, Reason},
    lines::{DeviceAdded, DeviceRemoved, Line},
    output::Output,
    session::{PATIENCE, Session, Waiting, Woken},
    trouble,
};
use client::{AddDeviceError, AddingDevice, RemoveDeviceError};
use client_net::AddingDevices;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use types::{DeviceNumber, limits::DEVICES_MAX};

/// A device to add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    /// What `wax link` shows on it.
    pub code: String,
    /// The person is not asked.
    pub yes: bool,
    /// It gets the messages from before, too.
    pub with_history: bool,
    /// Another process has begun with it, and ended.
    #[serde(default)]
    pub again: bool,
}

/// Adds a device, and stays until it has everything that it is to be given.
pub async fn add(
    job: Add,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    if job.again {
        // A code serves once; that it has served this very command is no failure.
        let code = job.code.clone();
        if let Some(device) = session.ask(move |engine, _| engine.view().device_added_by(&code)).await? {
            return done(device, output).await;
        }
    }
    let begun = session.driver().add_device(job.code, job.with_history).await;
    let mut steps = begun.map_err(|stopped| session.stopped(stopped))?.map_err(not_added)?;
    let mut added = None;
    let mut told = 0;
    loop {
        match next(&mut steps, added, session, &mut waiting).await? {
            AddingDevice::Digits { digits, name } => {
                if job.yes || is_confirmed(&digits, &name, &mut waiting, output).await? {
                    if job.yes {
                        output.note(&format!("the new device shows the digits {}", spaced(&digits))).await;
                    }
                    confirm(true, session).await?;
                } else {
                    confirm(false, session).await?;
                    return Err(not_added(AddDeviceError::Refused).into());
                }
            }
            AddingDevice::Added { device } => {
                added = Some(device);
                if job.with_history {
                    let words = format!("device {device} is in; its history is being handed over");
                    output.note(&words).await;
                }
            }
            AddingDevice::HandingOver { done, total } => {
                // Every tenth is enough for a person, and does not fill a log.
                let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(0);
                if job.with_history && tenth > told {
                    told = tenth;
                    output.note(&format!("handed over {done} of {total} messages")).await;
                }
            }
            AddingDevice::Done { device } => return done(device, output).await,
            AddingDevice::Failed(error) => return Err(interrupted(added, error).into()),
        }
    }
}

async fn done(device: DeviceNumber, output: &mut dyn Output) -> Result<(), Stop> {
    output.print(Line::DeviceAdded(DeviceAdded { device: device.get() }).into()).await?;
    Ok(())
}

/// The next step, as long as the server says anything.
async fn next(
    steps: &mut AddingDevices,
    added: Option<DeviceNumber>,
    session: &Session,
    waiting: &mut Waiting,
) -> Result<AddingDevice, Failure> {
    loop {
        let progress = waiting.progress();
        if let Some(ended) = &progress.ended {
            return Err(trouble::ended(ended));
        }
        let silent_at = progress.silent_at(waiting.began(), PATIENCE);
        let woken = tokio::select! {
            biased;
            step = steps.recv() => match step {
                Some(step) => return Ok(step),
                None => return Err(taken_over(session)),
            },
            woken = waiting.until(Some(silent_at)) => woken,
        };
        let silent = woken == Woken::TimeUp && Instant::now() >= silent_at;
        if silent || woken == Woken::Hurried {
            return Err(match added {
                Some(device) => not_handed_over(device),
                None if has_no_place(session).await? => not_added(AddDeviceError::TooManyDevices),
                None => never_reached(waiting, "whether the device was added is not known"),
            });
        }
    }
}

/// Whether the account has all the devices that it may have, as far as this one knows.
async fn has_no_place(session: &Session) -> Result<bool, Failure> {
    session.ask(|engine, _| Ok(engine.view().devices()?.len() >= DEVICES_MAX)).await
}

/// Another `devices add` of this profile took its place, or the engine has stopped.
fn taken_over(session: &Session) -> Failure {
    match session.driver().progress().borrow().ended.as_ref() {
        Some(ended) => trouble::ended(ended),
        None => not_added(AddDeviceError::Busy),
    }
}

/// Asks the person. Somebody who wants the command to end does not agree.
async fn is_confirmed(
    digits: &str,
    name: &str,
    waiting: &mut Waiting,
    output: &mut dyn Output,
) -> Result<bool, Stop> {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let question =
        format!("The new device \"{name}\" has to show these six digits: {}\nDoes it?", spaced(digits));
    tokio::select! {
        biased;
        () = waiting.hurried() => Ok(false),
        confirmed = output.confirm(&question) => Ok(confirmed?),
    }
}

async fn confirm(yes: bool, session: &Session) -> Result<(), Failure> {
    let said = session.driver().call(move |engine, now, rng| match yes {
        true => engine.confirm_device(now, rng),
        false => engine.refuse_device(now, rng),
    });
    said.await.map_err(|stopped| session.stopped(stopped))?.map_err(|fault| trouble::fault(&fault))
}

fn interrupted(added: Option<DeviceNumber>, error: AddDeviceError) -> Failure {
    match (added, error) {
        (_, AddDeviceError::Removed) => removed_again(),
        (Some(device), _) => not_handed_over(device),
        (None, error) => not_added(error),
    }
}

/// It is on the list, and what it is to be given is not all with the server yet.
fn not_handed_over(device: DeviceNumber) -> Failure {
    Failure::new(
        Reason::NotYet,
        format!("device {device} is in, and what it is to be given was not handed over completely"),
        "the rest goes with the next wax command that connects; 'wax receive' is one",
    )
}

fn removed_again() -> Failure {
    Failure::new(
        Reason::UnknownDevice,
        "the device was removed again, before it was given everything",
        "link it once more if that was not meant",
    )
}

fn not_added(error: AddDeviceError) -> Failure {
    let new_code = "run 'wax link' on the new device again, and take the code that it shows";
    match error {
        AddDeviceError::NotPrimary => not_primary(),
        AddDeviceError::Removed => removed_again(),
        AddDeviceError::BadCode => {
            Failure::new(Reason::BadLinkCode, "this is not a link code", "a link code begins with 'wxl1-'")
        }
        AddDeviceError::TooManyDevices => Failure::new(
            Reason::TooManyDevices,
            "this account has five devices, and may not have more",
            "remove one with 'wax devices remove N'; 'wax devices' lists them",
        ),
        AddDeviceError::Busy => Failure::new(
            Reason::NotYet,
            "another device is being added to this account",
            "let that end, and run this again with the code that the device shows then",
        ),
        AddDeviceError::LinkUnavailable => Failure::new(
            Reason::BadLinkCode,
            "this link code has expired, was used, or is none of your server's",
            new_code,
        ),
        AddDeviceError::Tampered(why) => Failure::new(
            Reason::BadLinkCode,
            format!("the server gave other keys than the code names: {why}"),
            "somebody may stand between the two devices: try again over another network",
        ),
        AddDeviceError::Declined => Failure::new(
            Reason::BadLinkCode,
            "the new device could not read its invitation: this is not the code that it shows",
            new_code,
        ),
        AddDeviceError::NoAnswer => Failure::new(
            Reason::NotYet,
            "the new device has not answered: 'wax link' does not run there any more",
            new_code,
        ),
        AddDeviceError::Refused => Failure::new(
            Reason::LinkRefused,
            "the digits were not confirmed, and the device was not added",
            "if they were not the same, somebody stands between the two devices",
        ),
        AddDeviceError::Interrupted => Failure::new(
            Reason::NotYet,
            "handing over was interrupted",
            "the rest goes with the next wax command that connects; 'wax receive' is one",
        ),
        AddDeviceError::RetryAfter(after) => come_back(Some(after)),
        AddDeviceError::Server(code) => refused(code),
    }
}

/// Only device 1 signs lists.
fn not_primary() -> Failure {
    Failure::new(
        Reason::NotPrimary,
        "this is not the primary device of the account",
        "run the command on device 1; 'wax whoami' says which one this is",
    )
}

fn refused(code: &str) -> Failure {
    Failure::new(
        Reason::NotAllowed,
        format!("the server refused the device list ({code})"),
        "run 'wax receive', then try again",
    )
}

/// Removes a device.
pub async fn remove(
    number: u8,
    session: &Session,
    mut waiting: Waiting,
    output: &mut dyn Output,
) -> Result<(), Stop> {
    let device =
        DeviceNumber::new(number.into()).map_err(|_| not_removed(RemoveDeviceError::NoSuchDevice))?;
    let removal = session.driver().remove_device(device);
    tokio::pin!(removal);
    loop {
        let progress = waiting.progress();
        if let Some(ended) = &progress.ended {
            return Err(trouble::ended(ended).into());
        }
        let silent_at = progress.silent_at(waiting.began(), PATIENCE);
        let woken = tokio::select! {
            biased;
            result = &mut removal => {
                result.map_err(|stopped| session.stopped(stopped))?.map_err(not_removed)?;
                output.print(Line::DeviceRemoved(DeviceRemoved { removed: number }).into()).await?;
                return Ok(());
            }
            woken = waiting.until(Some(silent_at)) => woken,
        };
        if woken == Woken::Hurried || (woken == Woken::TimeUp && Instant::now() >= silent_at) {
            let what = "the device is removed as soon as a wax command of this profile connects";
            return Err(never_reached(&mut waiting, what).into());
        }
    }
}

fn not_removed(error: RemoveDeviceError) -> Failure {
    match error {
        RemoveDeviceError::NotPrimary => not_primary(),
        RemoveDeviceError::Primary => Failure::new(
            Reason::PrimaryDevice,
            "the primary device cannot be removed from its account",
            "restore a backup on another machine to make that one the primary",
        ),
        RemoveDeviceError::NoSuchDevice => Failure::new(
            Reason::UnknownDevice,
            "this account has no device of this number",
            "'wax devices' lists them",
        ),
        RemoveDeviceError::Server(code) => refused(code),
    }
}
