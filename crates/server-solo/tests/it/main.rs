//! The adapters keep their contracts, on real files and through real failures.
#![allow(clippy::unwrap_used, missing_docs)]

mod conformance;
mod console;
mod files;
mod model;
