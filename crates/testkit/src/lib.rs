//! What tests share: fixtures, the event model, and the one checker of histories.
//!
//! Owns: [`history`], the facts that a run leaves behind, in a form that a simulator and a test of
//! real processes can both write; [`check`], which judges a history by the project's invariants;
//! [`event`], what may happen to people, devices, nodes and networks; [`fixture`], small ids and
//! envelopes; [`people`], accounts whose keys are ready; [`canary`], the search for plaintext in a server's bytes; [`ratchet`], which step of a
//! ratchet sealed a ciphertext.
//!
//! Invariants: a checker is a pure function of the history; it says how many facts each invariant
//! judged, so that a run in which nothing could have failed does not pass unseen.
//!
//! Must not know: how a history came to be (simulated or real), any server or client crate.

pub mod canary;
pub mod check;
pub mod digest;
pub mod event;
pub mod fixture;
pub mod history;
pub mod people;
pub mod ratchet;
