//! The syntax of the original's configuration files: that of Python 2's `ConfigParser`, with the line of every option.
//!
//! - `[section]`, names case-sensitive; a section that comes again goes on. Options of `[DEFAULT]` stand in every section.
//! - `option = value` or `option: value`, names without case; the last one of a name holds. `""` is an empty value.
//! - A line that begins with `#` or `;`, or with the word `rem`, is a comment. Within a value, `;` after white space begins
//!   one; only the first `;` of a line is looked at.
//! - A line that begins with white space goes on with the value above it, joined by a line feed. That holds for an
//!   indented comment too, which therefore belongs to the value.
//! - `%(name)s` stands for another option of the section or of `[DEFAULT]`, at most [`MAX_DEPTH`] deep; `%%` for `%`. Any
//!   other `%` stands for itself.
//!
//! Files read one after the other are merged option by option, before anything is replaced.
//!
//! Source: the documentation of Python 2.7's module, and behaviour section 1.1. Of the packages, `rust-ini` and
//! `configparser` were looked at: neither keeps line numbers nor knows interpolation, and neither has these rules for
//! comments and continuation lines, on which passwords depend.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Replacements within replacements.
pub const MAX_DEPTH: usize = 10;
/// Longest value after replacement, in bytes: `%(a)s%(a)s` doubles with every step.
const MAX_VALUE_BYTES: usize = 1 << 16;
/// The section whose options stand in every other.
const DEFAULT_SECTION: &str = "DEFAULT";

/// One option as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOption {
    /// Before replacement.
    pub text: String,
    /// The file.
    pub path: PathBuf,
    /// Line of its name, from 1.
    pub line: usize,
    /// Whether that file is one of the `overrides`.
    pub is_override: bool,
}

/// Files merged.
#[derive(Debug, Clone, Default)]
pub struct Ini {
    defaults: BTreeMap<String, RawOption>,
    sections: BTreeMap<String, BTreeMap<String, RawOption>>,
}

/// What is wrong with a file or an option: place, found, expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IniError {
    reason: String,
}

impl fmt::Display for IniError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for IniError {}

impl Ini {
    /// Merges `text` over what was read before.
    ///
    /// # Errors
    /// With file, line and what was found, at the first line that is no section, option or comment.
    pub fn merge(&mut self, text: &str, path: &Path, is_override: bool) -> Result<(), IniError> {
        let mut section: Option<String> = None;
        let mut option: Option<String> = None;
        for (line, content) in (1..).zip(text.lines()) {
            if is_comment_or_blank(content) {
                continue;
            }
            let is_continuation = content.starts_with(char::is_whitespace);
            if let (true, Some(section), Some(option)) = (is_continuation, &section, &option) {
                if let Some(raw) = self.options_mut(section).get_mut(option) {
                    raw.text.push('\n');
                    raw.text.push_str(content.trim());
                }
            } else if let Some(name) = section_name(content) {
                self.options_mut(name);
                section = Some(name.to_owned());
                option = None;
            } else {
                let place = format!("{}:{line}", path.display());
                let Some(section) = &section else {
                    return Err(IniError { reason: format!("{place} is a line before the first [section]") });
                };
                let Some((name, text)) = name_and_value(content) else {
                    return Err(IniError {
                        reason: format!(
                            "{place} is none of [section], 'option = value' and a comment (not shown, as it may hold a secret)"
                        ),
                    });
                };
                let raw = RawOption { text, path: path.to_owned(), line, is_override };
                self.options_mut(section).insert(name.clone(), raw);
                option = Some(name);
            }
        }
        Ok(())
    }

    fn options_mut(&mut self, section: &str) -> &mut BTreeMap<String, RawOption> {
        if section == DEFAULT_SECTION {
            return &mut self.defaults;
        }
        self.sections.entry(section.to_owned()).or_default()
    }

    /// An option as written, its section's or the default.
    pub fn raw(&self, section: &str, option: &str) -> Option<&RawOption> {
        let options = self.sections.get(section)?;
        let option = option.to_lowercase();
        options.get(&option).or_else(|| self.defaults.get(&option))
    }

    /// An option with all replacements made; `None` if no file has it.
    ///
    /// # Errors
    /// With file and line, if something it refers to does not exist or refers back to it.
    pub fn value(&self, section: &str, option: &str) -> Result<Option<String>, IniError> {
        let Some(raw) = self.raw(section, option) else { return Ok(None) };
        let value = self.replaced(section, &raw.text, 0).map_err(|what| IniError {
            reason: format!("{}:{}: option {option} of [{section}] {what}", raw.path.display(), raw.line),
        })?;
        Ok(Some(value))
    }

    fn replaced(&self, section: &str, text: &str, depth: usize) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err(format!("refers to itself, or to options more than {MAX_DEPTH} deep"));
        }
        let mut value = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            value.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('%') {
                value.push('%');
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                let raw = self.raw(section, name).ok_or_else(|| {
                    format!(
                        "refers to %({name})s, but neither [{section}] nor [DEFAULT] has an option {name}"
                    )
                })?;
                value.push_str(&self.replaced(section, &raw.text, depth + 1)?);
                rest = after;
            } else {
                value.push('%');
            }
            if value.len() > MAX_VALUE_BYTES {
                return Err(format!(
                    "is longer than {MAX_VALUE_BYTES} bytes when its references are replaced"
                ));
            }
        }
        value.push_str(rest);
        Ok(value)
    }

    /// Every option of every section but `[DEFAULT]`, as written, in order of names. Those that others refer to are left
    /// out: they have served their purpose.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str, &RawOption)> {
        let referred: BTreeSet<(&str, String)> = self
            .sections
            .iter()
            .flat_map(|(section, options)| {
                let names = options.values().flat_map(|raw| references(&raw.text));
                names.map(|name| (section.as_str(), name.to_lowercase()))
            })
            .collect();
        self.sections.iter().flat_map(move |(section, options)| {
            let of_section = options.iter().map(|(name, raw)| (section.as_str(), name.as_str(), raw));
            let is_only_said =
                |(section, name, _): &(&str, &str, _)| !referred.contains(&(*section, (*name).to_owned()));
            of_section.filter(is_only_said).collect::<Vec<_>>()
        })
    }
}

fn is_comment_or_blank(line: &str) -> bool {
    let first = line.split_whitespace().next();
    let is_remark =
        line.starts_with(['r', 'R']) && first.is_some_and(|word| word.eq_ignore_ascii_case("rem"));
    first.is_none() || line.starts_with(['#', ';']) || is_remark
}

/// The name in `[name]`; what follows the bracket is not looked at.
fn section_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.split_once(']')?;
    (!name.is_empty()).then_some(name)
}

fn name_and_value(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once([':', '='])?;
    if name.is_empty() || name.starts_with(char::is_whitespace) {
        return None;
    }
    let value = value.trim_start();
    let value = match value.find(';') {
        Some(at) if value[..at].ends_with(char::is_whitespace) => &value[..at],
        _ => value,
    };
    let value = value.trim();
    let value = if value == "\"\"" { "" } else { value };
    Some((name.trim_end().to_lowercase(), value.to_owned()))
}

/// The name in `(name)s` at the beginning of `text`, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('(')?.split_once(')')?;
    Some((name, after.strip_prefix('s')?))
}

fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('%').skip(1).filter_map(|rest| Some(reference(rest)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Ini, String> {
        let mut ini = Ini::default();
        ini.merge(text, Path::new("a.conf"), false).map_err(|error| error.to_string())?;
        Ok(ini)
    }

    fn value(text: &str, option: &str) -> Option<String> {
        read(text).expect("valid").value("s", option).expect("replaced")
    }

    #[test]
    fn values_are_read_as_python_reads_them() {
        for (written, expected) in [
            ("a = b", "b"),
            ("a: b", "b"),
            ("A=b", "b"),
            ("a b = c", "c"),
            ("a = b ; comment", "b"),
            ("a = b;c", "b;c"),
            ("a = b;c ;d", "b;c ;d"),
            ("a = b # no comment", "b # no comment"),
            ("a = \"\"", ""),
            ("a =", ""),
            ("a = ;b", ";b"),
            ("a = x=y:z", "x=y:z"),
            ("a = one\n  two\n\n  three", "one\ntwo\nthree"),
            ("a = one\n# comment\n  two", "one\ntwo"),
            ("a = one\n  # part of it", "one\n# part of it"),
            ("rem nothing\na = b", "b"),
            ("a = 1\nA = 2", "2"),
            ("a = 1\n[t]\na = 3\n[s] more\nb = 2", "1"),
            ("a = 50%", "50%"),
            ("a = 50%%", "50%"),
            ("a = %x%y", "%x%y"),
            ("a = %(b)s/c\nb = %(C)s\nc = d", "d/c"),
            ("a = %%(b)s", "%(b)s"),
        ] {
            let name = if written.starts_with("a b") { "a b" } else { "a" };
            assert_eq!(value(&format!("[s]\n{written}\n"), name).as_deref(), Some(expected), "{written}");
        }
    }

    #[test]
    fn defaults_stand_in_every_section_and_are_replaced_there() {
        let text = "[DEFAULT]\nroot = /x/%(part)s\npart = p\n[s]\npart = q\n";
        assert_eq!(value(text, "root").as_deref(), Some("/x/q"));
        assert_eq!(read(text).expect("valid").value("S", "root"), Ok(None), "sections have case");
        assert_eq!(value("[s]\na = 1\n", "b"), None);
    }

    #[test]
    fn a_later_file_hides_options_and_says_where() {
        let mut ini = read("[s]\na = 1\nb = %(a)s\n").expect("valid");
        ini.merge("[s]\n\na = 2\n", Path::new("o.conf"), true).expect("valid");
        assert_eq!(ini.value("s", "b"), Ok(Some("2".to_owned())));
        let raw = ini.raw("s", "A").expect("there");
        assert_eq!((raw.line, raw.is_override, raw.path.as_path()), (3, true, Path::new("o.conf")));
    }

    #[test]
    fn what_is_no_option_is_told_with_its_line() {
        for (text, expected) in [
            ("a = 1\n", "a.conf:1 is a line before the first [section]"),
            ("[s]\na = 1\npassword geheim\n", "a.conf:3 is none of [section]"),
            ("[s]\n  a = geheim\n", "a.conf:2 is none of [section]"),
            ("[s]\n= 1\n", "a.conf:2"),
        ] {
            let error = read(text).expect_err("refused");
            assert!(error.starts_with(expected) && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn references_that_lead_nowhere_are_told() {
        for (text, expected) in [
            ("[s]\na = %(b)s\n", "a.conf:2: option a of [s] refers to %(b)s"),
            ("[s]\na = %(b)s\nb = %(a)s\n", "refers to itself"),
        ] {
            let error = read(text).expect("valid").value("s", "a").expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut text = "[s]\na0 = xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".to_owned();
        for step in 1..8 {
            let part = format!("%(a{})s", step - 1);
            text.push_str(&["a", &step.to_string(), " = ", &part.repeat(8), "\n"].concat());
        }
        let error = read(&text).expect("valid").value("s", "a7").expect_err("refused").to_string();
        assert!(error.contains("longer than"), "{error}");
    }

    #[test]
    fn options_that_others_refer_to_are_not_listed() {
        let ini = read("[s]\nroot = %(home)s/x\nhome = /h\nother = 1\n").expect("valid");
        let names: Vec<&str> = ini.options().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["other", "root"]);
    }
}
