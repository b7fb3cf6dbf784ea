//! What the operating system allows and has left: limits, memory, disk, page faults. The only file that asks.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
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

/// Whether this process, or the whole machine, can open no further file at this moment.
pub fn is_out_of_files() -> bool {
    let code = fs::File::open("/dev/null").err().and_then(|error| error.raw_os_error());
    code.is_some_and(|code| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&code))
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
    /// Number of the file system: folders with the same share this room.
    pub device: u64,
}

/// Room on the disk of `folder`, or of the nearest folder above it that exists.
///
/// # Errors
/// What the operating system said.
pub fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let absolute = std::path::absolute(folder)?;
    let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let space = rustix::fs::statvfs(existing)?;
    Ok(DiskSpace {
        total: space.f_blocks * space.f_frsize,
        available: space.f_bavail * space.f_frsize,
        device: fs::metadata(existing)?.dev(),
    })
}

/// Page faults of this process since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFaults {
    /// Served from memory.
    pub minor: u64,
    /// That waited for the disk.
    pub major: u64,
}

/// This machine's name, with `_` for what would part a Graphite name; `unknown` where it has none.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if plain.is_empty() { "unknown".to_owned() } else { plain }
}

/// Page faults so far, all threads; `None` if the kernel does not tell.
pub fn page_faults() -> Option<PageFaults> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold anything but ends with the last parenthesis: state is the third field.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some(PageFaults { minor: field(10)?, major: field(12)? })
}

/// Datagrams that the kernel dropped since a UDP socket was made, because nobody read them in time; `None` if it does not
/// tell.
pub fn dropped_datagrams(socket: impl AsFd) -> Option<u64> {
    let inode = rustix::fs::fstat(socket).ok()?.st_ino.to_string();
    ["udp", "udp6"].into_iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/net/{table}")).ok()?;
        // The inode is in the tenth place, the drops are in the last, the thirteenth.
        let mut lines = text.lines().map(str::split_ascii_whitespace);
        lines.find_map(|mut fields| (fields.nth(9)? == inode).then(|| fields.nth(2)?.parse().ok())?)
    })
}

/// Who holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketHolder {
    /// Its process id.
    pub process_id: u32,
    /// Its command line, cut at [`MAX_COMMAND_CHARS`].
    pub command: String,
}

/// Longest command line that is told.
pub const MAX_COMMAND_CHARS: usize = 120;
/// State of a listening TCP socket in the kernel's tables.
const TCP_LISTENS: &str = "0A";
/// State of a bound UDP socket there.
const UDP_BOUND: &str = "07";

/// The process that listens on a TCP port, or has bound a UDP port; `None` if there is none or it may not be looked at.
pub fn socket_holder(port: u16, is_udp: bool) -> Option<SocketHolder> {
    let (tables, state) = if is_udp { (["udp", "udp6"], UDP_BOUND) } else { (["tcp", "tcp6"], TCP_LISTENS) };
    let local_end = format!(":{port:04X}");
    let mut sockets = Vec::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            // Number, local and remote address, state, ..., inode in the tenth place.
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, found, ..] = fields[..]
                && local.ends_with(&local_end)
                && found == state
                && let Some(inode) = fields.get(9)
            {
                sockets.push(format!("socket:[{inode}]"));
            }
        }
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holder = ids.into_iter().find(|id| {
        let files = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    })?;
    let command = fs::read(format!("/proc/{holder}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(SocketHolder { process_id: holder, command: words.trim().chars().take(MAX_COMMAND_CHARS).collect() })
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
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        let holder = socket_holder(port, false).expect("ourselves");
        assert_eq!(holder.process_id, std::process::id());
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        assert_eq!(dropped_datagrams(&datagrams), Some(0));
        assert_eq!(dropped_datagrams(&socket), None, "no UDP socket");
        raise_file_limit().expect("raising to the hard limit is always allowed");
        assert_eq!(file_limit().soft, file_limit().hard);
    }
}
