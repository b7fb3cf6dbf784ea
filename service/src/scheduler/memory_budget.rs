//! How much memory models may take, kept by reserving before taking.
//!
//! Whoever holds a model holds a [`Reservation`] that covers it, and gives it back by dropping it, also in a panic. A
//! model may grow while it is stepped, so a reservation for stepping has [`with_headroom`], and a share ends before
//! the room is used up.
//!
//! Invariant: the sum of all reservations stays within the limit, but for a lone model that is larger than the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Models grow their arrays by at most this part at once...
const GROWTH_PART: usize = 4;
/// ...and small arrays by more than their size.
const GROWTH_BYTES: usize = 256 << 10;

/// What a model of `bytes` may need while one more row is stepped: an array that outgrows its section of the model's
/// file moves, grown, and the section stays where it is; at worst all arrays do so at once.
pub(super) fn with_headroom(bytes: usize) -> usize {
    bytes.saturating_mul(2).saturating_add(bytes / GROWTH_PART).saturating_add(GROWTH_BYTES)
}

/// The limit and what is reserved of it.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: usize,
    reserved: AtomicUsize,
    peak: AtomicUsize,
}

impl MemoryBudget {
    /// Nothing reserved yet.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, reserved: AtomicUsize::new(0), peak: AtomicUsize::new(0) })
    }

    /// The limit.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Reserved now.
    pub(super) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// The most that was ever reserved.
    pub(super) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// A reservation, if there is room.
    pub(super) fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.try_cover(bytes).then_some(reservation)
    }

    /// A reservation whatever the limit: for a lone model.
    pub(super) fn reserve_beyond_limit(self: &Arc<Self>, bytes: usize) -> Reservation {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.cover(bytes);
        reservation
    }

    fn note_peak(&self, reserved: usize) {
        self.peak.fetch_max(reserved, Ordering::Relaxed);
    }
}

/// A part of the budget.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Reservation {
    /// Its size.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it `bytes` large; false, and unchanged, if there is no room to grow.
    pub(super) fn try_cover(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            self.cover(bytes);
            return true;
        }
        let more = bytes - self.bytes;
        let limit = self.budget.limit;
        let grown = self.budget.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
            reserved.checked_add(more).filter(|total| *total <= limit)
        });
        let Ok(before) = grown else { return false };
        self.budget.note_peak(before + more);
        self.bytes = bytes;
        true
    }

    /// Makes it `bytes` large whatever the limit.
    pub(super) fn cover(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.reserved.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - self.bytes;
            let before = self.budget.reserved.fetch_add(more, Ordering::Relaxed);
            self.budget.note_peak(before.saturating_add(more));
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_hands_out_more_than_there_is() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.try_reserve(60).expect("room");
        assert!(budget.try_reserve(41).is_none());
        let second = budget.try_reserve(40).expect("room");
        assert!(!first.try_cover(61) && first.bytes() == 60);
        assert!(first.try_cover(10));
        assert_eq!(budget.reserved(), 50);
        drop(second);
        assert!(first.try_cover(100));
        drop(first);
        assert_eq!((budget.reserved(), budget.peak()), (0, 100));
    }

    #[test]
    fn a_lone_model_may_be_larger() {
        let budget = MemoryBudget::new(100);
        let lone = budget.reserve_beyond_limit(1000);
        assert!(budget.try_reserve(1).is_none());
        drop(lone);
        assert!(budget.try_reserve(1).is_some());
    }
}
