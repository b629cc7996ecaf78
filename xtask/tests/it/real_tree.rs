//! The repository itself passes.

use xtask::{finding, repository::Repository, supply, tidy};

use crate::lines;

#[test]
fn the_tree_is_tidy() {
    let findings = tidy::check(&Repository::open().unwrap()).unwrap();
    assert!(finding::passes(&findings), "{:#?}", lines(&findings));
}

#[test]
fn every_dependency_may_be_there() {
    let findings = supply::check(&Repository::open().unwrap()).unwrap();
    assert!(finding::passes(&findings), "{:#?}", lines(&findings));
}
