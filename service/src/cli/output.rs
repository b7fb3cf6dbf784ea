//! Text tables, times and progress for people.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::timestamp::format_seconds;

/// Writes rows under headings, columns as wide as they need to be; the last column is not padded.
pub(super) fn write_table(out: &mut dyn Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            line.push_str(cell);
            let padding = width - cell.chars().count();
            line.extend(std::iter::repeat_n(' ', padding));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A stored time, or its number if it has no calendar form.
pub(super) fn time_text(unix_seconds: i64) -> String {
    format_seconds(unix_seconds).unwrap_or_else(|_| unix_seconds.to_string())
}

/// A progress bar on standard error, drawn only if that is a terminal.
pub(super) fn progress_bar(total: u64, unit: &'static str) -> ProgressBar {
    let target =
        if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = "{spinner} {pos}/{len} {msg} [{wide_bar}] {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(total), target).with_style(style).with_message(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = Vec::new();
        let rows = vec![vec!["a".to_owned(), "long".to_owned()], vec!["bbb".to_owned(), "c".to_owned()]];
        write_table(&mut out, &["X", "Y"], &rows).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "X    Y\na    long\nbbb  c\n");
    }
}
