//! Memory that a model's arrays lie in: a file mapped privately, or aligned heap memory; cut into disjoint pieces.
//!
//! Flow: a checkpoint becomes a [`Region`] (mapped, or read into a recycled buffer), the region is checked as plain
//! bytes, then [`Region::split`] consumes it and hands out one [`Piece`] per section. A piece owns its range for
//! reading and writing; the memory lives until its last piece is dropped.
//!
//! Invariants:
//! - Pieces of one region never overlap and never leave it: `split` checks both.
//! - Writing to a mapped piece copies the page (`MAP_PRIVATE`): no file ever changes through it.
//! - Every region starts at a multiple of [`ALIGNMENT`].
//!
//! A mapped file must not be shortened while it is mapped: touching a page that is gone ends the process. The
//! engine never writes to a file in place (new files replace old ones by name) and holds the lock of its data
//! folder; who cannot promise that reads the file instead of mapping it.
//!
//! Source: `bytes::BytesMut::split_to` is the model for disjoint owners of one allocation.

#![expect(unsafe_code, reason = "maps files, and hands out disjoint mutable pieces of one allocation")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapMut, MmapOptions};
use zerocopy::{FromZeros, IntoBytes};

/// Regions and sections start at multiples of this: a cache line.
pub const ALIGNMENT: usize = 64;

/// What direct input and output, past the page cache, asks of addresses and lengths on any disk.
pub const PAGE: usize = 4096;

/// Memory kept for reuse at most, per pool.
const MAX_POOLED_BYTES: usize = 64 << 20;

/// A new buffer is larger than what is wanted by this part of it, for the next image may be a little larger...
const ROOM_PART: usize = 16;

/// ...and one that exceeds what is wanted by more than this part of it is left to a larger image: a model keeps its buffer for as
/// long as it is in memory.
const EXCESS_PART: usize = 8;

/// One allocation, not yet cut up.
#[derive(Debug)]
pub struct Region {
    memory: Memory,
    /// Where the aligned bytes begin; stays valid while `memory` is neither moved out of nor touched otherwise.
    start: NonNull<u8>,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    Map { _map: MmapMut },
    Heap { words: Vec<u64>, pool: Option<Arc<BufferPool>> },
}

// SAFETY: a region is plain memory that only its owner reaches; nothing in it belongs to a thread.
unsafe impl Send for Region {}
// SAFETY: a shared region gives out no access to its bytes except through `&self` reads.
unsafe impl Sync for Region {}

impl Region {
    /// `len` zero bytes, which cost no memory until they are written if there are many of them.
    ///
    /// # Panics
    /// If there is no memory left.
    pub fn zeroed(len: usize) -> Self {
        let words = u64::new_vec_zeroed(words_for(len, ALIGNMENT)).expect("memory for a model's state");
        Self::of_heap(words, len, ALIGNMENT, None)
    }

    /// The whole file, mapped privately.
    ///
    /// # Errors
    /// What the operating system said.
    #[expect(clippy::missing_panics_doc, reason = "no mapping lies at address 0")]
    pub fn map(file: &File) -> io::Result<Self> {
        let len = file_len(file)?;
        // SAFETY: the mapping is private, so nobody sees our writes; that nobody shortens the file is the documented
        // condition of this module, kept by the engine's lock and by replacing files instead of writing into them.
        let mut map = unsafe { MmapOptions::new().len(len).map_copy(file)? };
        let start = NonNull::new(map.as_mut_ptr()).expect("a mapping is not at address 0");
        Ok(Self { memory: Memory::Map { _map: map }, start, len })
    }

    /// The whole file, read into memory of `pool`, to which it returns. The file may be open for direct input.
    ///
    /// # Errors
    /// What the operating system said; `UnexpectedEof` if the file became shorter meanwhile.
    pub fn read(mut file: &File, pool: &Arc<BufferPool>) -> io::Result<Self> {
        let len = file_len(file)?;
        let mut region = Self::reused(len.next_multiple_of(PAGE), pool);
        let mut done = 0;
        // The last read of a direct file ends at the file's end, wherever that is; there is none after it.
        while done < len {
            match file.read(&mut region.bytes_mut()[done..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        region.len = len;
        Ok(region)
    }

    /// `len` bytes of memory of `pool`, to which it returns, with whatever was in them; they start at a multiple of
    /// [`PAGE`].
    pub fn reused(len: usize, pool: &Arc<BufferPool>) -> Self {
        Self::of_heap(pool.take(words_for(len, PAGE)), len, PAGE, Some(Arc::clone(pool)))
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut region = Self::zeroed(bytes.len());
        region.bytes_mut().copy_from_slice(bytes);
        region
    }

    fn of_heap(mut words: Vec<u64>, len: usize, alignment: usize, pool: Option<Arc<BufferPool>>) -> Self {
        let bytes = words.as_mut_slice().as_mut_bytes();
        let skipped = bytes.as_ptr().align_offset(alignment);
        let aligned = &mut bytes[skipped..skipped + len];
        let start = NonNull::new(aligned.as_mut_ptr()).expect("a slice is not at address 0");
        Self { memory: Memory::Heap { words, pool }, start, len }
    }

    /// Bytes of memory that it holds: more than its length where a buffer is used again.
    pub fn memory_bytes(&self) -> usize {
        match &self.memory {
            Memory::Map { .. } => self.len,
            Memory::Heap { words, .. } => size_of_val(words.as_slice()),
        }
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` and `len` describe initialised memory that `self.memory` owns and that only `self` reaches.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Cuts the region into pieces.
    ///
    /// # Panics
    /// If the ranges are not ascending and disjoint, or leave the region.
    pub fn split(self, ranges: &[Range<usize>]) -> Vec<Piece> {
        let mut end = 0;
        for range in ranges {
            assert!(
                end <= range.start && range.start <= range.end && range.end <= self.len,
                "piece {range:?} after byte {end} of {}",
                self.len
            );
            end = range.end;
        }
        let region = Arc::new(self);
        let piece = |range: &Range<usize>| {
            // SAFETY: the range lies inside the region, as checked above.
            let start = unsafe { region.start.add(range.start) };
            Piece { start, len: range.len(), region: Arc::clone(&region) }
        };
        ranges.iter().map(piece).collect()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Memory::Heap { words, pool: Some(pool) } = &mut self.memory {
            pool.give(std::mem::take(words));
        }
    }
}

/// A part of a region, and the only way to its bytes.
#[derive(Debug)]
pub struct Piece {
    start: NonNull<u8>,
    len: usize,
    region: Arc<Region>,
}

// SAFETY: a piece is the exclusive owner of plain bytes; the region it keeps alive is `Send` and `Sync`.
unsafe impl Send for Piece {}
// SAFETY: `&Piece` only reads.
unsafe impl Sync for Piece {}

impl Piece {
    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `Region::split` checked the range, the region outlives the piece, and no other piece reaches it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Its bytes, to write.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Whether it is all of its region, so that dropping it frees memory.
    pub fn is_whole(&self) -> bool {
        self.len == self.region.len
    }
}

/// Heap memory kept between models, so that reading one touches pages that are there already.
#[derive(Debug, Default)]
pub struct BufferPool {
    /// Some hundreds at most; those given back longest ago first.
    buffers: Mutex<VecDeque<Vec<u64>>>,
}

impl BufferPool {
    /// An empty pool.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Initialised memory of at least `words` words and not many more: the smallest buffer that fits, or a new one.
    fn take(&self, words: usize) -> Vec<u64> {
        let fitting = words..=words + words / EXCESS_PART;
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let lengths = buffers.iter().map(Vec::len).enumerate();
        let chosen = lengths.filter(|(_, length)| fitting.contains(length)).min_by_key(|(_, length)| *length);
        let buffer = chosen.and_then(|(index, _)| buffers.remove(index));
        drop(buffers);
        buffer.unwrap_or_else(|| {
            u64::new_vec_zeroed(words + words / ROOM_PART).expect("memory for a model's image")
        })
    }

    fn give(&self, buffer: Vec<u64>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.push_back(buffer);
        let mut words: usize = buffers.iter().map(Vec::len).sum();
        while words * size_of::<u64>() > MAX_POOLED_BYTES {
            words -= buffers.pop_front().map_or(0, |oldest| oldest.len());
        }
    }
}

fn words_for(len: usize, alignment: usize) -> usize {
    (len + alignment).div_ceil(size_of::<u64>())
}

fn file_len(file: &File) -> io::Result<usize> {
    usize::try_from(file.metadata()?.len()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        std::io::Seek::rewind(&mut file).expect("rewound");
        file
    }

    #[test]
    fn pieces_are_disjoint_and_outlive_the_region() {
        let region = Region::copy_of(&(0..200).collect::<Vec<u8>>());
        assert_eq!(region.bytes().as_ptr().align_offset(ALIGNMENT), 0);
        let mut pieces = region.split(&[0..64, 64..64, 128..200]);
        pieces[0].bytes_mut().fill(7);
        let last = pieces.pop().expect("three pieces");
        drop(pieces);
        assert_eq!(last.bytes()[0], 128);
        assert_eq!(last.bytes().len(), 72);
    }

    #[test]
    #[should_panic(expected = "piece 10..30 after byte 20 of 100")]
    fn overlapping_pieces_are_refused() {
        Region::zeroed(100).split(&[0..20, 10..30]);
    }

    #[test]
    #[should_panic(expected = "piece 64..101")]
    fn pieces_outside_the_region_are_refused() {
        Region::zeroed(100).split(&[0..64, 64..101]);
    }

    #[test]
    fn writing_to_a_mapped_file_does_not_change_it() {
        let file = file_of(&[5; 5000]);
        let mut mapped = Region::map(&file).expect("mapped");
        mapped.bytes_mut().fill(9);
        assert_eq!(mapped.bytes(), [9; 5000]);
        assert_eq!(Region::map(&file).expect("mapped").bytes(), [5; 5000]);
        assert!(Region::map(&file_of(&[])).expect("mapped").bytes().is_empty());
    }

    #[test]
    fn memory_that_was_read_into_is_used_again() {
        let pool = BufferPool::new();
        let first = Region::read(&file_of(&[1; 10_000]), &pool).expect("read");
        let place = first.bytes().as_ptr();
        drop(first);
        let second = Region::read(&file_of(&[2; 9_000]), &pool).expect("read");
        assert_eq!(second.bytes(), [2; 9_000]);
        assert_eq!(second.bytes().as_ptr(), place);
        let third = Region::read(&file_of(&[3; 15_000]), &pool).expect("read");
        assert_eq!(third.bytes(), [3; 15_000]);
        // Whole pages, one for their alignment, and a sixteenth.
        assert!((15_000..=22_000).contains(&third.memory_bytes()), "{}", third.memory_bytes());
        assert_eq!(Region::map(&file_of(&[5; 5000])).expect("mapped").memory_bytes(), 5000);
    }

    #[test]
    fn a_small_image_leaves_the_memory_of_a_large_one_to_large_ones() {
        let pool = BufferPool::new();
        let large = Region::read(&file_of(&vec![1; 1_000_000]), &pool).expect("read");
        let place = large.bytes().as_ptr();
        drop(large);
        let small = Region::read(&file_of(&vec![2; 100_000]), &pool).expect("read");
        assert_ne!(small.bytes().as_ptr(), place);
        let large = Region::read(&file_of(&vec![3; 1_000_000]), &pool).expect("read");
        assert_eq!(large.bytes().as_ptr(), place);
    }

    #[test]
    fn no_more_than_its_limit_is_kept() {
        let pool = BufferPool::new();
        let regions: Vec<Region> = (0..20).map(|_| Region::reused(8 << 20, &pool)).collect();
        drop(regions);
        let kept = pool.buffers.lock().expect("not poisoned").iter().map(Vec::len).sum::<usize>();
        assert!((MAX_POOLED_BYTES / 2..=MAX_POOLED_BYTES).contains(&(kept * size_of::<u64>())), "{kept}");
    }
}
