//! The adapters keep their contracts, on real files and through real failures.
#![allow(clippy::unwrap_used, missing_docs)]

mod audit;
mod child;
mod conformance;
mod console;
mod crash;
mod crash_blobs;
mod crash_groups;
mod directory_model;
mod failing_disk;
mod file_blobs;
mod files;
mod full_disk;
mod migration;
mod model;
mod redb_mailboxes;
mod samples;
mod torn;
