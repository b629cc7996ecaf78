//! What signed bytes must be, and everything that must be refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod certificate;
mod device_list;
mod fixtures;
mod group;
mod ids;
mod keys;
mod link_offer;
mod session;
mod snapshot;
