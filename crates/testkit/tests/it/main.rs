//! The checker is tested, too: a good history is clean, and each way of being bad is found.
#![allow(clippy::unwrap_used)]

mod bad_group_histories;
mod bad_histories;
mod bad_member_histories;
mod group_scene;
mod lines;
mod people;
mod scene;
