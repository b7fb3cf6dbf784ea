//! What a process has used so far: CPU, page faults, bytes read from and written to disks, memory.
//!
//! The CPU clock is exact to nanoseconds; its division into user and system time is the kernel's, which counts
//! hundredths of a second, so that it means something only for a second and more.

use std::fs::read_to_string;
use std::io;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The kernel tells CPU time of processes in hundredths of a second, whatever its own clock.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of `/proc/PID/stat` after the name, counted from 0: user and system time.
const USER_AND_SYSTEM: std::ops::Range<usize> = 11..13;

/// A reading of all counters of this process, ended threads included.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    taken: Instant,
    cpu_s: f64,
    user_ticks: u64,
    system_ticks: u64,
    minor_faults: u64,
    major_faults: u64,
    read_bytes: u64,
    written_bytes: u64,
    machine_ticks: u64,
}

/// What was used between two readings.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Time that passed.
    pub wall_s: f64,
    /// CPU time of all threads.
    pub cpu_s: f64,
    /// Part of it outside the kernel.
    pub user_s: f64,
    /// Part of it in the kernel.
    pub system_s: f64,
    /// Page faults without reading.
    pub minor_faults: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
    /// Read from disks, read-ahead included.
    pub read_bytes: u64,
    /// Written towards disks.
    pub written_bytes: u64,
    /// CPU time of the whole machine: kernel threads that write back and reclaim, and whatever else runs.
    pub machine_cpu_s: f64,
}

impl Usage {
    /// Takes off CPU time that does not belong to what is measured.
    pub fn without_cpu_s(&mut self, other_s: f64) {
        let kept = (self.cpu_s - other_s) / self.cpu_s;
        self.cpu_s *= kept;
        self.user_s *= kept;
        self.system_s *= kept;
    }
}

/// The kernel counts CPU time of processes and machines in hundredths of a second.
const TICKS_PER_S: f64 = 100.0;
/// Where idle time, then time waiting for disks, stand among a machine's times.
const IDLE_FIELDS: [usize; 2] = [3, 4];
/// Times after this many fields are part of earlier ones.
const MACHINE_FIELDS: usize = 8;

impl Reading {
    /// Reads all counters.
    ///
    /// # Errors
    /// If `/proc` is not there or looks different.
    pub fn now() -> io::Result<Self> {
        let stat = read_to_string("/proc/self/stat")?;
        // The name of the program, in parentheses, may hold spaces; the third field follows it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |number: usize| {
            let value = fields.get(number - 3).and_then(|text| text.parse().ok());
            value.ok_or_else(|| io::Error::other("/proc/self/stat has an unknown form"))
        };
        let counts = read_to_string("/proc/self/io")?;
        let count = |name: &str| {
            let value = counts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = value.and_then(|text| text.parse().ok());
            value.ok_or_else(|| io::Error::other(format!("/proc/self/io has no `{name}`")))
        };
        Ok(Self {
            taken: Instant::now(),
            cpu_s: clock_s(ClockId::ProcessCPUTime),
            minor_faults: field(10)?,
            major_faults: field(12)?,
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            read_bytes: count("read_bytes")?,
            written_bytes: count("write_bytes")?,
            machine_ticks: machine_ticks()?,
        })
    }

    /// What was used from this reading to the `later` one.
    pub fn until(&self, later: &Self) -> Usage {
        let ticks = |from: u64, to: u64| u32::try_from(to - from).map_or(f64::MAX, f64::from);
        let user = ticks(self.user_ticks, later.user_ticks);
        let system = ticks(self.system_ticks, later.system_ticks);
        let cpu_s = later.cpu_s - self.cpu_s;
        let user_share = if user + system > 0.0 { user / (user + system) } else { 1.0 };
        Usage {
            wall_s: (later.taken - self.taken).as_secs_f64(),
            cpu_s,
            user_s: cpu_s * user_share,
            system_s: cpu_s * (1.0 - user_share),
            minor_faults: later.minor_faults - self.minor_faults,
            major_faults: later.major_faults - self.major_faults,
            read_bytes: later.read_bytes - self.read_bytes,
            written_bytes: later.written_bytes - self.written_bytes,
            machine_cpu_s: ticks(self.machine_ticks, later.machine_ticks) / TICKS_PER_S,
        }
    }
}

/// Time on the wall and on the CPU of one thread, for what is too short for a [`Reading`].
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    wall: Instant,
    cpu_s: f64,
}

/// How long something took, microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// On the wall.
    pub wall_us: f64,
    /// On the CPU of this thread.
    pub cpu_us: f64,
}

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu_s: clock_s(ClockId::ThreadCPUTime) }
    }

    /// Since the start or the last lap.
    pub fn lap(&mut self) -> Span {
        let now = Self::start();
        let span = Span {
            wall_us: (now.wall - self.wall).as_secs_f64() * 1e6,
            cpu_us: (now.cpu_s - self.cpu_s) * 1e6,
        };
        *self = now;
        span
    }
}

fn machine_ticks() -> io::Result<u64> {
    let stat = read_to_string("/proc/stat")?;
    let times = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let times = times.ok_or_else(|| io::Error::other("/proc/stat has an unknown form"))?;
    let times = times.split_whitespace().map(|text| text.parse::<u64>().unwrap_or_default());
    let busy = times.take(MACHINE_FIELDS).enumerate().filter(|(field, _)| !IDLE_FIELDS.contains(field));
    Ok(busy.map(|(_, ticks)| ticks).sum())
}

fn clock_s(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    #[expect(clippy::cast_precision_loss, reason = "CPU time of less than a hundred days")]
    let nanoseconds = (time.tv_sec * 1_000_000_000 + time.tv_nsec) as f64;
    nanoseconds / 1e9
}

/// Resident memory of this process. `smaps_rollup` walks the page table; `statm` reads counters that lag behind by
/// up to some hundred KiB on recent kernels, and counts in pages of a size it does not tell.
///
/// # Errors
/// If `/proc` is not there or looks different.
pub fn resident_bytes() -> io::Result<u64> {
    kibibytes_in("/proc/self/smaps_rollup", "Rss:")
}

/// Memory that can be had without pushing out what programs use.
///
/// # Errors
/// If `/proc` is not there or looks different.
pub fn available_memory_bytes() -> io::Result<u64> {
    kibibytes_in("/proc/meminfo", "MemAvailable:")
}

fn kibibytes_in(path: &str, name: &str) -> io::Result<u64> {
    let text = read_to_string(path)?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    let kibibytes = kibibytes.and_then(|text| text.parse::<u64>().ok());
    let error = || io::Error::other(format!("{path} has no line `{name} <number> kB`"));
    Ok(kibibytes.ok_or_else(error)? * 1024)
}

/// CPU seconds of any process so far, ended threads included.
///
/// # Errors
/// If there is no such process, or `/proc` looks different.
pub fn process_cpu_s(process_id: u32) -> io::Result<f64> {
    let stat = read_to_string(format!("/proc/{process_id}/stat"))?;
    // The name stands in brackets and may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(USER_AND_SYSTEM).unwrap_or_default().iter().map(|field| field.parse::<u32>());
    let ticks: Result<Vec<u32>, _> = ticks.collect();
    Ok(ticks.map_err(io::Error::other)?.into_iter().map(|ticks| f64::from(ticks) / TICKS_PER_SECOND).sum())
}

/// Field of the first line of `/proc/stat`, its name included.
const STOLEN: usize = 8;

/// CPU seconds that this machine, a virtual one, wanted so far and its host gave to others, of all processors together.
///
/// # Errors
/// If `/proc` is not there or looks different.
pub fn stolen_cpu_s() -> io::Result<f64> {
    let stat = read_to_string("/proc/stat")?;
    let field = stat.lines().next().and_then(|line| line.split_whitespace().nth(STOLEN));
    let ticks = field.and_then(|field| field.parse::<f64>().ok());
    let ticks = ticks.ok_or_else(|| io::Error::other("/proc/stat says nothing of stolen time"))?;
    Ok(ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_on_every_clock() {
        let before = Reading::now().expect("a Linux machine");
        let mut stopwatch = Stopwatch::start();
        let (mut pages, mut byte) = (vec![1u8; 8 << 20], 1u8);
        while stopwatch.cpu_s + 0.02 > clock_s(ClockId::ThreadCPUTime) {
            byte = byte.wrapping_mul(3);
            pages.fill(std::hint::black_box(byte));
        }
        let span = stopwatch.lap();
        assert!(pages.iter().any(|&byte| byte != 0));
        assert!(span.cpu_us >= 20_000.0 && span.wall_us >= 19_000.0, "{span:?}");
        let usage = before.until(&Reading::now().expect("a Linux machine"));
        assert!(usage.cpu_s >= 0.02 && usage.minor_faults > 0, "{usage:?}");
        assert!((usage.user_s + usage.system_s - usage.cpu_s).abs() < 1e-9);
    }
}
