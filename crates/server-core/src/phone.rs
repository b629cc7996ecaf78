//! Phone numbers as an operator accepts them: E.164 syntax and a country code that exists; where real
//! text messages are sent, also a number that the country's numbering plan has.

use types::PhoneNumber;

/// Reads a number that somebody typed. `strict` asks for a number that the numbering plan has; without
/// it the `+1 555` numbers of examples and tests work.
pub(crate) fn parse(text: &str, strict: bool) -> Option<PhoneNumber> {
    let number: PhoneNumber = text.parse().ok()?;
    let known = phonenumber::parse(None, number.e164()).ok()?;
    // The library answers code 0 where it found none.
    let has_country = known.country().code() != 0;
    (has_country && (!strict || phonenumber::is_valid(&known))).then_some(number)
}

/// The part that numbers of one block share: country code and area.
pub(crate) fn prefix(number: &PhoneNumber) -> &str {
    const PREFIX_CHARS: usize = 8;
    let e164 = number.e164();
    e164.get(..PREFIX_CHARS).unwrap_or(e164)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepted(text: &str) -> (bool, bool) {
        (parse(text, false).is_some(), parse(text, true).is_some())
    }

    #[test]
    fn syntax_and_country_code_are_always_checked_and_the_plan_where_asked() {
        assert_eq!(accepted("+41446681800"), (true, true));
        assert_eq!(accepted("+1 (650) 253-0000"), (true, true));
        assert_eq!(accepted("+15552000100"), (true, false), "an example number");
        assert_eq!(accepted("+99912345678"), (false, false), "no such country code");
        assert_eq!(accepted("+2101234567"), (false, false), "no such country code");
        assert_eq!(accepted("15552000100"), (false, false));
        assert_eq!(accepted("+1555"), (false, false));
        assert_eq!(accepted("+1555200010012345"), (false, false));
        assert_eq!(accepted("+1555200x100"), (false, false));
        assert_eq!(accepted(""), (false, false));
    }

    #[test]
    fn a_number_stays_as_it_is_dialled() {
        let number = parse("+1 555 200-0100", false).map(|number| number.e164().to_owned());
        assert_eq!(number.as_deref(), Some("+15552000100"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\+?[0-9 ().-]{0,24}|.{0,24}") {
            let _ = parse(&text, true);
        }
    }
}
