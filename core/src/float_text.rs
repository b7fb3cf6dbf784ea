//! Floating-point numbers as Python's `repr` prints them: the shortest text that reads back to the same number.
//!
//! Golden recordings and everything this project writes as text use this form.

/// `value` as Python 2.7 and 3 print it.
#[expect(clippy::missing_panics_doc, reason = "Rust's exponent form always has an exponent")]
pub fn repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    // Rust's exponent form also has the fewest digits, so only the layout differs.
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the exponent form has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a small integer");
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::repr;

    #[test]
    fn prints_as_python_does() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (10844.0, "10844.0"),
            (0.1, "0.1"),
            (0.025_000_000_372_529_03, "0.02500000037252903"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (-4.342_945_193_758_039e-12, "-4.342945193758039e-12"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr(value), text);
        }
    }
}
