//! A wrapper for what must never reach a log or an error message.

use std::fmt;
use zeroize::Zeroize;

/// Holds a secret or personal value: `Debug` prints a placeholder, there is no `Display`,
/// and the memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Redact<T: Zeroize>(T);

impl<T: Zeroize> Redact<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Redact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Redact<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
