//! Promise: the source tree keeps the rules that neither compiler nor clippy can check.
//!
//! Every rule collects all its violations before it fails, so that one run shows everything there is to mend.

use std::collections::BTreeSet;

use htm_tests::source_text::{code_of, lines_with_word};
use htm_tests::source_tree::{SourceFile, files, read, root, top_level_folders};

/// Names of the kernel files that may contain unsafe code: vector loads and stores, and in each kernel's `mod.rs`
/// the dispatch call. A vector file needs a bench that earns it and a file-level reason.
const UNSAFE_KERNEL_FILES: [&str; 4] = ["avx2.rs", "avx512.rs", "vector.rs", "mod.rs"];
/// The only other file: it maps memory.
const UNSAFE_MAPPING_FILE: &str = "core/src/format/mapping.rs";

/// Longest source file, tests included.
const MAX_LINES: usize = 600;

/// Rooms of `service` that meet only in bus messages and repository rows.
const ROLE_ROOMS: [&str; 6] = ["listener", "storer", "scheduler", "anomaly", "alerts", "http"];

/// Packages of this workspace by folder, and which of them each may depend on.
const DEPENDENCY_DIRECTION: [(&str, &[&str]); 3] =
    [("kernels", &[]), ("core", &["htm-kernels"]), ("service", &["htm-core"])];

fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

fn rust_files() -> Vec<SourceFile> {
    let files = files(&["rs"]);
    assert!(files.len() > 30, "found only {} Rust files: the test looks in the wrong place", files.len());
    files
}

/// `path:line` of every occurrence of `word` in the code of `files`.
fn occurrences<'a>(files: impl IntoIterator<Item = &'a SourceFile>, word: &str) -> Vec<String> {
    files
        .into_iter()
        .flat_map(|file| {
            let lines = lines_with_word(&code_of(&file.text), word);
            lines.into_iter().map(|line| format!("{}:{line} has `{word}`", file.path))
        })
        .collect()
}

/// Names in the dependency tables of a manifest, development and build dependencies included.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut is_in_table = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            is_in_table = table.trim_end_matches(']').ends_with("dependencies");
        } else if is_in_table && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            names.extend(line.split(['.', ' ', '=']).next());
        }
    }
    names
}

#[test]
fn dependencies_point_one_way() {
    let ours: Vec<String> = top_level_folders()
        .iter()
        .filter(|folder| root().join(folder).join("Cargo.toml").exists())
        .map(|folder| {
            let manifest = read(&format!("{folder}/Cargo.toml"));
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
            name.expect("a package has a name").to_owned()
        })
        .collect();
    assert!(ours.iter().any(|name| name == "htm-kernels"), "the packages are {ours:?}");
    let mut violations = Vec::new();
    for (folder, allowed) in DEPENDENCY_DIRECTION {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        for name in dependencies(&manifest) {
            if ours.iter().any(|our| our == name) && !allowed.contains(&name) {
                violations.push(format!("{folder}/Cargo.toml depends on {name}"));
            }
        }
        if manifest.lines().any(|line| line.contains("path =") && line.contains('{')) {
            violations.push(format!("{folder}/Cargo.toml names a dependency by path"));
        }
    }
    let service: Vec<_> = rust_files().into_iter().filter(|file| file.is_in("service")).collect();
    violations.extend(occurrences(&service, "htm_kernels"));
    assert_none("service -> core -> kernels, and no other way", &violations);
}

/// First parts of the paths in `use crate::{...};`.
fn grouped_imports(code: &str) -> BTreeSet<String> {
    let first_part = |path: &str| {
        let path = path.trim_start();
        path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let groups = code.split("use crate::{").skip(1).filter_map(|rest| rest.split(';').next());
    groups.flat_map(|group| group.split([',', '{']).map(first_part).collect::<Vec<_>>()).collect()
}

#[test]
fn role_rooms_do_not_name_each_other() {
    let files = rust_files();
    let mut violations = Vec::new();
    for room in ROLE_ROOMS {
        let folder = format!("service/src/{room}");
        let inside: Vec<_> =
            files.iter().filter(|file| file.is_in(&folder) || file.path == format!("{folder}.rs")).collect();
        for other in ROLE_ROOMS.into_iter().filter(|other| *other != room) {
            for prefix in ["crate", "htmengine"] {
                violations.extend(occurrences(inside.iter().copied(), &format!("{prefix}::{other}")));
            }
            let grouped = inside.iter().filter(|file| grouped_imports(&code_of(&file.text)).contains(other));
            violations.extend(grouped.map(|file| format!("{} imports `{other}`", file.path)));
        }
    }
    assert_none("roles meet only in bus messages and repository rows", &violations);
}

#[test]
fn every_file_says_what_it_is() {
    let is_documented = |text: &str| text.starts_with("//!") || text.starts_with("#![doc = include_str!(");
    let violations: Vec<String> = rust_files()
        .iter()
        .filter(|file| !is_documented(&file.text))
        .map(|file| format!("{} does not start with `//!`", file.path))
        .collect();
    assert_none("every file opens with what it does and why", &violations);
}

#[test]
fn no_file_is_too_long() {
    let violations: Vec<String> = rust_files()
        .iter()
        .filter(|file| ["kernels", "core", "service"].iter().any(|folder| file.is_in(folder)))
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| format!("{} has {lines} lines", file.path))
        .collect();
    assert_none("a file has at most 600 lines, tests included", &violations);
}

#[test]
fn file_names_are_nouns_of_the_subject() {
    let violations: Vec<String> = rust_files()
        .iter()
        .filter(|file| {
            let mut parts = file.path.trim_end_matches(".rs").split('/');
            parts.any(|part| ["utils", "util", "common", "helpers", "misc"].contains(&part))
        })
        .map(|file| file.path.clone())
        .collect();
    assert_none("a name that fits everything says nothing", &violations);
}

#[test]
fn sources_are_ascii() {
    let mut violations = Vec::new();
    for file in files(&["rs", "md", "toml"]) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if !line.is_ascii() {
                violations.push(format!("{}:{number}: {line}", file.path));
            }
        }
    }
    assert_none("sources are ASCII", &violations);
}

#[test]
fn unsafe_code_stays_in_its_files() {
    let files = rust_files();
    let may_be_unsafe = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        path == UNSAFE_MAPPING_FILE || path.starts_with("kernels/src/") && UNSAFE_KERNEL_FILES.contains(&name)
    };
    let outside = files.iter().filter(|file| !may_be_unsafe(&file.path));
    assert_none("unsafe code lives in the files named in this test", &occurrences(outside, "unsafe"));
}

#[test]
fn only_the_command_line_prints() {
    let files = rust_files();
    let is_command_line = |file: &SourceFile| file.path.split(['/', '.']).any(|part| part == "cli");
    let mut violations = Vec::new();
    for name in ["println!", "print!", "eprintln!", "eprint!", "dbg!"] {
        violations.extend(occurrences(files.iter().filter(|file| !is_command_line(file)), name));
    }
    assert_none("nothing but the command line prints", &violations);
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    let files = rust_files();
    let others = files.iter().filter(|file| !file.path.ends_with("/clock.rs"));
    assert_none("time is a parameter: take a `Clock`", &occurrences(others, "SystemTime::now"));
}

/// Texts between single backticks, code blocks left out.
fn backticked(markdown: &str) -> Vec<&str> {
    let mut is_block = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// A path from the root (parts joined by `/`), or a file's bare name with an extension that only sources have.
/// Places of an HTTP interface start with `/` and are none.
fn looks_like_a_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let has_source_name = [".rs", ".md", ".toml"].iter().any(|extension| text.ends_with(extension));
    is_plain && !text.starts_with('/') && (text.contains('/') || has_source_name)
}

#[test]
fn the_architecture_page_names_what_exists() {
    let path = root().join("ARCHITECTURE.md");
    assert!(
        path.exists(),
        "ARCHITECTURE.md is missing: the page that says which folder answers which question"
    );
    let page = read("ARCHITECTURE.md");
    let named = backticked(&page);
    let sources = files(&["rs", "md", "toml"]);
    // A bare file name is that of some file: the sentence around it says in which room.
    let is_somewhere = |name: &str| sources.iter().any(|file| file.path.rsplit('/').next() == Some(name));
    let exists = |text: &str| root().join(text).exists() || is_somewhere(text);
    let missing = named.iter().filter(|text| looks_like_a_path(text) && !exists(text));
    let mut violations: Vec<String> = missing.map(|text| format!("`{text}` does not exist")).collect();
    for folder in top_level_folders() {
        let is_named = named
            .iter()
            .any(|text| text.strip_prefix(&*folder).is_some_and(|r| r.is_empty() || r.starts_with('/')));
        if !is_named {
            violations.push(format!("the folder `{folder}/` is not named"));
        }
    }
    assert_none("ARCHITECTURE.md and the source tree agree", &violations);
}

#[test]
fn paths_are_told_from_other_words() {
    for text in ["core/src/", "tests/tidy.rs", "FORMAT.md", "kernels/src/lib.rs"] {
        assert!(looks_like_a_path(text), "{text}");
    }
    for text in ["Model::step", "/_models/x", "name value timestamp", "f32", "service -> core"] {
        assert!(!looks_like_a_path(text), "{text}");
    }
    assert_eq!(backticked("a `b` c\n```text\n`d`\n```\n`e`"), ["b", "e"]);
}

#[test]
fn grouped_imports_are_taken_apart() {
    let found = grouped_imports("use crate::{bus::{self, Bus},\n    listener::batch};\nuse crate::clock;");
    let expected = ["bus", "self", "Bus", "listener"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn dependency_names_are_read_from_every_table() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\n# c\nb = \"1\"\n\
                    [dev-dependencies]\nc = { version = \"1\" }\n[lints]\nworkspace = true\n";
    assert_eq!(dependencies(manifest), ["a", "b", "c"]);
}
