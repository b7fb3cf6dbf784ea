//! Lines on the data queue: `{"protocol": "plain", "data": ["foo 21 1443197361", ...]}`, a public contract: anyone may
//! publish such messages.
//!
//! Written as Python's `json.dumps` writes it: ASCII, a space after each comma and colon. A byte that is not part of
//! UTF-8 text is written as the lone surrogate U+DC80 to U+DCFF of its value, Python's `surrogateescape`, so that the
//! line comes back as it was; whether it is a sample is for its reader to say, and its neighbours are not lost with it.
//!
//! Reading is strict about the envelope: an object whose `protocol` is `plain` and whose `data` is a list of strings.
//! Other keys are ignored, as they always were. Bytes that are no UTF-8 within the strings are kept too.
//!
//! Source: `metric_listener.py` and `metric_storer.py` of htmengine. Departures: there a line that is no UTF-8 ended
//! the connection and lost the batch, and one bad message lost all the messages received with it.

use std::fmt::{self, Write};

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::Unreadable;
use crate::bus::message::DataMessage;

const PROTOCOL: &str = "plain";
const EXPECTED: &str = "an object such as {\"protocol\": \"plain\", \"data\": [\"name value timestamp\"]}";
/// The first lone surrogate that stands for a byte, less the first such byte.
const SURROGATE_BASE: u32 = 0xDC00;

/// The body of a message.
pub fn to_bytes(message: &DataMessage) -> Vec<u8> {
    let line_bytes: usize = message.lines.iter().map(|line| line.len() + 4).sum();
    let mut text = String::with_capacity(line_bytes + 40);
    text.push_str("{\"protocol\": \"plain\", \"data\": [");
    for (line_idx, line) in message.lines.iter().enumerate() {
        text.push_str(if line_idx == 0 { "\"" } else { ", \"" });
        push_escaped(&mut text, line);
        text.push('"');
    }
    text.push_str("]}");
    text.into_bytes()
}

/// Reads a body.
///
/// # Errors
/// [`Unreadable`] if it is not JSON, lacks a key, speaks another protocol, or its data is no list of strings.
pub fn from_bytes(body: &[u8]) -> Result<DataMessage, Unreadable> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| Unreadable::json(EXPECTED, &error))?;
    if envelope.protocol != PROTOCOL {
        let found = envelope.protocol.escape_debug();
        return Err(Unreadable::new(format!("the protocol is `{found}`, expected `{PROTOCOL}`")));
    }
    Ok(DataMessage::new(envelope.data.into_iter().map(|line| line.0).collect()))
}

fn push_escaped(text: &mut String, line: &[u8]) {
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_character(text, character);
        }
        for &byte in chunk.invalid() {
            push_unit(text, SURROGATE_BASE + u32::from(byte));
        }
    }
}

fn push_character(text: &mut String, character: char) {
    match character {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\u{8}' => text.push_str("\\b"),
        '\u{c}' => text.push_str("\\f"),
        ' '..='\u{7f}' => text.push(character),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                push_unit(text, u32::from(*unit));
            }
        }
    }
}

fn push_unit(text: &mut String, unit: u32) {
    write!(text, "\\u{unit:04x}").expect("text takes any text");
}

#[derive(Deserialize)]
struct Envelope {
    protocol: String,
    data: Vec<Line>,
}

struct Line(Vec<u8>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Line;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Line, E> {
                Ok(Line(without_surrogates(bytes)))
            }
        }
        // As bytes, because as text a lone surrogate would be an error.
        deserializer.deserialize_bytes(Text)
    }
}

/// Turns the lone surrogates U+DC80 to U+DCFF, which the reader left in the text as three bytes each, back into bytes.
fn without_surrogates(bytes: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        // UTF-8 of a code point is 1110xxxx 10xxxxxx 10xxxxxx; that of D800 to DFFF is in no text.
        if let [0xED, second @ 0xB2..=0xB3, third @ 0x80..=0xBF, after @ ..] = rest {
            line.push((second << 6) | (third & 0x3F));
            rest = after;
        } else {
            line.push(*first);
            rest = tail;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(lines: &[&[u8]]) -> DataMessage {
        DataMessage::new(lines.iter().map(|line| line.to_vec()).collect())
    }

    #[test]
    fn is_written_as_python_writes_it() {
        let lines: [&[u8]; 3] =
            [b"foo 21 1443197361", "n\u{e4}me\t\"\\ \u{1f600}".as_bytes(), b"\x7f\x01\xff"];
        let text = String::from_utf8(to_bytes(&message(&lines))).expect("ASCII");
        assert_eq!(
            text,
            concat!(
                r#"{"protocol": "plain", "data": ["foo 21 1443197361", "#,
                r#""n\u00e4me\t\"\\ \ud83d\ude00", "#,
                "\"\u{7f}\\u0001\\udcff\"]}"
            )
        );
        assert_eq!(to_bytes(&message(&[])), b"{\"protocol\": \"plain\", \"data\": []}");
    }

    #[test]
    fn reads_what_others_publish() {
        let check = |body: &[u8], lines: &[&[u8]]| {
            assert_eq!(from_bytes(body), Ok(message(lines)), "{}", String::from_utf8_lossy(body));
        };
        check(br#"{"data": ["a 1 2", ""], "protocol": "plain"}"#, &[b"a 1 2", b""]);
        check(br#"{"protocol":"plain","extra":{"x":[1]},"data":[]}"#, &[]);
        check("{\"protocol\":\"plain\",\"data\":[\"\u{e4} 1 2\"]}".as_bytes(), &["\u{e4} 1 2".as_bytes()]);
        check(b"{\"protocol\":\"plain\",\"data\":[\"\xe4 1 2\", \"b 1 2\"]}", &[b"\xe4 1 2", b"b 1 2"]);
    }

    #[test]
    fn rejects_other_envelopes_with_a_reason() {
        let check = |body: &[u8], part: &str| {
            let reason = from_bytes(body).expect_err("unreadable").reason;
            assert!(reason.contains(part), "{reason}");
        };
        check(b"", "EOF");
        check(b"foo 1 2", "expected an object such as");
        check(b"[]", "expected an object such as");
        check(br#"{"data": []}"#, "missing field `protocol`");
        check(br#"{"protocol": "plain"}"#, "missing field `data`");
        check(br#"{"protocol": "carbon", "data": []}"#, "the protocol is `carbon`, expected `plain`");
        check(br#"{"protocol": "plain", "data": "foo 1 2"}"#, "expected a sequence");
        check(br#"{"protocol": "plain", "data": ["foo 1 2", 7]}"#, "expected a string");
        check(br#"{"protocol": "plain", "data": [["foo 1 2"]]}"#, "expected a string");
        check(br#"{"protocol": "plain", "data": [null]}"#, "expected a string");
        check(b"{\"protocol\": \"plain\", \"data\": []} x", "trailing");
        check(b"\xff\xfe", "expected value");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(lines in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let sent = DataMessage::new(lines);
            let body = to_bytes(&sent);
            prop_assert!(body.is_ascii());
            prop_assert_eq!(from_bytes(&body), Ok(sent));
        }

        #[test]
        fn surrogates_in_bytes_come_back(line in proptest::collection::vec(
            prop_oneof![Just(0xED_u8), 0xA0..=0xBF_u8, Just(b'\\'), Just(b'u'), Just(0xF0)], 0..12)) {
            let sent = DataMessage::new(vec![line]);
            prop_assert_eq!(from_bytes(&to_bytes(&sent)), Ok(sent));
        }

        #[test]
        fn any_body_is_read_or_refused(body in any::<Vec<u8>>()) {
            let _ = from_bytes(&body);
        }
    }
}
