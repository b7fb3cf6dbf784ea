//! One JSON object being read: typed values by key, with the path in every error, and no key left unread.
//!
//! `null` counts as absent, as a Python `None` argument mostly does.

use serde_json::{Map, Value};

use super::SpecError;

/// An object under its path, and which of its keys have been read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    map: &'a Map<String, Value>,
    read: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The object `map` at `path`.
    pub(super) fn new(path: &str, map: &'a Map<String, Value>) -> Self {
        Self { path: path.to_owned(), map, read: Vec::new() }
    }

    /// Same, of any value.
    ///
    /// # Errors
    /// If it is no object.
    pub(super) fn of(path: &str, value: &'a Value) -> Result<Self, SpecError> {
        let map = value.as_object().ok_or_else(|| refusal(path, value, "an object"))?;
        Ok(Self::new(path, map))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value of `key`, if there is one.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.read.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A finite number.
    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<f64>, SpecError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| self.refusal(key, value, "a number"))
    }

    /// A number as the reference's kernels hold it: the decimal text as a double, and that as a single.
    pub(super) fn single(&mut self, key: &'static str, default: f32) -> Result<f32, SpecError> {
        let number = self.number(key)?;
        #[expect(clippy::cast_possible_truncation, reason = "the reference rounds so too")]
        let single = number.map_or(default, |number| number as f32);
        Ok(single)
    }

    /// A whole number, 0 or above; also one written with a point.
    pub(super) fn whole(&mut self, key: &'static str) -> Result<Option<u64>, SpecError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        whole_of(value).map(Some).ok_or_else(|| self.refusal(key, value, "a whole number, 0 or above"))
    }

    /// Same, as a size.
    pub(super) fn size(&mut self, key: &'static str, default: usize) -> Result<usize, SpecError> {
        let number = self.whole(key)?;
        Ok(number.map_or(default, |number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    /// Same, of 32 bits; a larger one becomes the largest, which no limit lets pass.
    pub(super) fn count(&mut self, key: &'static str, default: u32) -> Result<u32, SpecError> {
        let number = self.whole(key)?;
        Ok(number.map_or(default, |number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    /// True or false, or 1 or 0.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, SpecError> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let flag = value.as_bool().or_else(|| match whole_of(value) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        });
        flag.ok_or_else(|| self.refusal(key, value, "true or false"))
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, SpecError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.refusal(key, value, "a text"))
    }

    /// An object.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Option<Section<'a>>, SpecError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        Section::of(&format!("{}.{key}", self.path), value).map(Some)
    }

    /// An object that must be there.
    pub(super) fn needed_section(&mut self, key: &'static str) -> Result<Section<'a>, SpecError> {
        let section = self.section(key)?;
        section.ok_or_else(|| SpecError::new(format!("{}.{key} is missing; expected an object", self.path)))
    }

    /// Accepts a parameter only with values that change nothing.
    pub(super) fn only(
        &mut self,
        key: &'static str,
        is_without_effect: impl FnOnce(&Value) -> bool,
        expected: &str,
    ) -> Result<(), SpecError> {
        match self.value(key) {
            Some(value) if !is_without_effect(value) => Err(self.refusal(key, value, expected)),
            _ => Ok(()),
        }
    }

    /// Passes over parameters that never have an effect on scores or predictions.
    pub(super) fn without_effect(&mut self, keys: &[&'static str]) {
        self.read.extend_from_slice(keys);
    }

    /// All keys and values that are not null, marked as read.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.map.iter().filter(|(_, value)| !value.is_null())
    }

    /// An error about the value of one key.
    pub(super) fn refusal(&self, key: &str, value: &Value, expected: &str) -> SpecError {
        refusal(&format!("{}.{key}", self.path), value, expected)
    }

    /// Ends reading.
    ///
    /// # Errors
    /// Names the first key that nobody read.
    pub(super) fn finish(self) -> Result<(), SpecError> {
        let is_unread = |key: &str| !self.read.contains(&key);
        let unread = self.map.iter().find(|(key, value)| is_unread(key) && !value.is_null());
        let Some((key, value)) = unread else { return Ok(()) };
        Err(self.refusal(
            &key.escape_debug().to_string(),
            value,
            "no such key: this engine does not know the parameter",
        ))
    }
}

/// A whole number that a double holds exactly, or any other of 64 bits.
pub(super) fn whole_of(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let from_double = |number: f64| {
        let is_whole = number.fract().to_bits() == 0 && (0.0..=EXACT).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be whole and exact"
        )]
        let whole = number as u64;
        is_whole.then_some(whole)
    };
    value.as_u64().or_else(|| value.as_f64().and_then(from_double))
}

/// Whether it is the number 0, or false.
pub(super) fn is_zero(value: &Value) -> bool {
    whole_of(value) == Some(0) || value.as_bool() == Some(false)
}

/// Longest value that an error repeats whole, in characters.
const SHOWN_CHARS: usize = 80;

fn refusal(path: &str, value: &Value, expected: &str) -> SpecError {
    let mut shown = value.to_string();
    if let Some((at, _)) = shown.char_indices().nth(SHOWN_CHARS) {
        shown.truncate(at);
        shown.push_str("...");
    }
    SpecError::new(format!("{path} is {shown}; expected {expected}"))
}
