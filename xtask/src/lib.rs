//! Repository tasks: the checks that keep the tree as its documents describe it, and the steps behind `make`.
//!
//! Owns: the tidy checks ([`tidy`]), the supply-chain checks ([`supply`]), and the runs that put programs together
//! ([`ci`], [`wasm`], [`fuzz`], [`demo`]). A check is a pure function from data to [`Finding`]s, so that its tests
//! can hand it a tree with the very fault it must find; reading the real tree is in [`repository`], [`workspace`]
//! and [`packages`]. Must not know: any crate of the product. It reads their sources and starts their programs.

pub mod ci;
pub mod command;
pub mod demo;
pub mod finding;
pub mod fuzz;
pub mod lock_file;
pub mod packages;
pub mod repository;
pub mod supply;
pub mod tidy;
pub mod wasm;
pub mod workspace;

pub use finding::Finding;
