//! The HTM algorithms, as functions over borrowed slices.
//!
//! Contract of every kernel: no allocation, no I/O, no errors. The owner of the memory (`htm-core`) lays a
//! model out as flat arrays of plain numbers, lends them as a state view, and the kernel steps it. A broken
//! precondition panics and names the numbers. Results never depend on the order in which a kernel visits
//! memory, except where a file says so.
//!
//! Departures from the reference (NuPIC 1.0.5 with nupic.core 1.0.6) are of layout only; every value that the
//! reference can show is equal to the bit. Each file names the part it follows.
//!
//! Which kernel has code for which instruction set; all others are portable. Every one equals its scalar form to the
//! bit, which is tested at the edges of its vectors.
//!
//! | kernel | scalar | AVX2 | AVX-512 |
//! |---|---|---|---|
//! | [`spatial_pooler::overlap`], [`spatial_pooler::inhibition`] | plain words | the same, compiled for wider registers | likewise |
//! | [`spatial_pooler::learning`] | `wide` | intrinsics, `pext` | mask registers |
//! | [`spatial_pooler::duty_cycle`] | plain loops, `wide` | intrinsics | intrinsics |
//! | [`backtracking_tm::scan`] | plain words | compare and mask | compress |
//! | [`backtracking_tm::adapt`] | tables | `pshufb` tables | `vpermb` tables |
//! | [`backtracking_tm::verify`] | bit tests | gather | gather |
//!
//! Counting itself ([`backtracking_tm::activity`]) is scalar everywhere: it is bound by one load and one store a
//! posting, and scatter instructions are slower than that.
//!
//! Reading order: [`isa`], [`word`], [`random`], [`permanence`], [`spatial_pooler`],
//! [`backtracking_tm`], [`temporal_memory`].

pub mod isa;

pub mod word;

pub mod random;

pub mod permanence;

mod prefetch;

pub mod spatial_pooler;

pub mod backtracking_tm;

pub mod temporal_memory;

/// Most columns a pattern may hold. One less than 64, so that a pattern with its count fits one record of 64
/// `u16` and a choice among its cells fits the bits of a `u64`. The models here use 40.
pub const MAX_ACTIVE_COLUMNS: usize = 63;

/// Most columns of a region: with 32 cells each, a cell index fits a `u16`.
pub const MAX_COLUMNS: usize = 2048;
