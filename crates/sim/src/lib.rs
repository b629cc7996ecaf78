//! The whole service and its clients on one thread, under a virtual clock, network and disk.
//!
//! Owns: the executor, the network, nodes made of the server's own core and session machines over
//! shared fakes, people whose devices, one or several, run the client's own engine, the script that a
//! seed draws, and the run that plays it and hands its history to the checker.
//!
//! Invariants: one seed is one run, byte for byte; nothing reads a clock, an environment or a hash
//! map's order.
//!
//! Must not know: sockets, files, threads.

pub mod bugs;
pub mod calls;
pub mod chance;
pub mod chronicle;
pub mod device;
pub mod disk;
pub mod executor;
pub mod guest;
pub mod guild;
pub mod hostile;
pub mod http;
pub mod network;
pub mod node;
pub mod pairing;
pub mod plan;
pub mod play;
pub mod watch;
pub mod world;
