//! The generated types of `proto/signed.proto` and `proto/link.proto`: raw, unverified.
//!
//! Public only so that tests can forge what an honest peer never sends; everything else goes through
//! the verified types of this crate.
#![doc(hidden)]
#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/waxwing.signed.v1.rs"));

/// Of linking, this crate reads the offer alone.
pub mod link {
    include!(concat!(env!("OUT_DIR"), "/waxwing.link.v1.rs"));
}
