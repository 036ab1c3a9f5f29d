//! What is read of the machine, a disk and a loader.

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sutler::monitor::{Disk, Host, Monitor, Stop, Task, Throughput};
use sutler::{ErrorKind, InMemory, Loader, Stats};

use crate::{MS, until};

fn read<K: Task>(task: &mut K) -> K::Value {
    task.run(&Stop::default()).unwrap()
}

/// Two readings, and the least and the most time that can be between them.
fn before_and_after<K: Task>(mut task: K, work: impl FnOnce()) -> ([K::Value; 2], RangeInclusive<Duration>) {
    let begun = Instant::now();
    let first = read(&mut task);
    let between = Instant::now();
    work();
    let least = between.elapsed();
    ([first, read(&mut task)], least..=begun.elapsed())
}

/// Whether a rate is of so many in that time.
#[track_caller]
fn assert_rate(rate: Option<f64>, count: u64, time: &RangeInclusive<Duration>) {
    let rate = rate.expect("a rate");
    let (most, least) = (count as f64 / time.start().as_secs_f64(), count as f64 / time.end().as_secs_f64());
    assert!(rate >= least && rate <= most, "{least} <= {rate} <= {most}");
}

fn work(time: Duration) {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        black_box(0);
    }
}

/// What this process had of the processors so far.
#[cfg(unix)]
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one `timespec`, which is there.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn memory_and_processors_are_what_the_system_says() {
    let ([first, last], _) = before_and_after(Host::new(), || work(300 * MS));
    assert_eq!((first.cpu, first.process_cpu), (None, None), "there was nothing to compare with");
    let share = 0.0..=1.0;
    assert!(last.cpu.is_some_and(|cpu| share.contains(&cpu) && cpu > 0.0), "{last:?}");
    assert!(last.process_cpu.is_some_and(|cpu| share.contains(&cpu) && cpu > 0.0), "{last:?}");
    assert_eq!(last.memory_used, last.memory_total - last.memory_available);
    assert!(last.swap_used <= last.swap_total);
    #[cfg(target_os = "linux")]
    {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let total: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
        assert_eq!(last.memory_total, total << 10);
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let processors = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
        assert_eq!(last.processors, processors);
    }
}

#[cfg(unix)]
#[test]
fn what_a_process_works_and_holds_is_seen() {
    let name = "readings::what_a_process_works_and_holds_is_seen";
    crate::alone(
        name,
        |_| {},
        || {
            let mut host = Host::new();
            // In a thread, since it is of the process.
            for task in [|| thread::sleep(300 * MS), || work(300 * MS)] {
                let (begun, most_worked) = (Instant::now(), processor_time());
                read(&mut host);
                let (between, least_worked) = (Instant::now(), processor_time());
                thread::spawn(task).join().unwrap();
                let (elapsed, worked) = (between.elapsed(), processor_time() - least_worked);
                let reading = read(&mut host);
                let (longest, most_worked) = (begun.elapsed(), processor_time() - most_worked);

                let cores = reading.process_cpu.unwrap() * reading.processors as f64;
                let (most, least) = (most_worked.div_duration_f64(elapsed), worked.div_duration_f64(longest));
                assert!(cores <= most && cores >= least, "{least} <= {cores} <= {most}");
            }

            const SIZE: usize = 256 << 20;
            let before = read(&mut Host::new()).resident.unwrap();
            let block = black_box(vec![7_u8; SIZE]);
            let more = read(&mut Host::new()).resident.unwrap() - before;
            assert!(more >= (SIZE - (16 << 20)) as u64 && more <= (SIZE + (16 << 20)) as u64, "{more} {}", block[9]);
        },
    );
}

/// sysinfo sets the soft limit to the hard one, to look at processes.
#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_open_files_stays_as_it_is() {
    crate::alone(
        "readings::the_limit_of_open_files_stays_as_it_is",
        |_| {},
        || {
            let limit = || {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                // SAFETY: it writes one `rlimit`, which is there.
                assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
                limit
            };
            let lower = libc::rlimit { rlim_cur: limit().rlim_cur - 1, ..limit() };
            // SAFETY: it reads one `rlimit`, which is there.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const lower) }, 0);
            let disk = Disk::of(".").unwrap();
            let (host, disk) = (Monitor::every(MS, Host::new()), Monitor::every(MS, disk));
            let (host, disk) = (host.start().unwrap(), disk.start().unwrap());
            until("two readings", || host.latest().filter(|reading| reading.tick > 0));
            until("two readings", || disk.latest().filter(|reading| reading.tick > 0));
            assert_eq!((limit().rlim_cur, limit().rlim_max), (lower.rlim_cur, lower.rlim_max));
        },
    );
}

#[test]
fn what_this_process_writes_to_storage_is_counted() {
    const SIZE: u64 = 8 << 20;
    let name = "readings::what_this_process_writes_to_storage_is_counted";
    crate::alone(
        name,
        |_| {},
        || {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let mut disk = Disk::of(folder.path()).unwrap();
            let begun = Instant::now();
            let first = read(&mut disk);
            let mut file = fs::File::create(folder.path().join("file")).unwrap();
            file.write_all(&vec![7; SIZE as usize]).unwrap();
            file.sync_all().unwrap();
            let last = read(&mut disk);
            let (longest, between) = (begun.elapsed(), Instant::now());
            thread::sleep(50 * MS);
            let (idle, longest_idle) = (read(&mut disk), between.elapsed());

            assert_eq!((first.read_per_second, first.written_per_second), (None, None));
            assert!(last.free > 0 && last.free <= last.total, "{last:?}");
            match last.written_per_second {
                Some(rate) if rate > 0.0 => {
                    // What is written below it, and for its own sake, counts as well.
                    let written = rate * longest.as_secs_f64();
                    assert!(written >= SIZE as f64, "{written}");
                    let written = idle.written_per_second.unwrap() * longest_idle.as_secs_f64();
                    assert!(written < (SIZE / 2) as f64, "{written}: nothing was written since");
                }
                // A file system in memory writes nothing to storage.
                _ => println!("skipped: what is written here is not counted ({last:?})"),
            }
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn two_file_systems_are_told_apart() {
    let df = |path: &str| {
        let output = std::process::Command::new("df").args(["-B1", "--output=size", path]).output().unwrap().stdout;
        String::from_utf8(output).unwrap().lines().nth(1).unwrap().trim().parse::<u64>().unwrap()
    };
    for path in [env!("CARGO_MANIFEST_DIR"), "/dev/shm"] {
        if fs::exists(path).unwrap() {
            assert_eq!(read(&mut Disk::of(path).unwrap()).total, df(path), "{path}");
        }
    }
}

#[test]
fn a_path_that_is_not_there_is_refused_by_its_absolute_name() {
    let error = Disk::of("no/such/folder").unwrap_err();
    let path = std::path::absolute("no/such/folder").unwrap();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(path.as_path())));
    let text = error.to_string();
    assert!(text.contains("cannot ask the file system for its free space: No such file"), "{text}");
}

#[test]
fn a_loaders_rates_are_of_the_time_since_the_last_reading() {
    let told = Arc::new(Mutex::new(Stats::default()));
    let shared = Arc::clone(&told);
    let change = |times: u32| {
        let mut stats = told.lock().unwrap();
        stats.batches += 7 * u64::from(times);
        stats.samples += 70 * u64::from(times);
        stats.bytes_read += 7000 * u64::from(times);
        stats.epoch_time += 10 * times * MS;
        stats.consumer_wait += 5 * times * MS;
        stats.queue_ahead += 8 * u64::from(times);
        stats.queue_ready += 2 * u64::from(times);
        thread::sleep(20 * MS);
    };
    change(100); // long before
    let ([first, last], time) = before_and_after(Throughput::of(move || shared.lock().unwrap().clone()), || change(1));
    assert_eq!((first.batches_per_second, first.samples_per_second, first.bytes_per_second), (None, None, None));
    assert_eq!((first.consumer_wait_share, first.worker_utilization, first.queue_occupancy), (None, None, None));
    assert_rate(last.batches_per_second, 7, &time);
    assert_rate(last.samples_per_second, 70, &time);
    assert_rate(last.bytes_per_second, 7000, &time);
    assert_eq!((last.consumer_wait_share, last.queue_occupancy), (Some(0.5), Some(0.25)));
}

#[test]
fn a_loader_is_seen_to_deliver() {
    let loader = Loader::builder((0..1_000).collect::<InMemory<i64>>()).batch_size(10).num_workers(2).build().unwrap();
    let loader = Arc::new(loader);
    let shared = Arc::clone(&loader);
    let ([_, last], time) = before_and_after(Throughput::of(move || shared.stats()), || {
        assert_eq!(loader.epoch().map(Result::unwrap).count(), 100);
        assert_eq!(loader.epoch().map(Result::unwrap).count(), 100);
    });
    assert_rate(last.batches_per_second, 200, &time);
    assert_rate(last.samples_per_second, 2000, &time);
}
