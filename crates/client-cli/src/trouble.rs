//! What the engine, the network and the server report, in words for people and codes for scripts.

use crate::{
    failure::{Failure, Reason},
    profile::{disk_full, not_registered},
};
use client::{Closed, Fault, OpenError};
use client_net::{Ended, Stopped, Unreachable};
use std::path::Path;

/// The database could not be opened.
pub fn cannot_open(error: &OpenError, database: &Path) -> Failure {
    let path = database.display();
    match error {
        OpenError::NewerFormat { .. } => Failure::new(
            Reason::NewerProfile,
            format!("the profile in {path} was written by a newer version of wax"),
            "update wax; nothing was changed",
        ),
        OpenError::NotAProfile => damaged(format!("{path} is not a profile of wax")),
        OpenError::Damaged | OpenError::OlderFormat { .. } => {
            damaged(format!("the profile in {path} is damaged"))
        }
        OpenError::Database(error) => database_failure(error),
    }
}

/// The engine failed.
pub fn fault(fault: &Fault) -> Failure {
    match fault {
        Fault::Damaged => damaged("the profile's database is damaged"),
        Fault::Full => disk_full(),
        Fault::Database(error) => database_failure(error),
        Fault::NotRegistered => not_registered(),
        Fault::Bug(what) => Failure::bug(what),
        Fault::Poisoned => Failure::new(
            Reason::Io,
            "the profile's database has failed",
            "run the command again; nothing that was stored before is lost",
        ),
    }
}

fn damaged(message: impl Into<String>) -> Failure {
    Failure::new(
        Reason::DamagedProfile,
        message,
        "restore the disk's content if you can, or move the directory away and register again",
    )
}

fn database_failure(error: &impl std::fmt::Display) -> Failure {
    Failure::new(
        Reason::Io,
        format!("the profile's database could not be read or written: {error}"),
        "check the disk and the directory's permissions, then run the command again",
    )
}

/// Nothing more will come from this connection.
pub fn ended(ended: &Ended) -> Failure {
    match ended {
        Ended::Fault(why) => fault(why),
        Ended::Closed(closed) => closed_for_good(*closed),
    }
}

fn closed_for_good(closed: Closed) -> Failure {
    match closed {
        Closed::VersionUnsupported => Failure::new(
            Reason::VersionUnsupported,
            "the server speaks none of the protocol versions that this wax speaks",
            "update wax, or ask the operator to update the server; nothing is lost",
        ),
        Closed::Cloned => Failure::new(
            Reason::Cloned,
            "this profile was copied: the server has already seen a later state of it",
            "use the other copy, or register again in a new profile",
        ),
        Closed::Replaced => Failure::new(
            Reason::Replaced,
            "another copy of this profile has connected and taken over",
            "use only one copy of a profile; if the other one is not yours, register again",
        ),
        Closed::Unauthenticated => Failure::new(
            Reason::Revoked,
            "the server does not accept this device any more",
            "register again in a new profile; the history here stays readable",
        ),
        _revoked => Failure::new(
            Reason::Revoked,
            "this device was removed, or its account was closed or replaced",
            "register again in a new profile; the history here stays readable",
        ),
    }
}

/// Whether trying again cannot help: the server is not the one that is trusted.
pub const fn is_untrusted(error: &Unreachable) -> bool {
    matches!(error, Unreachable::Pin(_) | Unreachable::Tls(_))
}

/// The server could not be reached.
pub fn unreachable(error: Option<&Unreachable>) -> Failure {
    let words = error.map_or_else(|| "it did not answer in time".to_owned(), ToString::to_string);
    match error {
        Some(Unreachable::Pin(_)) => Failure::new(
            Reason::UntrustedServer,
            format!("the server is not trusted: {words}"),
            "ask the operator for the fingerprint of the server's present certificate",
        ),
        Some(Unreachable::Tls(_)) => Failure::new(
            Reason::UntrustedServer,
            format!("the server is not trusted: {words}"),
            "check the address; for a self-signed certificate register with --server-pin",
        ),
        _ => Failure::new(
            Reason::Unreachable,
            format!("the server cannot be reached: {words}"),
            "check the network and the server's address, then run the command again; nothing is lost",
        ),
    }
}

/// The task that owns the engine ended without saying why.
pub fn stopped(_: Stopped) -> Failure {
    Failure::bug("the engine stopped by itself")
}
