//! Hides the exact length of a content: few lengths are possible, and the ciphertext's length follows from
//! the padded one alone.
//!
//! The content is followed by one byte 0x80 and zeros. Padded lengths are 160, 320, 480, 640, 800, 960 and
//! 1,024 bytes; above that those of PADME (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files
//! and Communication with PURBs", 2019), which leaks O(log log n) bits and adds less than 12%.

/// Ends the content; everything after it is zero.
pub(crate) const TERMINATOR: u8 = 0x80;
/// Short texts, receipts and everything invisible fall into the first steps.
const STEP: usize = 160;
/// Above this length the steps of PADME are larger than one step of 160 would soon be.
const STEPS_END: usize = 1_024;

/// The plaintext does not end as padding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the padding is not valid")]
pub struct PaddingInvalid;

/// Adds the terminator and zeros up to the next padded length.
pub fn pad(mut content: Vec<u8>) -> Vec<u8> {
    let length = padded_length(content.len());
    content.push(TERMINATOR);
    content.resize(length, 0);
    content
}

/// The content of a padded plaintext. Strict: the length must be one that [`pad`] gives to this content.
pub fn unpad(padded: &[u8]) -> Result<&[u8], PaddingInvalid> {
    let end = padded.iter().rposition(|byte| *byte != 0).ok_or(PaddingInvalid)?;
    let (content, padding) = padded.split_at_checked(end).ok_or(PaddingInvalid)?;
    let terminated = padding.first() == Some(&TERMINATOR);
    if terminated && padded.len() == padded_length(content.len()) { Ok(content) } else { Err(PaddingInvalid) }
}

/// The length of a plaintext whose content has this length.
pub const fn padded_length(content_length: usize) -> usize {
    let length = content_length + 1;
    if length > STEPS_END {
        padme(length)
    } else {
        let stepped = length.div_ceil(STEP) * STEP;
        if stepped > STEPS_END { STEPS_END } else { stepped }
    }
}

/// Rounds up so that only as many leading bits remain as the length's exponent has bits.
const fn padme(length: usize) -> usize {
    let exponent = length.ilog2();
    let mantissa_bits = exponent.ilog2() + 1;
    let low_bits = (1 << (exponent - mantissa_bits)) - 1;
    (length + low_bits) & !low_bits
}
