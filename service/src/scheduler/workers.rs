//! The threads that read, step and save models.
//!
//! There are more of them than may step at once: a thread that waits for the disk needs no processor, and with one for each
//! processor, a few models being read or saved would leave processors idle while others wait to be stepped.
//!
//! Invariant: never more than `stepping` threads hold a processor. Whoever holds one waits for no other thread here, so all get
//! theirs in time.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// An engine has so many threads that read or save models for each that steps others meanwhile.
pub const WAITING_PER_STEPPING: usize = 3;

/// The threads.
pub struct Workers {
    pool: ThreadPool,
    stepping: usize,
    free_processors: Mutex<usize>,
    freed: Condvar,
}

impl Workers {
    /// Those of an engine that is to step `jobs` models at once, 0 for one per processor.
    ///
    /// # Errors
    /// If the operating system has no threads left.
    pub fn of_jobs(jobs: usize) -> Result<Self, ThreadPoolBuildError> {
        let processors = || thread::available_parallelism().map_or(1, NonZero::get);
        let stepping = if jobs == 0 { processors() } else { jobs };
        Self::start(stepping, stepping * WAITING_PER_STEPPING)
    }

    /// `stepping` threads that may step at once, at least one, and `waiting` more.
    ///
    /// # Errors
    /// If the operating system has no threads left.
    pub fn start(stepping: usize, waiting: usize) -> Result<Self, ThreadPoolBuildError> {
        let stepping = stepping.max(1);
        let pool = ThreadPoolBuilder::new()
            .num_threads(stepping + waiting)
            .thread_name(|index| format!("model worker {index}"))
            .build()?;
        Ok(Self { pool, stepping, free_processors: Mutex::new(stepping), freed: Condvar::new() })
    }

    /// How many may step at once.
    pub(super) fn stepping(&self) -> usize {
        self.stepping
    }

    /// Does work whose parts the threads share.
    pub(super) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Waits for a processor to step with.
    pub(super) fn take_processor(&self) -> Processor<'_> {
        let free = self.free_processors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Processor { workers: self }
    }
}

/// The right to step, given back when it is dropped, also in a panic.
pub(super) struct Processor<'a> {
    workers: &'a Workers,
}

impl Drop for Processor<'_> {
    fn drop(&mut self) {
        *self.workers.free_processors.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.workers.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

    use super::*;

    #[test]
    fn all_may_wait_at_once_but_only_some_step() {
        let workers = Workers::start(2, 6).expect("threads");
        let (stepping, most, all_there) =
            (AtomicUsize::new(0), AtomicUsize::new(0), std::sync::Barrier::new(8));
        workers.install(|| {
            (0..8_usize).into_par_iter().with_max_len(1).for_each(|_| {
                all_there.wait();
                let _processor = workers.take_processor();
                most.fetch_max(stepping.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
                stepping.fetch_sub(1, Ordering::SeqCst);
            });
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn without_a_number_each_processor_steps() {
        let processors = thread::available_parallelism().expect("known").get();
        for (jobs, stepping) in [(0, processors), (3, 3)] {
            let workers = Workers::of_jobs(jobs).expect("threads");
            let threads = stepping * (1 + WAITING_PER_STEPPING);
            assert_eq!((workers.stepping(), workers.pool.current_num_threads()), (stepping, threads));
        }
    }

    #[test]
    fn a_panic_gives_the_processor_back() {
        let workers = Workers::start(1, 0).expect("a thread");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _processor = workers.take_processor();
            panic!("a model that fails");
        }));
        assert!(result.is_err());
        drop(workers.take_processor());
    }
}
