//! A logic crate that lost its bans is found.

use xtask::tidy::bans::{check_crate, check_lists};

use crate::{assert_none, assert_one};

const EVERYWHERE: &str = r#"disallowed-methods = [{ path = "a::b", reason = "because" }]"#;

#[test]
fn the_logic_list_repeats_the_general_one() {
    let both =
        r#"disallowed-methods = [{ path = "a::b", reason = "because" }, { path = "c::d", reason = "so" }]"#;
    assert_none(&check_lists(EVERYWHERE, both).unwrap());
    let forgotten = r#"disallowed-methods = [{ path = "c::d", reason = "so" }]"#;
    assert_one(&check_lists(EVERYWHERE, forgotten).unwrap(), "a::b is banned in clippy.toml");
}

#[test]
fn every_ban_has_a_reason() {
    let silent = r#"disallowed-methods = [{ path = "a::b" }]"#;
    assert_one(&check_lists(EVERYWHERE, silent).unwrap(), "the ban of a::b has no reason");
}

#[test]
fn every_logic_crate_has_the_list() {
    assert!(check_crate("crates/x/clippy.toml", Some("list"), "list").is_none());
    let missing = check_crate("crates/x/clippy.toml", None, "list").unwrap();
    assert!(missing.to_string().contains("is missing"));
    let other = check_crate("crates/x/clippy.toml", Some(""), "list").unwrap();
    assert!(other.to_string().contains("is not clippy-logic.toml"));
}
