//! Packages that the policy does not allow are found, and so are rules that nothing needs any more.

use xtask::{
    packages::Package,
    supply::{bans, duplicates, licences, policy::Policy, sources},
};

use crate::{assert_none, assert_one};

const POLICY: &str = r#"
[graph]
targets = ["x86_64-unknown-linux-gnu"]
[licenses]
allow = ["MIT", "Apache-2.0 WITH LLVM-exception"]
[bans]
deny = [{ crate = "openssl-sys", reason = "one TLS" }]
skip = [{ crate = "syn@2", reason = "until all are at 3" }]
[sources]
allow-registry = ["https://github.com/rust-lang/crates.io-index"]
"#;

fn policy() -> Policy {
    Policy::parse(POLICY).unwrap()
}

fn package(name: &str, version: &str, licence: &str) -> Package {
    Package {
        name: name.to_owned(),
        version: version.parse().unwrap(),
        licence: (!licence.is_empty()).then(|| licence.to_owned()),
        source: Some("registry+https://github.com/rust-lang/crates.io-index".to_owned()),
    }
}

/// Packages that use every accepted licence, so that none is idle, and one more.
fn licensed(licence: &str) -> Vec<Package> {
    vec![
        package("a", "1.0.0", "MIT"),
        package("b", "1.0.0", "Apache-2.0 WITH LLVM-exception"),
        package("x", "1.0.0", licence),
    ]
}

#[test]
fn licences_are_read_as_expressions() {
    for accepted in
        ["MIT", "MIT OR GPL-2.0-only", "GPL-2.0-only/MIT", "(MIT AND Apache-2.0 WITH LLVM-exception) OR ISC"]
    {
        assert_none(&licences::check(&licensed(accepted), &policy().licenses));
    }
    for refused in ["GPL-2.0-only", "MIT AND GPL-2.0-only", "Apache-2.0"] {
        assert_one(
            &licences::check(&licensed(refused), &policy().licenses),
            "which deny.toml does not accept",
        );
    }
    assert_one(&licences::check(&licensed(""), &policy().licenses), "names no licence");
    assert_one(&licences::check(&licensed("free"), &policy().licenses), "x 1.0.0");
}

#[test]
fn an_accepted_licence_that_nothing_has_is_found() {
    assert_one(&licences::check(&[package("a", "1.0.0", "MIT")], &policy().licenses), "which no package has");
}

#[test]
fn a_package_from_elsewhere_is_found() {
    let mut foreign = package("a", "1.0.0", "MIT");
    assert_none(&sources::check(&[foreign.clone()], &policy().sources));
    foreign.source = None;
    assert_none(&sources::check(&[foreign.clone()], &policy().sources));
    for source in ["git+https://a.example/b?branch=main#abc", "registry+https://a.example/index"] {
        foreign.source = Some(source.to_owned());
        assert_one(&sources::check(&[foreign.clone()], &policy().sources), "comes from");
    }
}

#[test]
fn a_banned_package_is_found() {
    assert_one(&bans::check(&[package("openssl-sys", "0.9.0", "MIT")], &policy().bans), "is banned: one TLS");
}

#[test]
fn a_second_version_needs_a_reason() {
    let explained = [package("syn", "2.0.1", "MIT"), package("syn", "3.0.0", "MIT")];
    assert_none(&duplicates::check(&explained, &policy().bans));

    let mut unexplained = explained.to_vec();
    unexplained.extend([package("rand", "0.8.5", "MIT"), package("rand", "0.9.0", "MIT")]);
    assert_one(&duplicates::check(&unexplained, &policy().bans), "rand: is there as 0.8.5 and 0.9.0");

    let third =
        [package("syn", "1.0.0", "MIT"), package("syn", "2.0.1", "MIT"), package("syn", "3.0.0", "MIT")];
    assert_one(&duplicates::check(&third, &policy().bans), "syn: is there as 1.0.0 and 2.0.1 and 3.0.0");
}

#[test]
fn a_reason_for_no_duplicate_is_found() {
    assert_one(
        &duplicates::check(&[package("syn", "2.0.1", "MIT")], &policy().bans),
        "which is no duplicate any more",
    );
}
