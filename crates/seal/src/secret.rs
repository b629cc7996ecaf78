//! Secrets of 32 bytes that travel inside the seal, one type for each purpose, so that none is used in
//! another's place.
//!
//! They are wiped on drop, show nothing in `Debug`, and compare in constant time.

use rand_core::CryptoRng;
use std::fmt;
use subtle::ConstantTimeEq;
use types::Invalid;
use zeroize::Zeroizing;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; 32]>);

        impl $name {
            /// Draws a new one.
            pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
                let mut bytes = Zeroizing::new([0; 32]);
                rng.fill_bytes(bytes.as_mut());
                Self(bytes)
            }

            /// Reads exactly 32 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
                let bytes = bytes.try_into().map_err(|_| Invalid { what: $what })?;
                Ok(Self(Zeroizing::new(bytes)))
            }

            /// The 32 bytes, for the one place that seals or stores them.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_slice().ct_eq(other.0.as_slice()).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

secret! {
    /// What the members of a group have and its server has not: seals name and description
    /// ([`crate::group_info`]). Born with the group.
    GroupSecret, "group secret"
}

secret! {
    /// The seed of a group's invite link: whoever has it can sign a `join`. Admins share it.
    LinkSeed, "link seed"
}

secret! {
    /// Shared by the devices of one account: seals their names in the device list ([`crate::names`]). Born on
    /// the primary device.
    SyncKey, "sync key"
}

secret! {
    /// Seals the parts of one archive, and nothing else ([`crate::archive`]).
    ArchiveKey, "archive key"
}
