//! Bytes of requests that wait for their answers.
//!
//! The number of unanswered requests of a session is bounded, but one request may have a megabyte: while a disk is
//! slow, numbers alone would let a thousand devices make a node hold a hundred gigabytes.
//!
//! Owns: the count of a node. Each shard counts those of its connections beside it.
//! Invariant: a [`Share`] is counted for as long as its request is held: until its call has ended, also where the
//! connection ends before.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What a node may hold of requests that wait for their answers.
pub(crate) struct Budget {
    bytes_max: usize,
    held: AtomicUsize,
}

/// What one request takes of it; given back when dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, held: AtomicUsize::new(0) })
    }

    /// Room for one more request; `None` while there is none.
    pub(crate) fn share(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let with = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.bytes_max);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).ok()?;
        Some(Share { budget: self.clone(), bytes })
    }
}

impl Share {
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_given_back_is_given_again_and_never_more() {
        let budget = Budget::new(100);
        let first = budget.share(60).unwrap();
        assert!(budget.share(41).is_none());
        let second = budget.share(40).unwrap();
        assert!(budget.share(1).is_none());
        assert!(budget.share(0).is_some() && budget.share(usize::MAX).is_none());
        drop((first, second));
        assert!(budget.share(100).is_some());
    }
}
