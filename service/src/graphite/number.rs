//! Numbers as targets write them and as names of series show them.
//!
//! Whole numbers stay whole, because names repeat what was asked for: `limit(a,5)` is never `5.0`.
//!
//! Source: graphite-web's grammar, and Python's `str` and `%g`, which its names are written with.

use htm_core::float_text::repr;

/// Digits that `%g` keeps.
const G_DIGITS: i32 = 6;

/// A number of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// Without a point and an exponent.
    Integer(i64),
    /// Finite.
    Float(f64),
}

impl Number {
    /// Reads `-12`, `1.5` or `1e-3`; `None` for any other text, and for numbers that are not finite.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.starts_with(|first: char| first.is_ascii_digit()) || digits.ends_with('.') {
            return None;
        }
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Self::Integer);
        }
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Float)
    }

    /// As a float; whole numbers beyond 2^53 lose digits, as in Python.
    pub(crate) fn as_float(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the nearest float is meant")]
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// As Python's `str` shows it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => repr(number),
        }
    }
}

/// A number as C's `%g` shows it: six digits, without needless zeros.
pub(crate) fn short_text(number: f64) -> String {
    if !number.is_finite() || number == 0.0 {
        return if number.is_finite() { "0".to_owned() } else { repr(number) };
    }
    let scientific = format!("{number:.5e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let without_zeros = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if (-4..G_DIGITS).contains(&exponent) {
        let decimals = usize::try_from(G_DIGITS - 1 - exponent).unwrap_or(0);
        return without_zeros(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(digits), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_kind() {
        for (text, number) in [
            ("5", Number::Integer(5)),
            ("-12", Number::Integer(-12)),
            ("1.5", Number::Float(1.5)),
            ("1e3", Number::Float(1000.0)),
            ("-2.5e-1", Number::Float(-0.25)),
        ] {
            assert_eq!(Number::parse(text), Some(number), "{text}");
        }
        for text in ["", "-", "1.", ".5", "+1", "1e400", "1-2", "e5", "1e", "nan", "99999999999999999999"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
        assert_eq!((Number::Integer(5).text(), Number::Float(5.0).text()), ("5".into(), "5.0".into()));
    }

    #[test]
    fn short_texts_are_those_of_c() {
        for (number, text) in [
            (0.0, "0"),
            (2.0, "2"),
            (-0.5, "-0.5"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.000_1, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (1.0 / 3.0, "0.333333"),
            (999_999.5, "1e+06"),
        ] {
            assert_eq!(short_text(number), text, "{number}");
        }
    }
}
