//! Ever longer pauses between attempts that fail: of one model, and of all where the disk is to blame.
//!
//! A model that cannot be saved, for its folder cannot be written to, costs only itself: it pauses and the others go on. Only
//! when the disk says that it is full or read-only, or many folders refuse and nothing is saved in between, do all of them
//! pause.

use std::collections::BTreeSet;
use std::time::Duration;

/// First pause; doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Folders, of 256 at most, that refuse before the disk is to blame. A few may have lost their owner or their permissions.
const FOLDERS_OF_A_BAD_DISK: usize = 8;

/// A pause before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    until: Duration,
    length: Duration,
}

impl Pause {
    /// The pause after a failure, longer than the one before it.
    pub(super) fn after(last: Option<Self>, now: Duration) -> Self {
        let length = last.map_or(FIRST_PAUSE, |last| (last.length * 2).min(LAST_PAUSE));
        Self { until: now + length, length }
    }

    /// Whether it may be tried again.
    pub(super) fn is_over(self, now: Duration) -> bool {
        now >= self.until
    }

    /// When it may be tried again.
    pub(super) fn until(self) -> Duration {
        self.until
    }

    /// Ends it; the next one is longer all the same.
    pub(super) fn cut_short(&mut self) {
        self.until = Duration::ZERO;
    }
}

/// Whether saving is worth trying at all.
#[derive(Debug, Default)]
pub(super) struct SaveBackOff {
    /// Of all models; set until one is saved.
    pause: Option<Pause>,
    /// Folders that refused since something was last saved.
    refusing: BTreeSet<String>,
}

impl SaveBackOff {
    /// Of `most` models, those that may be saved now; after a failure one, to see whether it works again.
    pub(super) fn allowed(&self, most: usize, now: Duration) -> usize {
        match self.pause {
            None => most,
            Some(pause) if pause.is_over(now) => 1,
            Some(_) => 0,
        }
    }

    /// Whether the disk is to blame for what could not be saved last.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.pause.is_some()
    }

    /// A model in `folder` was not saved; `is_of_disk` if none would be.
    pub(super) fn note_failure(&mut self, folder: &str, is_of_disk: bool, now: Duration) {
        if self.refusing.len() < FOLDERS_OF_A_BAD_DISK {
            self.refusing.insert(folder.to_owned());
        }
        let is_running = self.pause.is_some_and(|pause| !pause.is_over(now));
        if !is_running && (is_of_disk || self.refusing.len() >= FOLDERS_OF_A_BAD_DISK) {
            self.pause = Some(Pause::after(self.pause, now));
        }
    }

    /// A model was saved; returns whether the disk had been in trouble.
    pub(super) fn note_success(&mut self) -> bool {
        std::mem::take(self).is_in_trouble()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 16;

    #[test]
    fn a_failing_disk_is_tried_again_ever_more_rarely() {
        let mut back_off = SaveBackOff::default();
        let mut now = Duration::from_secs(100);
        assert_eq!(back_off.allowed(MOST, now), MOST);
        for pause in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].map(Duration::from_millis) {
            back_off.note_failure("00", true, now);
            back_off.note_failure("01", true, now);
            assert_eq!(back_off.allowed(MOST, now + pause * 9 / 10), 0, "{pause:?}");
            now += pause;
            assert_eq!(back_off.allowed(MOST, now), 1, "{pause:?}");
        }
        assert!(back_off.note_success());
        assert_eq!(back_off.allowed(MOST, now), MOST);
    }

    #[test]
    fn a_folder_that_refuses_does_not_stop_the_others_but_many_do() {
        let now = Duration::from_secs(100);
        let mut back_off = SaveBackOff::default();
        let fail = |back_off: &mut SaveBackOff, folders: std::ops::Range<usize>| {
            for folder in folders {
                back_off.note_failure(&format!("{folder:02x}"), false, now);
            }
        };
        for _ in 0..100 {
            fail(&mut back_off, 0..FOLDERS_OF_A_BAD_DISK - 1);
        }
        assert_eq!(back_off.allowed(MOST, now), MOST);
        assert!(!back_off.note_success(), "there was no trouble");
        fail(&mut back_off, 1..FOLDERS_OF_A_BAD_DISK);
        assert_eq!(back_off.allowed(MOST, now), MOST, "something was saved in between");
        fail(&mut back_off, 0..1);
        assert_eq!(back_off.allowed(MOST, now), 0);
    }
}
