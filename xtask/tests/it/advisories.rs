//! Affected packages are found unless the list says why they may stay.

use xtask::{packages::Package, supply::advisories::Advisories};

use crate::{assert_none, assert_one};

const ENTRY: &str = r#"
checked = "2026-11-22"
[[advisory]]
id = "RUSTSEC-2024-0344"
package = "curve25519-dalek"
affected = "<4.1.3"
published = "2024-06-18"
fault = "scalar subtraction takes a time that depends on the secret"
"#;

fn packages(version: &str) -> Vec<Package> {
    let name = "curve25519-dalek".to_owned();
    vec![Package { name, version: version.parse().unwrap(), licence: None, source: None }]
}

fn list(accepted: bool) -> Advisories {
    let reason = if accepted { "accepted = \"the secret is public\"\n" } else { "" };
    Advisories::parse(&format!("{ENTRY}{reason}")).unwrap()
}

#[test]
fn an_affected_version_is_refused() {
    assert_one(&list(false).check(&packages("4.1.2")), "curve25519-dalek 4.1.2: RUSTSEC-2024-0344");
    assert_one(&list(false).check(&packages("4.1.2-beta.1")), "RUSTSEC-2024-0344");
    assert_none(&list(false).check(&packages("4.1.3")));
}

#[test]
fn an_accepted_one_needs_to_be_there() {
    assert_none(&list(true).check(&packages("4.1.2")));
    assert_one(&list(true).check(&packages("4.1.3")), "take `accepted` out");
}

#[test]
fn dates_are_dates() {
    for wrong in ["2024-13-01", "2024-6-18", "yesterday", "2024-06-18-1", ""] {
        let text = ENTRY.replace("2024-06-18", wrong);
        assert!(Advisories::parse(&text).is_err(), "{wrong:?} is no date");
    }
}
