//! The repository's files, as the rules about the source tree see them.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// One text file.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Path from the repository's root, with `/` between its parts.
    pub path: String,
    /// Contents.
    pub text: String,
}

impl SourceFile {
    /// Whether the path lies in `folder`, given as a path from the root.
    pub fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names of the root's folders, hidden and ignored ones left out, in order.
///
/// # Panics
/// If the root cannot be read.
pub fn top_level_folders() -> Vec<String> {
    children(&root(), "").into_iter().filter(|(_, is_folder)| *is_folder).map(|(path, _)| path).collect()
}

/// All files whose name ends with one of `extensions`, outside folders called `data`.
///
/// # Panics
/// If a file or folder cannot be read.
pub fn files(extensions: &[&str]) -> Vec<SourceFile> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for (path, is_folder) in children(&root, &folder) {
            if is_folder {
                folders.push(path);
            } else if Path::new(&path)
                .extension()
                .is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
            {
                let text = read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
                found.push(SourceFile { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The text of one file.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: &str) -> String {
    read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths of what is in `folder`, and whether each is a folder itself.
fn children(root: &Path, folder: &str) -> Vec<(String, bool)> {
    let entries = read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{folder}: {error}"));
        let name =
            entry.file_name().into_string().unwrap_or_else(|name| panic!("{} is not text", name.display()));
        let is_folder = entry.file_type().unwrap_or_else(|error| panic!("{folder}/{name}: {error}")).is_dir();
        let is_skipped = name.starts_with('.') || (is_folder && is_left_out(folder, &name));
        if !is_skipped {
            found.push((if folder.is_empty() { name } else { format!("{folder}/{name}") }, is_folder));
        }
    }
    found.sort();
    found
}

/// What git ignores, and recorded data, which is not ours to style.
fn is_left_out(folder: &str, name: &str) -> bool {
    const IGNORED: [&str; 5] = ["target", "htmengine-data", "corpus", "artifacts", "data"];
    IGNORED.contains(&name) || (folder.is_empty() && name == "shared")
}
