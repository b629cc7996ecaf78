//! Protocol versions: each side names a range, the client picks the highest that both speak.

/// The version that this code speaks.
pub const CURRENT: u32 = 1;
/// The oldest version that this code speaks: the current one and the two before it.
pub const OLDEST: u32 = if CURRENT > 2 { CURRENT - 2 } else { 1 };

/// The versions that one side speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// What this code speaks.
pub const SUPPORTED: Range = Range { min: OLDEST, max: CURRENT };

impl Range {
    /// The highest version that both sides speak, or none.
    pub fn common(self, other: Self) -> Option<u32> {
        let highest = self.max.min(other.max);
        (highest >= self.min && highest >= other.min).then_some(highest)
    }

    /// Whether a version lies in the range.
    pub fn contains(self, version: u32) -> bool {
        (self.min..=self.max).contains(&version)
    }
}
