//! Files that the person names: what is written there is for its owner alone and appears as a whole, and
//! nothing that is there is lost by accident.

use crate::{
    failure::{Failure, Reason},
    profile::disk_full,
};
use rand::{Rng as _, TryRngCore as _, rngs::OsRng};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Fails if there is something already, unless it may be replaced. Asked before any work is done.
pub fn check_free(path: &Path, replace: bool) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(_) if !replace => Err(exists(path)),
        // A device, a directory or a link is not what a file takes the place of.
        Ok(there) if !there.is_file() => Err(not_a_file(path)),
        Ok(_) => Ok(()),
    }
}

/// Writes a file: first beside its place, then, once it is on the disk, under its name.
pub fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<Written, Failure> {
    let beside = Beside::create(path).map_err(|error| cannot_write(path, &error))?;
    let written = beside.fill(bytes).and_then(|()| beside.publish(path, replace));
    let replaced = written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => cannot_write(path, &error),
    })?;
    Ok(Written { beside, path: path.to_owned(), replaced })
}

/// A file that has its name. What it replaced is beside it until this goes.
pub struct Written {
    beside: Beside,
    path: PathBuf,
    replaced: bool,
}

impl Written {
    /// Everything is as it was before.
    pub fn undo(self) {
        // Why it is undone is what the person hears; that this failed, too, would help nobody.
        let _ = match self.replaced {
            true => fs::rename(&self.beside.path, &self.path),
            false => fs::remove_file(&self.path),
        };
    }
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

/// A file beside the one that the person named: what is being written, and then what it replaced. It is removed.
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

    /// Gives the file its name, unless somebody else has taken it meanwhile. True if it took the place of another
    /// one, which is beside it then.
    fn publish(&self, target: &Path, replace: bool) -> io::Result<bool> {
        let is_there = fs::symlink_metadata(target).is_ok();
        let flags = if is_there && replace { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let replaced = match renameat_with(CWD, &self.path, CWD, target, flags) {
            Ok(()) => is_there && replace,
            // Network file systems know neither: what was replaced is gone then.
            Err(Errno::INVAL | Errno::NOSYS) if replace || !is_there => {
                fs::rename(&self.path, target)?;
                false
            }
            Err(error) => return Err(error.into()),
        };
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()?;
        Ok(replaced)
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

fn not_a_file(path: &Path) -> Failure {
    Failure::new(
        Reason::Io,
        format!("{} is there, and is not a file that could be replaced", path.display()),
        "choose another name",
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
