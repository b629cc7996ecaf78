//! A Signal library anywhere below the server is found.

use xtask::tidy::server_tree::check;

use crate::{assert_none, assert_one};

#[test]
fn a_server_without_the_seal_passes() {
    assert_none(&check(
        "server v0.1.0 (/somewhere)\nsigned v0.1.0\ned25519-dalek v2.2.0\nsigned v0.1.0 (*)\n",
    ));
}

#[test]
fn a_signal_library_is_found() {
    for name in [
        "libsignal-protocol-syft",
        "libsignal-core-syft",
        "signal-crypto-syft",
        "spqr-syft",
        "seal",
        "client-net",
    ] {
        let tree =
            format!("server v0.1.0\nsigned v0.1.0\n{name} v0.85.3-beta.5\n{name} v0.85.3-beta.5 (*)\n");
        assert_one(&check(&tree), &format!("is built with {name}"));
    }
}

#[test]
fn an_empty_tree_proves_nothing() {
    assert_one(&check(""), "nothing was checked");
}
