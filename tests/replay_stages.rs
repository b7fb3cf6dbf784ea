//! Promise: `htmengine replay --stages` prints, byte for byte, what was recorded from NuPIC 1.0.5; and the scores that
//! `htmengine demo` expects are the recorded ones.

use std::ffi::OsStr;

use htm_core::trace::Fnv;
use htm_tests::program::succeed;
use htm_tests::recording::{golden, series_path};

#[track_caller]
fn check(name: &str) {
    for memory in ["cpp", "tm_cpp"] {
        check_with(name, memory);
    }
}

#[track_caller]
fn check_with(name: &str, memory: &str) {
    let path = series_path(name);
    let arguments = ["--stages", "--temporal-memory", memory].map(OsStr::new);
    let found = succeed([OsStr::new("replay"), path.as_os_str()].into_iter().chain(arguments));
    let expected = golden(&format!("{name}__{memory}.rec.csv.gz"));
    for (number, (found, expected)) in (1..).zip(found.lines().zip(expected.lines())) {
        assert_eq!(found, expected, "{name} with {memory}, line {number}");
    }
    assert!(found == expected, "{name} with {memory}: line ends or number of lines differ");
}

#[test]
fn stages_of_art_daily_jumpsup_equal_the_recording() {
    check("art_daily_jumpsup");
}

#[test]
fn stages_of_art_flatline_equal_the_recording() {
    check("art_flatline");
}

#[test]
fn stages_of_ec2_cpu_utilization_equal_the_recording() {
    check("ec2_cpu_utilization_5f5533");
}

#[test]
fn stages_of_nyc_taxi_equal_the_recording() {
    check("nyc_taxi");
}

#[test]
fn stages_of_speed_7578_equal_the_recording() {
    check("speed_7578");
}

#[test]
fn the_demo_expects_the_recorded_scores() {
    let recording = golden("htmengine_lik__nyc_taxi__cpp__b1.csv.gz");
    let mut reader = csv::Reader::from_reader(recording.as_bytes());
    let headings = reader.headers().expect("headings").clone();
    let column = |name: &str| headings.iter().position(|heading| heading == name).expect("a column");
    let columns = [column("raw"), column("anomaly_score")];
    let mut hash = Fnv::new();
    for row in reader.records() {
        let row = row.expect("a readable row");
        for column in columns {
            let bits = row[column].parse::<f64>().expect("a number").to_bits();
            hash.push(u32::try_from(bits & 0xFFFF_FFFF).expect("32 bits"));
            hash.push(u32::try_from(bits >> 32).expect("32 bits"));
        }
    }
    assert_eq!(hash.to_string(), htmengine::cli::EXPECTED_SCORES_HASH);
}
