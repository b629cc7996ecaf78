//! Two sides with different ranges agree on the highest version in common, or part.

use wire::version::{CURRENT, Range, SUPPORTED};

#[test]
fn a_next_version_still_speaks_this_one() {
    let next_server = Range { min: CURRENT, max: CURRENT + 1 };
    assert_eq!(SUPPORTED.common(next_server), Some(CURRENT));
    assert_eq!(next_server.common(SUPPORTED), Some(CURRENT));
}

#[test]
fn a_far_future_version_has_nothing_in_common() {
    let far = Range { min: CURRENT + 1, max: CURRENT + 3 };
    assert_eq!(SUPPORTED.common(far), None);
    assert_eq!(far.common(SUPPORTED), None);
}

#[test]
fn a_range_turned_upside_down_has_nothing_in_common() {
    assert_eq!(SUPPORTED.common(Range { min: CURRENT + 5, max: CURRENT }), None);
}

#[test]
fn the_supported_range_is_the_current_version_and_two_before_it() {
    assert_eq!((SUPPORTED.min, SUPPORTED.max), (CURRENT.saturating_sub(2).max(1), CURRENT));
}
