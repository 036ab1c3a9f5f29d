//! What this process has used so far. sysinfo could tell as well; but on Linux, to look at a process, it raises this
//! one's limit of open files, which is the user's.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) at: Instant,
    /// Bytes of memory that it has now.
    pub(super) resident: Option<u64>,
    /// Time on cores, all threads together.
    pub(super) cpu: Option<Duration>,
    /// Bytes that storage was asked for,
    pub(super) read: Option<u64>,
    /// and was given.
    pub(super) written: Option<u64>,
}

#[cfg(target_os = "linux")]
pub(super) fn usage() -> Usage {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    Usage {
        at: Instant::now(),
        resident: std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| resident(&text)),
        cpu: Some(cpu_time()),
        read: field(&io, "read_bytes: "),
        written: field(&io, "write_bytes: "),
    }
}

/// The second number, in pages (proc_pid_statm(5)).
#[cfg(target_os = "linux")]
fn resident(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(target_os = "linux")]
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.parse().ok()
}

#[cfg(unix)]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn usage() -> Usage {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

    let mut system = System::new();
    let own = sysinfo::get_current_pid().ok().and_then(|pid| {
        let what = ProcessRefreshKind::nothing().with_memory().with_cpu().with_disk_usage();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        system.process(pid)
    });
    let io = own.map(|own| own.disk_usage());
    Usage {
        at: Instant::now(),
        resident: own.map(|own| own.memory()),
        #[cfg(unix)]
        cpu: Some(cpu_time()),
        #[cfg(not(unix))]
        cpu: own.map(|own| Duration::from_millis(own.accumulated_cpu_time())),
        read: io.map(|io| io.total_read_bytes),
        written: io.map(|io| io.total_written_bytes),
    }
}

/// How much more it is, a second.
pub(super) fn rate(before: Option<u64>, now: Option<u64>, elapsed: Duration) -> Option<f64> {
    let more = now?.saturating_sub(before?);
    (!elapsed.is_zero()).then(|| more as f64 / elapsed.as_secs_f64())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        let io = "rchar: 9\nwchar: 8\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 7\n";
        assert_eq!((field(io, "read_bytes: "), field(io, "write_bytes: ")), (Some(4096), Some(512)));
        assert_eq!((field("", "read_bytes: "), field("read_bytes: x", "read_bytes: ")), (None, None));
        let page = rustix::param::page_size() as u64;
        assert_eq!((resident("900 17 3 1 0 2 0\n"), resident("900"), resident("")), (Some(17 * page), None, None));
    }

    #[test]
    fn a_rate_needs_two_looks_and_time_between_them() {
        let second = Duration::from_secs(1);
        assert_eq!(rate(Some(5), Some(25), 4 * second), Some(5.0));
        assert_eq!(rate(Some(25), Some(5), second), Some(0.0));
        assert_eq!((rate(None, Some(1), second), rate(Some(1), None, second)), (None, None));
        assert_eq!(rate(Some(1), Some(2), Duration::ZERO), None);
    }
}
