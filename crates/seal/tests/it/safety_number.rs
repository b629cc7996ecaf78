//! Sixty digits, the same on both sides.

use expect_test::expect;
use seal::safety_number;
use signed::AccountSecret;

#[test]
fn both_sides_see_the_same_digits() {
    let (alice, bob) =
        (AccountSecret::from_bytes(&[1; 32]).public(), AccountSecret::from_bytes(&[2; 32]).public());
    let number = safety_number(&alice, &bob);
    assert_eq!(number, safety_number(&bob, &alice));
    assert_eq!(number.digits().len(), 60);
    assert!(number.digits().bytes().all(|digit| digit.is_ascii_digit()));
    expect!["01526 39499 38098 11885 64095 71515 98285 87881 33126 65467 82548 16626"]
        .assert_eq(&number.to_string());
    assert_eq!(format!("{number:?}"), "SafetyNumber(redacted)");
}

#[test]
fn another_key_gives_other_digits_on_its_half_only() {
    let key = |seed| AccountSecret::from_bytes(&[seed; 32]).public();
    let halves = |number: seal::SafetyNumber| {
        let (left, right) = number.digits().split_at(30);
        [left.to_owned(), right.to_owned()]
    };
    let (with_bob, with_mallory) =
        (halves(safety_number(&key(1), &key(2))), halves(safety_number(&key(1), &key(3))));
    let shared = with_bob.iter().filter(|half| with_mallory.contains(half)).count();
    assert_eq!(shared, 1, "the half of the one account that is the same");
}
