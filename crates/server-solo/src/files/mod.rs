//! The data directory: its layout, its lock, its format.
//!
//! ```text
//! DATA/                  0700
//! ├── format             the format of the whole directory, one number
//! ├── lock               held by the process that has the directory open
//! ├── mailboxes.redb     undelivered envelopes (server-solo: redb)
//! ├── directory.sqlite   accounts, devices, prekeys, registration sessions, links, groups (server-solo: sqlite)
//! ├── blobs/             sealed bytes that are too large for a message (blobs.rs)
//! └── admin.sock         0600, the running server's
//! ```
//!
//! The lock is the kernel's, on an open file: it ends with the process, however that ends.

mod blob_file;
mod blobs;

pub use blobs::FileBlobs;

use crate::OpenError;
use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// A data directory that this process has to itself.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held, never read.
    _lock: File,
}

impl DataDir {
    /// Locks the directory, or makes it. Fails at once if another process has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let created = make_directory(path)?;
        let marker = path.join("format");
        if !created && !marker.exists() && !is_new(path)? {
            return Err(OpenError::NotADataDirectory(path.to_owned()));
        }
        let lock = lock(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(OpenError::io(path))?;
        check_format(&marker)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Undelivered envelopes.
    pub fn mailboxes(&self) -> PathBuf {
        self.path.join("mailboxes.redb")
    }

    /// Accounts, devices, prekeys, registration sessions, links, groups.
    pub fn directory(&self) -> PathBuf {
        self.path.join("directory.sqlite")
    }

    /// Blobs; a directory.
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// The socket of the running server, for its administrator.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }
}

/// Answers whether the directory was made now.
fn make_directory(path: &Path) -> Result<bool, OpenError> {
    if path.is_dir() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(OpenError::io(path))?;
    Ok(true)
}

/// Whether nothing but what a crash in [`DataDir::open`] may have left is there.
fn is_new(path: &Path) -> Result<bool, OpenError> {
    let leftovers = ["lock", "format.new", "lost+found"];
    for entry in std::fs::read_dir(path).map_err(OpenError::io(path))? {
        let name = entry.map_err(OpenError::io(path))?.file_name();
        if !leftovers.iter().any(|leftover| name == *leftover) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    create_private(&path)?;
    let file = File::open(&path).map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&path)(error)),
    }
}

fn check_format(marker: &Path) -> Result<(), OpenError> {
    match std::fs::read_to_string(marker) {
        Ok(text) => match text.trim().parse() {
            Ok(found) if found > FORMAT => {
                Err(OpenError::NewerFormat { path: marker.to_owned(), found, known: FORMAT })
            }
            Ok(_) => Ok(()),
            Err(_) => {
                Err(OpenError::Damaged { path: marker.to_owned(), cause: "not a format number".to_owned() })
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_format(marker).map_err(OpenError::io(marker))
        }
        Err(error) => Err(OpenError::io(marker)(error)),
    }
}

/// Written aside and renamed, so that the marker is never half there.
fn write_format(marker: &Path) -> std::io::Result<()> {
    let aside = marker.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&aside, marker)?;
    sync_parent(marker)
}

/// Removes what a crash may have left of a file that was being made.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), OpenError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(OpenError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Gives a finished file its name.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> Result<(), OpenError> {
    let renamed = File::open(from).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(from, to));
    renamed.and_then(|()| sync_parent(to)).map_err(OpenError::io(to))
}

/// Makes an empty file that only its owner can read, unless there is one.
pub(crate) fn create_private(path: &Path) -> Result<(), OpenError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(file) => file.sync_all().and_then(|()| sync_parent(path)).map_err(OpenError::io(path)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(OpenError::io(path)(error)),
    }
}

/// A new name is durable once its directory is.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    // The parent of a bare name is the working directory.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}
