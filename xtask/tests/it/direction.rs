//! Dependencies against the arrows are found, whatever table they stand in.

use std::collections::BTreeMap;

use xtask::{
    tidy::direction::check,
    workspace::{Dependency, Kind, Member},
};

use crate::{assert_none, assert_one};

/// Crates with the dependencies given as (from, kind, to).
fn workspace(edges: &[(&str, Kind, &str)]) -> BTreeMap<String, Member> {
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    for (from, kind, to) in edges {
        for name in [from, to] {
            members.entry((*name).to_owned()).or_default().name = (*name).to_owned();
        }
        let dependency = Dependency { name: (*to).to_owned(), kind: *kind, requirement: "*".to_owned() };
        members.get_mut(*from).unwrap().dependencies.push(dependency);
    }
    members
}

#[test]
fn along_the_arrows_is_fine() {
    assert_none(&check(&workspace(&[
        ("wire", Kind::Normal, "types"),
        ("client", Kind::Normal, "types"),
        ("client", Kind::Normal, "seal"),
        ("client-cli", Kind::Normal, "client-net"),
        ("server", Kind::Normal, "server-solo"),
        ("server", Kind::Dev, "client"),
        ("sim", Kind::Normal, "server-core"),
        ("client", Kind::Dev, "testkit"),
    ])));
}

#[test]
fn against_an_arrow_is_found() {
    assert_one(&check(&workspace(&[("types", Kind::Normal, "wire")])), "types: may not depend on wire");
    assert_one(&check(&workspace(&[("wire", Kind::Build, "signed")])), "wire: may not depend on signed");
    assert_one(
        &check(&workspace(&[("server-core", Kind::Normal, "server-edge")])),
        "server-core: may not depend on",
    );
}

#[test]
fn the_server_never_sees_the_seal() {
    assert_one(
        &check(&workspace(&[("server-core", Kind::Normal, "seal")])),
        "server-core: may not depend on seal",
    );
    assert_one(&check(&workspace(&[("server", Kind::Normal, "client")])), "server: may not depend on client");
}

#[test]
fn the_client_never_sees_the_server_even_in_tests() {
    assert_one(
        &check(&workspace(&[("client-net", Kind::Dev, "server")])),
        "client-net: may not depend on server",
    );
    assert_one(
        &check(&workspace(&[("client", Kind::Normal, "server-ports")])),
        "the client's side never sees",
    );
}

#[test]
fn tools_are_leaves() {
    assert_one(&check(&workspace(&[("server", Kind::Dev, "sim")])), "nothing depends on a tool");
    assert_one(&check(&workspace(&[("testkit", Kind::Normal, "loadgen")])), "nothing depends on a tool");
    assert_one(
        &check(&workspace(&[("client", Kind::Normal, "testkit")])),
        "client: may not depend on testkit",
    );
}

#[test]
fn a_crate_without_a_place_is_found() {
    assert_one(&check(&workspace(&[("blog", Kind::Normal, "types")])), "blog: has no place");
}
