//! Asking for memory before it is needed.
//!
//! A column's permanences, a segment's rows and a cell's posting list lie anywhere in some megabytes, so that the first
//! look at each waits for a far cache. Where a list of what comes next is at hand, asking for all of it first lets the waits overlap.
//! Hints only: they change no result, and do nothing where there is no such instruction.

#[cfg(target_arch = "x86_64")]
mod vector;

/// Asks for the cache line of `elements[index]`; outside the slice nothing happens.
#[inline]
pub(crate) fn prefetch<T>(elements: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = elements.get(index) {
        vector::prefetch(element);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (elements, index);
}
