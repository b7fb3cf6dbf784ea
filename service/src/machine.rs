//! What the operating system allows and has left: limits, memory, disk, page faults. The only file that asks.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Share of the kernel's mappings that models may take; the rest is for libraries, stacks and large allocations.
const MAPPINGS_SHARE: usize = 2;
/// What Linux allows unless told otherwise.
const DEFAULT_MAX_MAP_COUNT: usize = 65_530;

/// Mappings that one process may have, `vm.max_map_count`.
pub fn max_map_count() -> usize {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    text.trim().parse().unwrap_or(DEFAULT_MAX_MAP_COUNT)
}

/// Models that may be in memory at once: each has one mapping. Files are not kept open while they are mapped, so the
/// limit on open files does not matter here.
pub fn max_resident_models() -> usize {
    (max_map_count() / MAPPINGS_SHARE).max(1)
}

/// How many files a process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimit {
    /// In force; `None` for no limit.
    pub soft: Option<u64>,
    /// To which a process may raise it.
    pub hard: Option<u64>,
}

/// `RLIMIT_NOFILE` of this process.
pub fn file_limit() -> FileLimit {
    let limit = getrlimit(Resource::Nofile);
    FileLimit { soft: limit.current, hard: limit.maximum }
}

/// Raises the soft limit to the hard one.
///
/// # Errors
/// What the operating system said.
pub fn raise_file_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// Memory of the machine, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Installed.
    pub total: u64,
    /// Can be had without swapping.
    pub available: u64,
}

/// Memory of the machine; `None` if the kernel does not tell.
pub fn memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory { total: bytes("MemTotal")?, available: bytes("MemAvailable")? })
}

/// Name of the processor, as the kernel calls it.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Room on the disk of a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All.
    pub total: u64,
    /// Free for this user.
    pub available: u64,
}

/// Room on the disk of `folder`, or of the nearest folder above it that exists.
///
/// # Errors
/// What the operating system said.
pub fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let absolute = std::path::absolute(folder)?;
    let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let space = rustix::fs::statvfs(existing)?;
    Ok(DiskSpace { total: space.f_blocks * space.f_frsize, available: space.f_bavail * space.f_frsize })
}

/// Page faults of this process since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFaults {
    /// Served from memory.
    pub minor: u64,
    /// That waited for the disk.
    pub major: u64,
}

/// Page faults so far, all threads; `None` if the kernel does not tell.
pub fn page_faults() -> Option<PageFaults> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold anything but ends with the last parenthesis: state is the third field.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some(PageFaults { minor: field(10)?, major: field(12)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_answers() {
        assert!(max_resident_models() >= 1 && max_resident_models() <= max_map_count());
        let memory = memory().expect("Linux");
        assert!(memory.available <= memory.total);
        assert!(page_faults().expect("Linux").minor > 0);
        let space = disk_space(Path::new("/no/such/folder")).expect("the root's");
        assert!(space.available <= space.total);
        raise_file_limit().expect("raising to the hard limit is always allowed");
        assert_eq!(file_limit().soft, file_limit().hard);
    }
}
