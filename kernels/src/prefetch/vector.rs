//! The instruction of x86-64, which every such machine has.

#![expect(unsafe_code, reason = "a prefetch takes a pointer")]

use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

#[inline]
pub(super) fn prefetch<T>(element: &T) {
    // SAFETY: the pointer comes from a reference, and a prefetch reads nothing into the program.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) }
}
