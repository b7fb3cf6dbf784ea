//! Which uid a metric name had when it was last stored: saves a look-up by name per metric and turn.
//!
//! A hint, not the truth: another process may delete the metric or give its name to a new one, so the storer
//! compares the name of the row it finds by the remembered uid and asks by name if it differs.
//!
//! Source: htmengine's metric storer, which trims its cache from 15,000 to the 10,000 used last.

use std::collections::HashMap;

use htm_core::ids::ModelId;

/// More remembered names than this are trimmed.
pub const MAX_CACHED_METRICS: usize = 15_000;
/// So many are left by trimming.
pub const CACHED_METRICS_TO_KEEP: usize = 10_000;

/// Names and uids, the least recently used dropped first.
#[derive(Debug)]
pub(super) struct MetricCache {
    entries: HashMap<String, Entry>,
    /// Counts uses; the age of an entry.
    uses: u64,
    max_entries: usize,
    entries_to_keep: usize,
}

#[derive(Debug)]
struct Entry {
    uid: ModelId,
    last_used: u64,
}

impl MetricCache {
    /// An empty cache that is trimmed to `entries_to_keep` when it exceeds `max_entries`.
    pub(super) fn new(max_entries: usize, entries_to_keep: usize) -> Self {
        Self {
            entries: HashMap::new(),
            uses: 0,
            max_entries,
            entries_to_keep: entries_to_keep.min(max_entries),
        }
    }

    /// The uid this name had when it was last stored.
    pub(super) fn get(&self, name: &str) -> Option<&ModelId> {
        self.entries.get(name).map(|entry| &entry.uid)
    }

    /// Remembers the uid as the most recently used one.
    pub(super) fn put(&mut self, name: &str, uid: &ModelId) {
        self.uses += 1;
        let last_used = self.uses;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.last_used = last_used;
            entry.uid.clone_from(uid);
            return;
        }
        self.entries.insert(name.to_owned(), Entry { uid: uid.clone(), last_used });
        self.trim();
    }

    fn trim(&mut self) {
        if self.entries.len() <= self.max_entries {
            return;
        }
        let mut ages: Vec<u64> = self.entries.values().map(|entry| entry.last_used).collect();
        let dropped = ages.len() - self.entries_to_keep;
        // Uses are distinct numbers, so exactly `dropped` entries lie below the one at this place.
        let (_, oldest_kept, _) = ages.select_nth_unstable(dropped);
        let oldest_kept = *oldest_kept;
        self.entries.retain(|_, entry| entry.last_used >= oldest_kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u8) -> MetricCache {
        let mut cache = MetricCache::new(5, 3);
        for number in 0..count {
            cache.put(&number.to_string(), &ModelId::from_random_bytes([number; 16]));
        }
        cache
    }

    #[test]
    fn is_trimmed_only_beyond_its_limit() {
        for (count, left) in [(0, 0), (1, 1), (5, 5), (6, 3)] {
            assert_eq!(filled(count).entries.len(), left, "{count} entries");
        }
    }

    #[test]
    fn keeps_the_most_recently_used() {
        let mut cache = filled(5);
        cache.put("0", &ModelId::from_random_bytes([9; 16]));
        cache.put("new", &ModelId::from_random_bytes([8; 16]));
        let mut names: Vec<&str> = cache.entries.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["0", "4", "new"]);
        assert_eq!(cache.get("0"), Some(&ModelId::from_random_bytes([9; 16])));
        assert_eq!(cache.get("1"), None);
    }
}
