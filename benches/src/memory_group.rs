//! A control group with a memory limit, for one child process: the page cache of what it reads counts too.
//!
//! Version 1 and 2 of control groups are tried, below the group this process is in, then (version 2 allows no
//! processes in a group with sub-groups) at the top. A group that a killed run left behind is removed by the next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "htm-bench-";
/// The kernel takes a moment to forget an ended process.
const REMOVE_TRIES: u32 = 50;
const REMOVE_WAIT: Duration = Duration::from_millis(20);

/// A control group; removed when dropped, by when it must be empty.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    files: &'static Files,
}

/// Names of the files in a group's folder.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    peak: &'static str,
}

const VERSION_1: Files = Files { limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes" };
const VERSION_2: Files = Files { limit: "memory.max", peak: "memory.peak" };

impl MemoryGroup {
    /// A new group whose processes get `limit_bytes` together.
    ///
    /// # Errors
    /// Why there can be none: not Linux, not root, no memory controller.
    pub fn create(limit_bytes: u64) -> io::Result<Self> {
        let mut reasons = Vec::new();
        for (parent, files) in candidates()? {
            remove_leftovers(&parent);
            let group = Self { folder: parent.join(format!("{PREFIX}{}", std::process::id())), files };
            let limited = fs::create_dir(&group.folder)
                .and_then(|()| fs::write(group.folder.join(files.limit), limit_bytes.to_string()));
            match limited {
                Ok(()) => return Ok(group),
                Err(error) => reasons.push(format!("{}: {error}", group.folder.display())),
            }
        }
        let reasons = if reasons.is_empty() { "no memory controller".to_owned() } else { reasons.join("; ") };
        Err(io::Error::other(reasons))
    }

    /// The group's folder, which [`join`] takes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Most memory its processes had together, page cache included.
    pub fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(self.files.peak)).ok()?.trim().parse().ok()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        for _ in 0..REMOVE_TRIES {
            // Its pages stay where they are, charged to the group above.
            if fs::remove_dir(&self.folder).is_ok() || !self.folder.exists() {
                return;
            }
            std::thread::sleep(REMOVE_WAIT);
        }
    }
}

/// Puts this process into the group at `folder`.
///
/// # Errors
/// What the operating system said.
pub fn join(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), "0")
}

/// Where groups may be made: the group this process is in, then the topmost.
fn candidates() -> io::Result<Vec<(PathBuf, &'static Files)>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mut found = Vec::new();
    for mount in mounts.lines() {
        let fields: Vec<&str> = mount.split(' ').collect();
        let &[_, top, kind, options, ..] = fields.as_slice() else { continue };
        let is_memory = options.split(',').any(|option| option == "memory");
        let (files, is_own): (_, fn(&str) -> bool) = match kind {
            "cgroup" if is_memory => (&VERSION_1, |names| names.split(',').any(|name| name == "memory")),
            "cgroup2" => (&VERSION_2, str::is_empty),
            _ => continue,
        };
        let path = own.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            is_own(names).then(|| path.trim_start_matches('/'))
        });
        let parents = path.into_iter().chain([""]).map(|path| Path::new(top).join(path));
        found.extend(parents.map(|parent| (parent, files)));
    }
    Ok(found)
}

fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Fails while processes are in it, which then still need it.
            let _ = fs::remove_dir(entry.path());
        }
    }
}
