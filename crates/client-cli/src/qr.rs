//! A QR code in a terminal: two rows of modules a line, by half blocks.
//!
//! Link codes are read in any case. In upper case they fit the alphabet of 45 signs, which makes a picture that a
//! terminal of 24 lines can show.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

/// White on black whatever the terminal's own colours are: with them reversed, cameras see nothing.
const LIGHT_ON_DARK: &str = "\u{1b}[97;40m";
const PLAIN: &str = "\u{1b}[0m";

/// A link code as lines of text, with its quiet zone; none for a text that fits in no code.
pub fn draw(text: &str) -> Option<String> {
    // A screen is not dirty or torn: the least correction gives the smallest picture.
    let code = QrCode::with_error_correction_level(text.to_ascii_uppercase(), EcLevel::L).ok()?;
    // A block that is drawn is light, and what is dark is left out.
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    let lines = picture.lines().map(|line| format!("{LIGHT_ON_DARK}{line}{PLAIN}"));
    Some(lines.collect::<Vec<_>>().join("\n"))
}
