//! Settings of an engine, and where each was said.
//!
//! Layers, stronger first: flags; environment variables (`HTMENGINE_DATABASE`, `HTMENGINE_BROKER`, and those of the original
//! for its own options); our TOML file; the original's configuration folder; what is built in. `table.rs` lists the
//! settings, `layer.rs` what they remember; `toml_file.rs` reads our file, `original.rs` the original's with the syntax of
//! `ini.rs`, and `meaning.rs` says what its options mean here.
//!
//! Everything that is wrong is told at once. What has no effect is a warning, never silence.

mod access;
pub mod address;
pub mod environment;
pub mod flags;
pub mod ini;
pub mod layer;
mod meaning;
mod opened;
pub mod original;
pub mod settings;
pub mod table;
mod toml_file;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

pub use self::flags::ConfigArgs;
pub use self::opened::{OpenBus, OpenRepository};
pub use self::settings::Settings;

/// Data folder unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "htmengine-data";
/// Carbon's port.
pub const DEFAULT_GRAPHITE_PORT: u16 = 2003;
/// Where dashboard and HTTP API are served unless somebody says otherwise.
pub const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Largest settings file that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A settings file as text.
fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(format!("is longer than the {MAX_CONFIG_BYTES} bytes that are read"));
    }
    String::from_utf8(bytes).map_err(|error| format!("is no UTF-8 text: {error}"))
}

/// Why settings cannot be used: everything that is wrong, each with place, found and expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<String>,
}

impl ConfigError {
    fn new(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
