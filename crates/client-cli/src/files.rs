//! Files that the person names: what is written there is for its owner alone and appears as a whole, and
//! nothing that is there is lost by accident.

use crate::{
    failure::{Failure, Reason},
    profile::disk_full,
};
use rand::{Rng as _, TryRngCore as _, rngs::OsRng};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Fails if there is something already, unless it may be replaced. Asked before any work is done.
pub fn check_free(path: &Path, replace: bool) -> Result<(), Failure> {
    if !replace && fs::symlink_metadata(path).is_ok() {
        return Err(exists(path));
    }
    Ok(())
}

/// Writes a file: first beside its place, then, once it is on the disk, under its name.
pub fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    let beside = Beside::create(path).map_err(|error| cannot_write(path, &error))?;
    let written = beside.fill(bytes).and_then(|()| beside.publish(path, replace));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => cannot_write(path, &error),
    })
}

/// Reads a file of at most `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    opened.map_err(|error| unreadable(path, &error.to_string()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(unreadable(path, "it is too large"));
    }
    Ok(bytes)
}

/// A file that is being written, removed unless it got its name.
struct Beside {
    file: File,
    path: PathBuf,
}

impl Beside {
    fn create(target: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
        name.push(format!(".{:08x}", OsRng.unwrap_err().random::<u32>()));
        let path = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }

    fn fill(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
        self.file.sync_all()
    }

    /// Gives the file its name, unless somebody else has taken it meanwhile.
    fn publish(&self, target: &Path, replace: bool) -> io::Result<()> {
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &self.path, CWD, target, flags)?;
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Reason::FileExists,
        format!("there is a file {} already", path.display()),
        "choose another name, or replace it with --force",
    )
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull => disk_full(),
        _ => Failure::new(
            Reason::Io,
            format!("{} could not be written: {error}", path.display()),
            "check the directory and its permissions",
        ),
    }
}

fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::new(
        Reason::UnreadableFile,
        format!("{} could not be read: {why}", path.display()),
        "check the file's name and permissions",
    )
}
