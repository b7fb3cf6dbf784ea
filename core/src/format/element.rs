//! Elements of a section as text, for people who look into a file.

use std::fmt::Write;

use super::section::ElementKind;

/// One element of a section, given its bytes: a number, or the hexadecimal bytes of a record.
pub fn text(elements: ElementKind, bytes: &[u8]) -> String {
    match elements {
        ElementKind::Text => String::from_utf8_lossy(bytes).into_owned(),
        ElementKind::Record(_) => bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
        ElementKind::Unsigned(_) => {
            let value = bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
            value.to_string()
        }
        ElementKind::Float(_) => {
            let single = bytes.try_into().map(|bytes| f32::from_le_bytes(bytes).to_string());
            let double = bytes.try_into().map(|bytes| f64::from_le_bytes(bytes).to_string());
            single.or(double).unwrap_or_else(|_| format!("{bytes:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_little_endian() {
        assert_eq!(text(ElementKind::Unsigned(2), &[1, 2]), "513");
        assert_eq!(text(ElementKind::Unsigned(8), &[0, 0, 0, 0, 0, 0, 0, 128]), (1u64 << 63).to_string());
        assert_eq!(text(ElementKind::Float(4), &0.21f32.to_le_bytes()), "0.21");
        assert_eq!(text(ElementKind::Float(8), &(-1.5f64).to_le_bytes()), "-1.5");
        assert_eq!(text(ElementKind::Record(3), &[0, 171, 9]), "00ab09");
        assert_eq!(text(ElementKind::Text, b"abc"), "abc");
    }
}
