//! Generated from `proto/`; private, because wire types stop where they are read.
#![allow(missing_docs, clippy::module_inception)]

pub(crate) mod content {
    include!(concat!(env!("OUT_DIR"), "/waxwing.content.v1.rs"));
}

#[allow(dead_code, reason = "the offer is read by `signed`")]
pub(crate) mod link {
    include!(concat!(env!("OUT_DIR"), "/waxwing.link.v1.rs"));
}
