//! How a command fails: an exit code, a name for scripts, and words that say what happened, why, and
//! what to do. docs/exit-codes.md is the table; a test compares it with this file.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What the process tells its caller, after `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Exit {
    /// Unknown command or flag, or a command that does not fit the state of the profile.
    Usage = 64,
    /// The data given, or kept in the profile, is not right.
    Data = 65,
    /// The server cannot be reached.
    Unreachable = 69,
    /// A bug in wax.
    Bug = 70,
    /// Later it may work.
    TryAgain = 75,
    /// Not allowed.
    Refused = 77,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        exit as Self
    }
}

impl TryFrom<u8> for Exit {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, &'static str> {
        [Self::Usage, Self::Data, Self::Unreachable, Self::Bug, Self::TryAgain, Self::Refused]
            .into_iter()
            .find(|exit| *exit as u8 == number)
            .ok_or("not an exit code of wax")
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $exit:ident;)*) => {
        /// Why a command failed. The name in JSON never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name for scripts.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The exit code that goes with it.
            pub const fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit,)* }
            }
        }
    };
}

reasons! {
    /// The command line cannot be read.
    Usage = "usage", Usage;
    /// `register` in a profile that has an account.
    AlreadyRegistered = "already_registered", Usage;
    /// Anything else in a profile that has none.
    NotRegistered = "not_registered", Usage;
    /// There is a file of this name, and it is not replaced without being asked to.
    FileExists = "file_exists", Usage;
    /// Not a phone number in E.164 form, or one that the server does not take.
    BadNumber = "bad_number", Data;
    /// Text that is empty, too long or not UTF-8.
    BadText = "bad_text", Data;
    /// Not a message id, or none of this profile.
    UnknownMessage = "unknown_message", Data;
    /// The message id was used for another chat or text.
    MessageIdConflict = "message_id_conflict", Data;
    /// Nobody has this number or account id.
    UnknownRecipient = "unknown_recipient", Data;
    /// Somebody whom this account has blocked.
    Blocked = "blocked", Data;
    /// No such chat in this profile.
    UnknownChat = "unknown_chat", Data;
    /// The profile's database is damaged, or of another program.
    DamagedProfile = "damaged_profile", Data;
    /// The profile's database was written by a later version.
    NewerProfile = "newer_profile", Data;
    /// No such group in this profile, or several of that name.
    UnknownGroup = "unknown_group", Data;
    /// A member is named to whom the change cannot happen.
    BadMember = "bad_member", Data;
    /// The last admin would go.
    LastAdmin = "last_admin", Data;
    /// More members than a group may have.
    GroupFull = "group_full", Data;
    /// Not a link to a group, or a dead one.
    BadGroupLink = "bad_group_link", Data;
    /// More devices than an account may have.
    TooManyDevices = "too_many_devices", Data;
    /// No device of this number.
    UnknownDevice = "unknown_device", Data;
    /// The primary device cannot be removed.
    PrimaryDevice = "primary_device", Data;
    /// Not a backup, or a damaged one.
    DamagedBackup = "damaged_backup", Data;
    /// The backup was made by a later version.
    NewerBackup = "newer_backup", Data;
    /// A file that was named cannot be read.
    UnreadableFile = "unreadable_file", Data;
    /// The server cannot be reached.
    Unreachable = "unreachable", Unreachable;
    /// The server's certificate is not trusted.
    UntrustedServer = "untrusted_server", Unreachable;
    /// The server speaks other versions of the protocol.
    VersionUnsupported = "version_unsupported", Unreachable;
    /// A bug.
    Bug = "bug", Bug;
    /// The server has not answered yet: nothing is lost.
    NotAcceptedYet = "not_accepted_yet", TryAgain;
    /// The message, or whatever else was asked for, has not come as far.
    NotYet = "not_yet", TryAgain;
    /// The server may have done it or not: doing it again does it once.
    OutcomeUnknown = "outcome_unknown", TryAgain;
    /// The server asks to come back later.
    RetryAfter = "retry_after", TryAgain;
    /// The server cannot answer now.
    Unavailable = "unavailable", TryAgain;
    /// Another process holds the profile and does not answer.
    ProfileBusy = "profile_busy", TryAgain;
    /// The disk is full.
    DiskFull = "disk_full", TryAgain;
    /// The profile cannot be read or written, or standard output cannot be written.
    Io = "io", TryAgain;
    /// Not the code that was sent.
    WrongCode = "wrong_code", Refused;
    /// The code's time is over, or it was tried too often.
    ExpiredCode = "expired_code", Refused;
    /// A code is needed and none was given or asked for.
    NoCode = "no_code", Refused;
    /// The number has an account.
    NumberTaken = "number_taken", Refused;
    /// The link code has expired, was used, or is none of this server's.
    BadLinkCode = "bad_link_code", Refused;
    /// The person at the primary device said no.
    LinkRefused = "link_refused", Refused;
    /// Only the primary device may do this.
    NotPrimary = "not_primary", Refused;
    /// Only an admin of the group may do this.
    NotAdmin = "not_admin", Refused;
    /// One's own account is not a member of the group.
    NotAMember = "not_a_member", Refused;
    /// The recovery key does not open the backup.
    WrongRecoveryKey = "wrong_recovery_key", Refused;
    /// This device is not listed any more, or its account was closed.
    Revoked = "revoked", Refused;
    /// A later connection of this device took over.
    Replaced = "replaced", Refused;
    /// The profile was copied: its connection number was used before.
    Cloned = "cloned", Refused;
    /// The message will never be accepted.
    NotAllowed = "not_allowed", Refused;
}

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, for scripts.
    pub reason: Reason,
    /// What happened and why, for people: one sentence without its full stop.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// A failure in words.
    pub fn new(reason: Reason, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason, message: message.into(), hint: hint.into() }
    }

    /// The same, with the one of several things that it is about.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Something that cannot happen did.
    pub fn bug(what: impl std::fmt::Display) -> Self {
        let hint = "please report this, with the version from 'wax --version' and what you typed";
        Self::new(Reason::Bug, format!("wax has a bug: {what}"), hint)
    }

    /// The exit code.
    pub const fn exit(&self) -> Exit {
        self.reason.exit()
    }

    /// The last line on standard error with `--json`.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
            hint: &'a str,
        }
        #[derive(Serialize)]
        struct Object<'a> {
            error: Body<'a>,
        }
        let body = Body { code: self.reason.name(), message: &self.message, hint: &self.hint };
        serde_json::to_string(&Object { error: body }).expect("three strings become JSON")
    }

    /// What a person reads on standard error.
    pub fn text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        if !self.hint.is_empty() {
            let _ = write!(text, "\n  hint: {}", self.hint);
        }
        text
    }
}
