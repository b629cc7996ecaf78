//! A version in SECURITY.md that is not the locked one is found.

use xtask::tidy::dependency_table::check;

use crate::{assert_none, assert_one};

const LOCK: &str = r#"
[[package]]
name = "rustls"
version = "0.23.46"

[[package]]
name = "prost"
version = "0.13.5"

[[package]]
name = "prost"
version = "0.14.6"
"#;

fn table(rows: &str) -> String {
    format!("| package | version | why |\n|---|---|---|\n{rows}\n")
}

#[test]
fn a_locked_version_is_fine_in_any_precision() {
    let rows = "| `rustls` | 0.23 | TLS |\n| `prost` | 0.14.6 | protobuf |";
    assert_none(&check(&table(rows), LOCK).unwrap());
}

#[test]
fn another_version_is_found() {
    assert_one(&check(&table("| `rustls` | 0.22 | TLS |"), LOCK).unwrap(), "and it is 0.23.46");
    assert_one(&check(&table("| `rustls` | 0.2 | TLS |"), LOCK).unwrap(), "and it is 0.23.46");
}

#[test]
fn a_package_that_is_gone_is_found() {
    assert_one(&check(&table("| `openssl` | 3.0 | TLS |"), LOCK).unwrap(), "not in Cargo.lock");
}

#[test]
fn a_table_that_is_gone_is_found() {
    assert_one(&check("nothing", LOCK).unwrap(), "has no table");
}
