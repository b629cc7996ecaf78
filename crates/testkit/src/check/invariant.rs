//! The invariants by number and by words, as SECURITY.md and docs/threat-model.md name them.

use std::fmt;

macro_rules! invariants {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What must be true of every history.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $($(#[$doc])* $name = $number,)*
        }

        impl Invariant {
            /// Every invariant that a history is judged by.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// In words.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

invariants! {
    /// Or it expired, or the device is gone.
    AcceptedArrives = 1, "what was accepted is committed on each target device";
    /// With the same bytes, from the same sender, to the same recipient.
    NothingUnsent = 2, "nothing is delivered that was not sent";
    /// On one screen.
    NoDuplicate = 3, "no message is visible twice";
    /// Per conversation and sender, and one order for all members.
    Order = 4, "messages are in order";
    /// An acknowledgement leaves only after the commit, too.
    DeletedAfterCommit = 5, "a row is deleted only after its device committed";
    /// No early expiry, no immortal row.
    Expiry = 6, "a row lives exactly its time";
    /// One requesting device.
    OneTimeKeyOnce = 7, "a one-time prekey goes to at most one requesting device";
    /// Byte for byte.
    BundleUploaded = 8, "a bundle's bytes are those uploaded";
    /// From the moment in which the operation was answered.
    RemovedGetsNothing = 9, "nothing goes to a revoked device or a removed member";
    /// Whoever asks later sees no earlier version, and everybody sees the same.
    Linearizable = 10, "device lists and group chains are linearizable";
    /// One message, one stamp, one line on every screen.
    ResendIsOne = 12, "resending any number of times is one message";
    /// Full mailboxes aside, which are named.
    FanOutWhole = 13, "a group's fan-out is all or none";
    /// Nothing is unaccounted for.
    Accounting = 17, "accepted = committed + pending + expired + discarded";
    /// Neither received nor stored.
    NoCanary = 18, "no plaintext or key stands in a server's bytes";
    /// A broken session heals within two round trips.
    Decryptable = 19, "no message is undecryptable";
    /// Neither a step of a ratchet nor an envelope id seals two different ciphertexts.
    NoRatchetReuse = 20, "no step of a ratchet is used twice";
    /// Messages, receipts and answers.
    Settles = 21, "after faults end, everything pending is delivered in time";
    /// Memory, descriptors, tasks.
    Bounded = 24, "resources stay bounded";
}

impl Invariant {
    /// The number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} ({})", self.number(), self.words())
    }
}
