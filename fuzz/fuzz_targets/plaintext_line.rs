//! A line from the network is hostile input: it becomes a sample or a reason, never a panic; and a sample's name
//! is canonical, so that printing and reading it again changes nothing.
#![no_main]

use htmengine::sample::{SampleLimits, canonical_name, parse_line};
use libfuzzer_sys::fuzz_target;

/// 2023-11-14.
const NOW: i64 = 1_700_000_000;

fuzz_target!(|line: &[u8]| {
    let limits = SampleLimits::default();
    let Ok(Some(sample)) = parse_line(line, NOW, &limits) else { return };
    assert!(sample.value.is_finite(), "{sample:?}");
    assert!(sample.timestamp <= NOW + limits.max_future_seconds, "{sample:?}");
    assert_eq!(canonical_name(&sample.name).as_deref(), Ok(&*sample.name));
    let printed = format!("{} {:?} {}", sample.name, sample.value, sample.timestamp);
    assert_eq!(parse_line(printed.as_bytes(), NOW, &limits), Ok(Some(sample)), "{printed}");
});
