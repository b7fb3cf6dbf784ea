//! Where a setting was said, and settings that remember it.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// Where a setting was said. A stronger layer hides a weaker one; [`super::Settings`] has the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// This flag of the command line.
    Flag(&'static str),
    /// This environment variable.
    Environment(String),
    /// This line of a settings file.
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// This line of a file in an `overrides` folder of the original's configuration.
    Override {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// Built in.
    Default,
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(formatter, "flag {name}"),
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::File { path, line } => write!(formatter, "file {}:{line}", path.display()),
            Self::Override { path, line } => write!(formatter, "override {}:{line}", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// A value and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it was said.
    pub layer: Layer,
}

impl<T> Setting<T> {
    /// A value said there.
    pub fn new(value: T, layer: Layer) -> Self {
        Self { value, layer }
    }
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whoever logs in with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// How a value is shown to people and programs.
pub trait Shown {
    /// As JSON.
    fn shown(&self) -> Value;
}

impl Shown for Secret {
    /// An empty password is told from one that is hidden: it explains many a refused login.
    fn shown(&self) -> Value {
        if self.0.is_empty() { Value::from("") } else { Value::from("***") }
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> Value {
        Value::from(self.display().to_string())
    }
}

impl Shown for std::net::SocketAddr {
    fn shown(&self) -> Value {
        Value::from(self.to_string())
    }
}

macro_rules! shown_as_json {
    ($($type:ty),+ $(,)?) => {
        $(impl Shown for $type {
            fn shown(&self) -> Value {
                Value::from(self.clone())
            }
        })+
    };
}

shown_as_json!(bool, u16, u32, u64, usize, String, Vec<String>);
