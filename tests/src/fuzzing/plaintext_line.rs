//! A line from the network: it becomes a sample or a reason, never a panic; and a sample's name is canonical, so that
//! printing and reading it again changes nothing.

use htmengine::sample::{SampleLimits, canonical_name, parse_line};

/// 2023-11-14.
pub(super) const NOW: i64 = 1_700_000_000;

/// Reads a line.
///
/// # Panics
/// If it is read wrongly.
pub fn check(line: &[u8]) {
    let limits = SampleLimits::default();
    let Ok(Some(sample)) = parse_line(line, NOW, &limits) else { return };
    assert!(sample.value.is_finite(), "{sample:?}");
    assert!(sample.timestamp <= NOW + limits.max_future_seconds, "{sample:?}");
    assert_eq!(canonical_name(&sample.name).as_deref(), Ok(&*sample.name));
    let printed = format!("{} {:?} {}", sample.name, sample.value, sample.timestamp);
    assert_eq!(parse_line(printed.as_bytes(), NOW, &limits), Ok(Some(sample)), "{printed}");
}
