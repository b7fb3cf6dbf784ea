//! A configuration folder of the original, one file of which is any bytes: settings, or problems; never a panic.
//!
//! The first byte says which file, and whether it is an override over the usual one; the rest is its text.

use std::fs;

use htmengine::config::environment::{Environment, OLD_CONFIG_VARIABLE};
use htmengine::config::table::Said;
use htmengine::config::{ConfigArgs, Settings};

use super::settings_file::look;
use crate::source_tree;

const FILES: [&str; 4] = ["application.conf", "model-checkpoint.conf", "model-swapper.conf", "rabbitmq.conf"];

/// Reads the bytes as a file of the folder.
///
/// # Panics
/// If they are read wrongly.
pub fn check(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in FILES {
        let usual = source_tree::root().join("tests/data/skeleton_conf").join(name);
        fs::copy(usual, folder.path().join(name)).expect("copied");
    }
    let name = FILES[usize::from(choice % 4)];
    let mut path = folder.path().join(name);
    if choice & 4 != 0 {
        fs::create_dir(folder.path().join("overrides")).expect("made");
        path = folder.path().join("overrides").join(name);
    }
    fs::write(&path, text).expect("written");
    let variable = (OLD_CONFIG_VARIABLE.to_owned(), folder.path().display().to_string());
    look(Settings::load_in(&ConfigArgs::default(), Said::default(), &Environment::new([variable])));
}
