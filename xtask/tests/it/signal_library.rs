//! Another user, another version or other bytes of the Signal library are found.

use std::collections::BTreeMap;

use xtask::{
    repository::Repository,
    tidy::signal_library::check,
    workspace::{Dependency, Kind, Member},
};

use crate::{assert_none, assert_one};

fn user(name: &str, requirement: &str) -> BTreeMap<String, Member> {
    let dependency = Dependency {
        name: "libsignal-protocol-syft".to_owned(),
        kind: Kind::Dev,
        requirement: requirement.to_owned(),
    };
    let member = Member { name: name.to_owned(), dependencies: vec![dependency], ..Member::default() };
    BTreeMap::from([(name.to_owned(), member)])
}

fn lock_file() -> String {
    Repository::open().unwrap().read("Cargo.lock").unwrap()
}

#[test]
fn only_the_guard_uses_it() {
    assert_none(&check(&user("seal", "=0.85.3-beta.5"), &lock_file()).unwrap());
    assert_one(&check(&user("client", "=0.85.3-beta.5"), &lock_file()).unwrap(), "only seal may");
}

#[test]
fn a_loose_requirement_is_found() {
    assert_one(&check(&user("seal", "^0.85.3-beta.5"), &lock_file()).unwrap(), "the only reviewed version");
}

#[test]
fn other_bytes_are_found() {
    let locked = lock_file();
    let checksum = "3e970a79f9941dbd090a49d4a97dc2c13f93c67af1c2cf87833b8a9f8519b579";
    assert!(locked.contains(checksum), "the lock file has the library");
    let other = locked.replace(checksum, &"0".repeat(64));
    assert_one(&check(&BTreeMap::new(), &other).unwrap(), "is not the reviewed");
}

#[test]
fn a_library_that_is_gone_is_found() {
    let without = lock_file().replace("\"spqr-syft\"", "\"another\"");
    assert_one(&check(&BTreeMap::new(), &without).unwrap(), "has no spqr-syft");
}
