//! The reader of pickles: what senders write, byte by byte, and what nobody should.

use proptest::prelude::*;

use super::*;

fn read(pickle: &[u8]) -> Result<Vec<String>, PickleError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = |item: Pickled<'_>| match item {
        Pickled::Line(line) => text(line),
        Pickled::Refused(reason, shown) => format!("{}: {}", reason.name(), text(shown)),
    };
    Ok(samples(pickle)?.items().map(shown).collect())
}

#[track_caller]
fn check(pickle: &[u8], lines: &[&str]) {
    assert_eq!(read(pickle).expect("a list of samples"), lines);
}

#[track_caller]
fn refuse(pickle: &[u8], part: &str) {
    let error = read(pickle).expect_err("refused").to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn reads_what_statsd_writes_by_hand() {
    // Protocol 0, marks before everything, no memo, values as strings, longs for times.
    let pickle = b"(l(S'stats.a'\n(L1443197361L\nS'1.5'\ntta(S'b'\n(L1443197362L\nS'7'\ntta.";
    check(pickle, &["stats.a 1.5 1443197361", "b 7 1443197362"]);
}

#[test]
fn reads_what_python_2_writes() {
    // pickle.dumps([('a.b', (1443197361, 1.5)), (u'\xfc\u4e2d', (1443197362L, -3))], 0) and, after it, 2.
    check(
        b"(lp0\n(S'a.b'\np1\n(I1443197361\nF1.5\ntp2\ntp3\na(V\xfc\\u4e2d\np4\n(L1443197362L\nI-3\ntp5\ntp6\na.",
        &["a.b 1.5 1443197361", "\u{fc}\u{4e2d} -3 1443197362"],
    );
    check(
        b"\x80\x02]q\x00(U\x03a.bq\x01J1\x84\x05VG?\xf8\x00\x00\x00\x00\x00\x00\x86q\x02\x86q\x03\
          X\x05\x00\x00\x00\xc3\xbc\xe4\xb8\xadq\x04\x8a\x042\x84\x05VJ\xfd\xff\xff\xff\x86q\x05\x86q\x06e.",
        &["a.b 1.5 1443202097", "\u{fc}\u{4e2d} -3 1443202098"],
    );
}

#[test]
fn reads_what_python_3_writes() {
    // pickle.dumps([('a', (10, 2.0)), ('a', (20, True))], 4): frames, memoised strings, a recalled name.
    check(
        b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x01a\x94K\x0aG@\x00\x00\x00\x00\x00\x00\x00\x86\x94\x86\x94\
          h\x01K\x14\x88\x86\x94\x86\x94e.",
        &["a 2.0 10", "a 1 20"],
    );
    // Bytes for names, lists for tuples.
    check(b"\x80\x03](](C\x01a](K\x0aI01\neee.", &["a 1 10"]);
}

#[test]
fn numbers_come_through_whatever_their_form() {
    for (number, text) in [
        (&b"K\xff"[..], "255"),
        (b"M\xff\xff", "65535"),
        (b"J\xff\xff\xff\xff", "-1"),
        (b"I-12\n", "-12"),
        (b"I00\n", "0"),
        (b"\x88", "1"),
        (b"L-5L\n", "-5"),
        (b"L5\n", "5"),
        (b"\x8a\x00", "0"),
        (b"\x8a\x02\x00\x80", "-32768"),
        (b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01", "1.8446744073709552e19"),
        (b"\x8b\x01\x00\x00\x00\x07", "7"),
        (b"F1e400\n", "inf"),
        (b"Fnan\n", "NaN"),
        (b"G\x7f\xef\xff\xff\xff\xff\xff\xff", "1.7976931348623157e308"),
        (b"U\x04 5.5", "5.5"),
        (b"S\"1\\x32\"\n", "12"),
    ] {
        let pickle = [b"](U\x01aK\x0a", number, b"\x86\x86e."].concat();
        check(&pickle, &[&format!("a {text} 10")]);
        let as_time = [b"](U\x01a", number, b"K\x0a\x86\x86e."].concat();
        check(&as_time, &[&format!("a 10 {text}")]);
    }
}

#[test]
fn an_item_that_is_no_sample_costs_only_itself() {
    let item = |inner: &[u8]| [b"](", inner, b"U\x04goodK\x01K\x02\x86\x86e."].concat();
    for (inner, shown) in [
        (&b"K\x07"[..], "wrong_field_count: an item that is no (name, (timestamp, value))"),
        (b"U\x01a", "wrong_field_count: an item that is no (name, (timestamp, value))"),
        (b"U\x01aK\x07\x86", "wrong_field_count: a"),
        (b"U\x01a(K\x01K\x02K\x03t\x86", "wrong_field_count: a"),
        (b"K\x07K\x01K\x02\x86\x86", "bad_name: an item that is no (name, (timestamp, value))"),
        (b"U\x00K\x01K\x02\x86\x86", "bad_name: "),
        (b"U\x03a bK\x01K\x02\x86\x86", "bad_name: a b"),
        (b"U\x03a\nbK\x01K\x02\x86\x86", "bad_name: a\nb"),
        (b"U\x01aK\x01N\x86\x86", "bad_value: a"),
        (b"U\x01aK\x01U\x031 2\x86\x86", "bad_value: a"),
        (b"U\x01aK\x01)\x86\x86", "bad_value: a"),
        (b"U\x01aNK\x01\x86\x86", "bad_timestamp: a"),
        (b"U\x01a]K\x01\x86\x86", "bad_timestamp: a"),
    ] {
        check(&item(inner), &[shown, "good 2 1"]);
    }
    let long = [&b"B\xfd\x03\x00\x00"[..], &[b'n'; 1_021], b"K\x01K\x02\x86\x86"].concat();
    check(&item(&long), &[&format!("name_too_long: {}", "n".repeat(200)), "good 2 1"]);
    check(b"].", &[]);
    check(b")0].", &[]);
}

#[test]
fn what_would_run_code_is_refused_by_its_name() {
    refuse(b"cos\nsystem\n(S'id'\ntR.", "GLOBAL (0x63) at byte 0");
    refuse(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "STACK_GLOBAL (0x93) at byte 14");
    refuse(b"(S'id'\nios\nsystem\n.", "INST (0x69)");
    refuse(b"](K\x01K\x01R", "REDUCE (0x52)");
    refuse(b"}.", "EMPTY_DICT");
    refuse(b"Pname\n.", "PERSID");
    refuse(b"\x82\x01.", "EXT1");
    refuse(b"\xff", "a byte that is no opcode (0xff) at byte 0");
    let error = samples(b"cos\nsystem\n.").expect_err("refused");
    assert_eq!(error.reason(), RejectReason::UnsafePickle);
    assert_eq!(samples(b"").expect_err("empty").reason(), RejectReason::BadPickle);
}

#[test]
fn bytes_that_make_no_sense_are_refused_where_they_do_not() {
    refuse(b"", "the end of the frame in the middle of a value at byte 0");
    refuse(b".", "wants a value");
    refuse(b"K\x01.", "a value that is no list at byte 3");
    refuse(b"].]", "bytes after the end (STOP) at byte 2");
    refuse(b"]", "the end of the frame");
    refuse(b"t", "wants a mark");
    refuse(b"K\x01a", "no list");
    refuse(b"a", "no list");
    refuse(b"](K\x01\x86", "a tuple of more values than there are");
    refuse(b"K\x01(0.", "a value that is no list");
    refuse(b"](.", "wants a value");
    refuse(b"g5\n", "nothing was put");
    refuse(b"h\x00", "nothing was put");
    refuse(b"gx\n", "no number");
    refuse(b"]p9999999999\n", "a memo index of 262144 or more");
    refuse(b"]r\x00\x00\x04\x00", "a memo index of 262144 or more");
    refuse(b"B\xff\xff\xff\xff", "the end of the frame");
    refuse(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", "the end of the frame");
    refuse(b"\x8a\x11", "an integer of 17 bytes");
    refuse(b"I1x\n", "a number that is none");
    refuse(b"I1", "without a line end");
    refuse(b"Sx\n", "without quotes");
    refuse(b"S'\n", "without quotes");
    refuse(b"S'\\x4'\n", "an escape that is none");
    refuse(b"V\\ud800\n", "an escape that is none");
    refuse(b"\x80\x06", "protocol 6");
    refuse(&[b'('; 100], "more than 64 marks");
    refuse(&vec![b']'; 200_000], "more than 131072 lists");
    refuse(&[&b"K\x01"[..], &vec![b'2'; 600_000]].concat(), "more than 524288 values");
}

#[test]
fn a_list_may_hold_itself_and_a_frame_may_not_explode() {
    check(b"]2a.", &["wrong_field_count: an item that is no (name, (timestamp, value))"]);
    // A name of 1,000 bytes, put once, recalled for each of 1,000 samples.
    let mut pickle = [&b"](B\xe8\x03\x00\x00"[..], &[b'n'; 1_000], b"K\x01K\x02\x86\x86q\x01"].concat();
    pickle.extend(b"h\x01".repeat(20));
    assert_eq!(read(&[&pickle[..], b"e."].concat()).expect("within bounds").len(), 21);
    pickle.extend(b"h\x01".repeat(980));
    pickle.extend(b"e.");
    refuse(&pickle, "samples of more than 32 times the frame's");
}

proptest! {
    #[test]
    fn any_bytes_are_answered(pickle in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&pickle);
    }

    #[test]
    fn any_opcodes_are_answered(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                &b"("[..], b"t", b"l", b"]", b")", b"a", b"e", b"0", b"1", b"2", b"q\x00", b"h\x00", b"\x94", b"K\x05",
                b"U\x01a", b"N", b"\x85", b"\x86", b"\x87", b"G\0\0\0\0\0\0\0\0", b"I3\n", b"S'x'\n", b"V\\u0041\n",
            ]),
            0..60,
        ),
    ) {
        let pickle = [&parts.concat()[..], b"."].concat();
        if let Ok(found) = samples(&pickle) {
            let bytes: usize = found.items().map(|item| match item {
                Pickled::Line(bytes) | Pickled::Refused(_, bytes) => bytes.len(),
            }).sum();
            prop_assert!(bytes <= (pickle.len() * MAX_EXPANSION).max(MIN_EXPANSION_BYTES));
        }
    }
}
