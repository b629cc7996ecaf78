//! Limits that differ between the code and the protocol's document are found.

use xtask::tidy::limits::check;

use crate::{assert_none, assert_one};

const CODE: &str = "
/// Bytes of text.
pub const TEXT_BYTES_MAX: usize = 65_536; // the same as elsewhere
pub const MAILBOX_BYTES_MAX: u64 = 512 * 1024 * 1024;
pub const DOUBLE: u64 = 2 * MAILBOX_BYTES_MAX;
pub const LIFE: Millis = Millis::from_days(30);
pub const fn not_a_limit(days: u64) -> u64 { let x = days; x }
";

const TABLE: &str = "
| Constant | Value | Why |
|---|---|---|
| `TEXT_BYTES_MAX` | 65,536 bytes | text |
| `MAILBOX_BYTES_MAX` | 512 MiB | a mailbox |
| `DOUBLE` | `1073741824` | twice |
| `LIFE` | 30 days | life |

| Code | Meaning |
|---|---|
| `STALE` | not a limit, and in another table |
";

#[test]
fn the_same_values_in_other_units_pass() {
    assert_none(&check(CODE, TABLE));
    assert_none(&check(CODE, &TABLE.replace("30 days", "720 h")));
}

#[test]
fn another_value_is_found() {
    assert_one(
        &check(CODE, &TABLE.replace("65,536", "65,535")),
        "says that TEXT_BYTES_MAX is 65535, and it is 65536",
    );
    assert_one(&check(&CODE.replace("from_days(30)", "from_days(31)"), TABLE), "LIFE");
    assert_one(&check(CODE, &TABLE.replace("30 days", "2592000000 bytes")), "LIFE");
}

#[test]
fn a_limit_without_a_row_is_found() {
    assert_one(&check(CODE, &TABLE.replace("| `LIFE` | 30 days | life |\n", "")), "has no row for LIFE");
}

#[test]
fn a_row_without_a_limit_is_found() {
    let without = CODE.replace("pub const LIFE: Millis = Millis::from_days(30);", "");
    assert_one(&check(&without, TABLE), "has a row for LIFE");
}

#[test]
fn what_cannot_be_read_is_found() {
    assert_one(&check(CODE, &TABLE.replace("30 days", "a month")), "does not begin with a number");
    let odd = CODE.replace("from_days(30)", "from_fortnights(2)");
    assert!(check(&odd, TABLE).iter().any(|finding| finding.message.contains("from_fortnights is unknown")));
    assert!(check("", TABLE).iter().any(|finding| finding.message.contains("nothing was compared")));
}
