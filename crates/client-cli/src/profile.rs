//! A profile: the directory of one account, its database file, and the lock that one process holds.
//!
//! The lock is the kernel's (`flock`), so it ends with the process that holds it, however it ends. The
//! lock file's content only says where the holder listens; it is never believed without asking there.

use crate::failure::{Failure, Reason};
use sha2::{Digest, Sha256};
use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Linux allows 108 bytes for the path of a socket, the last one zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The database's name in the profile's directory.
const DATABASE: &str = "profile.db";

/// Where an account lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    directory: PathBuf,
}

impl Profile {
    /// The profile in `directory`, or the default one of this user.
    pub fn new(directory: Option<PathBuf>) -> Result<Self, Failure> {
        let directory = directory.or_else(named_directory).or_else(default_directory).ok_or_else(|| {
            Failure::new(
                Reason::Usage,
                "there is no home directory to keep a profile in",
                "give one with --profile DIR or WAX_PROFILE",
            )
        })?;
        Ok(Self { directory })
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }

    /// Whether there is a database.
    pub fn exists(&self) -> bool {
        self.database().exists()
    }

    /// Makes the directory, for this user only.
    pub fn create(&self) -> Result<(), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|error| self.io_failure("made", &error))
    }

    /// Takes the lock if no process holds it. The database file exists afterwards, readable by this user only.
    pub fn try_lock(&self) -> Result<Option<ProfileLock>, Failure> {
        let path = self.directory.join("lock");
        let file = private_file(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_registered(),
            _ => self.io_failure("opened", &error),
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(self.io_failure("locked", &error)),
        }
        // SQLite gives its journals the mode of the database file.
        private_file(&self.database()).map_err(|error| self.io_failure("opened", &error))?;
        Ok(Some(ProfileLock { file }))
    }

    /// Where the holder of the lock says that it listens.
    pub fn holder_address(&self) -> Option<PathBuf> {
        let mut text = String::new();
        let file = File::open(self.directory.join("lock")).ok()?;
        file.take(SOCKET_PATH_BYTES_MAX as u64 + 1).read_to_string(&mut text).ok()?;
        let path = text.trim_end();
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// Where this process would listen as holder: a short path, because that of a profile may be too long.
    pub fn socket_path(&self) -> io::Result<PathBuf> {
        let directory = runtime_directory()?;
        let profile = fs::canonicalize(&self.directory)?;
        let digest = Sha256::digest(profile.as_os_str().as_encoded_bytes());
        let path = directory.join(format!("{}.sock", hex::encode(&digest[..8])));
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidFilename,
                "the runtime directory's path is too long",
            ));
        }
        Ok(path)
    }

    fn io_failure(&self, done: &str, error: &io::Error) -> Failure {
        let path = self.directory.display();
        match error.kind() {
            io::ErrorKind::StorageFull => disk_full(),
            _ => Failure::new(
                Reason::Io,
                format!("the profile in {path} could not be {done}: {error}"),
                "check the directory's owner and permissions, or choose another with --profile DIR",
            ),
        }
    }
}

/// The lock on a profile, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct ProfileLock {
    file: File,
}

impl ProfileLock {
    /// Says where this process listens.
    pub fn announce(&mut self, socket: &Path) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(socket.as_os_str().as_encoded_bytes())
    }
}

/// There is no account here.
pub fn not_registered() -> Failure {
    Failure::new(
        Reason::NotRegistered,
        "this profile has no account",
        "make one with 'wax register', or name another profile with --profile DIR",
    )
}

/// The disk is full.
pub fn disk_full() -> Failure {
    Failure::new(
        Reason::DiskFull,
        "the disk is full, so nothing could be stored",
        "make room and run the command again; nothing that was stored before is lost",
    )
}

/// A file that only this user can read and write.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// `$WAX_PROFILE`, unless it is empty.
fn named_directory() -> Option<PathBuf> {
    env::var_os("WAX_PROFILE").filter(|directory| !directory.is_empty()).map(PathBuf::from)
}

/// `$XDG_DATA_HOME/wax/default`, by the XDG Base Directory Specification. Earlier versions made the profile in
/// the server's own directory, `waxwing/default`: one that is there stays in use.
fn default_directory() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data =
        absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))?;
    let (present, earlier) = (data.join("wax/default"), data.join("waxwing/default"));
    let is_profile = |directory: &Path| directory.join(DATABASE).exists();
    Some(if is_profile(&earlier) && !is_profile(&present) { earlier } else { present })
}

/// A directory for sockets that is this user's alone.
fn runtime_directory() -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let given = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = match given.filter(|path| path.is_dir() && path.as_os_str().len() < 60) {
        Some(runtime) => runtime.join("waxwing"),
        None => PathBuf::from(format!("/tmp/waxwing-{user}")),
    };
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Another user may have made a directory of that name in /tmp first.
    let metadata = fs::symlink_metadata(&directory)?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        let words = format!("{} is not a directory that only you can use", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    Ok(directory)
}
