//! `Diagnosis`: what limits a run, and what to change.

use std::fmt;
use std::thread::available_parallelism;
use std::time::Duration;

use super::{StageTimes, Stats};

/// What limits a run, and what to change; made by [`Stats::diagnosis`]. Printed, it is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    limit: Limit,
    sentence: String,
}

/// What limits a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Too little was loaded to tell.
    Unknown,
    /// The training loop: it hardly ever waits for data.
    Trainer,
    /// The training loop loads its own samples, where workers could.
    NoWorkers,
    /// The workers, of which there are fewer than cores.
    Workers,
    /// The cores.
    Cores,
    /// The workers are in each other's way: there are more than cores.
    TooManyWorkers,
    /// What the workers wait for: storage, a network.
    Latency,
    /// A few samples that take far longer than the others.
    Stragglers,
    /// How far the loader may run ahead.
    Prefetch,
}

impl Diagnosis {
    /// What it is.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    pub(super) fn of(stats: &Stats) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::on(cores, stats)
    }

    fn on(cores: usize, stats: &Stats) -> Self {
        let limit = limit(cores, stats);
        Diagnosis { limit, sentence: sentence(limit, cores, stats) }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Up to here the consumer is fed: what is left is what it takes to hand a batch over.
const FED: f64 = 0.05;

fn limit(cores: usize, stats: &Stats) -> Limit {
    const FEWEST_BATCHES: u64 = 8;
    if stats.batches < FEWEST_BATCHES {
        return Limit::Unknown;
    }
    if stats.consumer_wait_share() < FED {
        return Limit::Trainer;
    }
    if stats.num_workers == 0 {
        return Limit::NoWorkers;
    }
    // The consumer waits, and so do workers: for what is in each other's hands.
    if stats.worker_utilization() < 0.6 {
        let mean = stats.worker_busy.div_f64(stats.samples.max(1) as f64);
        let has_straggler = stats.slowest.first().is_some_and(|slowest| slowest.time > 10 * mean);
        return if has_straggler { Limit::Stragglers } else { Limit::Prefetch };
    }
    let is_crowded = stats.num_workers > cores;
    let works_most_of_the_time = match stats.cpu.share(stats.cpu.on_core + stats.cpu.queued) {
        Some(share) => share > 0.5,
        None => stats.stages.read < stats.worker_busy / 2,
    };
    match works_most_of_the_time {
        false => Limit::Latency,
        true if is_crowded && stats.cpu.share(stats.cpu.queued).is_some_and(|queued| queued > 0.25) => {
            Limit::TooManyWorkers
        }
        true if stats.num_workers < cores => Limit::Workers,
        true => Limit::Cores,
    }
}

fn sentence(limit: Limit, cores: usize, stats: &Stats) -> String {
    let waited = format!("it waited for data {} of the time", percent(stats.consumer_wait_share()));
    let workers = counted(stats.num_workers, "worker");
    let busy = percent(stats.worker_utilization().min(1.0));
    match limit {
        Limit::Unknown => {
            "Too little was loaded to tell what limits this run: ask again after some batches more.".into()
        }
        Limit::Trainer => {
            let enough = needed(stats);
            let advice = match stats.num_workers {
                0 => "there is nothing to gain from workers".into(),
                workers if enough < workers && stats.most_workers.is_none() => {
                    format!("{} would do", counted(enough, "worker"))
                }
                _ => "there is nothing to gain from the loader".into(),
            };
            format!("The training loop is the limit: {waited}, and {advice}.")
        }
        Limit::NoWorkers => format!(
            "The training loop loads its own samples, {} of the time: set num_workers to 1 or more, so that they are \
             loaded while it trains.",
            percent(stats.consumer_wait_share())
        ),
        Limit::Workers => format!(
            "The workers are the limit: the training loop is ready for more, {waited}, and {workers} cannot use all of \
             {}: {}.",
            counted(cores, "core"),
            to_have(needed(stats).clamp(stats.num_workers + 1, cores), stats)
        ),
        Limit::Cores => format!(
            "The cores are the limit: the training loop is ready for more, {waited}, and {workers} keep {} busy{}: make \
             samples cheaper{}, or use more cores.",
            counted(cores, "core"),
            largest_stage(stats)
                .map(|(stage, share)| format!(", {} of it with {stage}", percent(share)))
                .unwrap_or_default(),
            match largest_stage(stats) {
                Some(("decoding", _)) => " (smaller files, feature turbojpeg, scaled_decode)",
                Some(("resizing", _)) => " (smaller files)",
                _ => "",
            }
        ),
        Limit::TooManyWorkers => format!(
            "There are more workers than cores: the training loop is ready for more, {waited}, but {workers} wait for one \
             of {}, {} of their time: {}.",
            counted(cores, "core"),
            percent(stats.cpu.share(stats.cpu.queued).unwrap_or_default()),
            to_have(cores, stats)
        ),
        Limit::Latency => format!(
            "Waiting is the limit: the training loop is ready for more, {waited}, and {workers} are at work {} of their time \
             and else wait for files or a network: use faster storage, or {}.",
            percent(stats.worker_cpu_share().unwrap_or_default()),
            to_have(needed(stats).clamp(stats.num_workers + 1, 2 * stats.num_workers), stats)
        ),
        Limit::Stragglers => format!(
            "A few slow samples are the limit: the training loop is ready for more, {waited}, while {workers}, busy {busy} of \
             the time, cannot run further ahead of them: look at the slowest ({}), raise prefetch_batches, or set \
             in_order(false).",
            stats.slowest.first().map(|slowest| slowest.to_string()).unwrap_or_default()
        ),
        Limit::Prefetch => format!(
            "How far the loader runs ahead is the limit: the training loop is ready for more, {waited}, while {workers} are \
             busy only {busy} of the time: raise prefetch_batches or prefetch_bytes, or leave them out."
        ),
    }
}

/// How many workers would do, were the loop fed: for their work, the time that the loop does not wait.
fn needed(stats: &Stats) -> usize {
    let training = stats.epoch_time.saturating_sub(stats.consumer_wait).max(Duration::from_nanos(1));
    // A fifth more, since work does not come evenly.
    let workers = 1.2 * stats.worker_busy.as_secs_f64() / training.as_secs_f64();
    (workers.ceil() as usize).max(1)
}

/// What to do to have so many workers, which are not as many as there are.
fn to_have(number: usize, stats: &Stats) -> String {
    match stats.most_workers {
        None if number > stats.num_workers => format!("raise num_workers to {number}"),
        None => format!("lower num_workers to {number}"),
        Some(most) if most == stats.num_workers && number > most => {
            format!("set num_workers to {number}, since NumWorkers::Auto tries no more than {most}")
        }
        Some(_) => {
            "leave their number to NumWorkers::Auto, which tries others for a few hundred batches and keeps the \
                    fewest that are about as good as any"
                .into()
        }
    }
}

fn largest_stage(stats: &Stats) -> Option<(&'static str, f64)> {
    let StageTimes { read, header, decode, resample, write } = stats.stages;
    let stages =
        [(read, "reading"), (header, "headers"), (decode, "decoding"), (resample, "resizing"), (write, "writing")];
    let (time, stage) = stages.into_iter().max()?;
    let share = time.as_secs_f64() / stats.worker_busy.as_secs_f64();
    (share > 0.3).then_some((stage, share))
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        small if small < 10.0 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::{CpuTimes, SlowSample};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A run of ten seconds: the share of it that the loop waited, how many workers and how busy, and of their time how
    /// much was on a core or waited for one.
    fn run(waited: f64, num_workers: usize, busy: f64, (on_core, queued): (f64, f64)) -> Stats {
        let worker_busy = (10 * num_workers as u32 * SECOND).mul_f64(busy);
        let cpu =
            CpuTimes { busy: worker_busy, on_core: worker_busy.mul_f64(on_core), queued: worker_busy.mul_f64(queued) };
        Stats {
            batches: 100,
            samples: 10_000,
            num_workers,
            epoch_time: 10 * SECOND,
            consumer_wait: (10 * SECOND).mul_f64(waited),
            worker_time: 10 * num_workers as u32 * SECOND,
            worker_busy,
            cpu,
            ..Stats::default()
        }
    }

    #[test]
    fn each_situation_has_its_sentence() {
        let decoding = |stats: Stats| {
            let decode = stats.worker_busy.mul_f64(0.7);
            Stats { stages: StageTimes { decode, ..StageTimes::default() }, ..stats }
        };
        let slow = |stats: Stats| {
            let slow = SlowSample { index: 7, shard: None, path: Some("/data/7.jpg".into()), time: SECOND };
            Stats { slowest: vec![slow], ..stats }
        };
        for (stats, limit, sentence) in [
            (
                Stats { batches: 3, ..run(0.5, 2, 1.0, (1.0, 0.0)) },
                Limit::Unknown,
                "Too little was loaded to tell what limits this run: ask again after some batches more.",
            ),
            (
                run(0.004, 4, 0.3, (1.0, 0.0)),
                Limit::Trainer,
                "The training loop is the limit: it waited for data 0.4 % of the time, and 2 workers would do.",
            ),
            (
                run(0.02, 4, 0.9, (1.0, 0.0)),
                Limit::Trainer,
                "The training loop is the limit: it waited for data 2.0 % of the time, and there is nothing to gain from \
                 the loader.",
            ),
            (
                run(0.3, 0, 0.0, (0.0, 0.0)),
                Limit::NoWorkers,
                "The training loop loads its own samples, 30 % of the time: set num_workers to 1 or more, so that they are \
                 loaded while it trains.",
            ),
            (
                run(0.6, 2, 0.98, (0.95, 0.01)),
                Limit::Workers,
                "The workers are the limit: the training loop is ready for more, it waited for data 60 % of the time, and 2 \
                 workers cannot use all of 8 cores: raise num_workers to 6.",
            ),
            (
                decoding(run(0.6, 8, 0.98, (0.9, 0.1))),
                Limit::Cores,
                "The cores are the limit: the training loop is ready for more, it waited for data 60 % of the time, and 8 \
                 workers keep 8 cores busy, 70 % of it with decoding: make samples cheaper (smaller files, feature turbojpeg, \
                 scaled_decode), or use more cores.",
            ),
            (
                run(0.5, 32, 0.98, (0.25, 0.74)),
                Limit::TooManyWorkers,
                "There are more workers than cores: the training loop is ready for more, it waited for data 50 % of the \
                 time, but 32 workers wait for one of 8 cores, 74 % of their time: lower num_workers to 8.",
            ),
            (
                run(0.5, 8, 0.98, (0.1, 0.0)),
                Limit::Latency,
                "Waiting is the limit: the training loop is ready for more, it waited for data 50 % of the time, and 8 workers \
                 are at work 10 % of their time and else wait for files or a network: use faster storage, or raise \
                 num_workers to 16.",
            ),
            (
                slow(run(0.3, 4, 0.4, (0.9, 0.0))),
                Limit::Stragglers,
                "A few slow samples are the limit: the training loop is ready for more, it waited for data 30 % of the time, \
                 while 4 workers, busy 40 % of the time, cannot run further ahead of them: look at the slowest (sample 7 \
                 (/data/7.jpg), 1.0s), raise prefetch_batches, or set in_order(false).",
            ),
            (
                run(0.3, 4, 0.4, (0.9, 0.0)),
                Limit::Prefetch,
                "How far the loader runs ahead is the limit: the training loop is ready for more, it waited for data 30 % of \
                 the time, while 4 workers are busy only 40 % of the time: raise prefetch_batches or prefetch_bytes, or leave \
                 them out.",
            ),
        ] {
            let diagnosis = Diagnosis::on(8, &stats);
            assert_eq!((diagnosis.limit(), &*diagnosis.to_string()), (limit, sentence));
        }
    }

    #[test]
    fn who_leaves_the_number_of_workers_to_the_loader_is_not_told_to_change_it() {
        let leave_it = "leave their number to NumWorkers::Auto, which tries others for a few hundred batches and keeps \
                        the fewest that are about as good as any.";
        let fed = "it waited for data 0.4 % of the time, and there is nothing to gain from the loader.";
        for (limit, stats, advice) in [
            (Limit::Trainer, run(0.004, 4, 0.3, (1.0, 0.0)), fed),
            (Limit::Workers, run(0.6, 2, 0.98, (0.95, 0.01)), leave_it),
            (Limit::TooManyWorkers, run(0.5, 32, 0.98, (0.25, 0.74)), leave_it),
            (Limit::Latency, run(0.5, 8, 0.98, (0.1, 0.0)), &format!("use faster storage, or {leave_it}")),
            (
                Limit::Latency,
                run(0.5, 32, 0.98, (0.1, 0.0)),
                "use faster storage, or set num_workers to 64, since NumWorkers::Auto tries no more than 32.",
            ),
        ] {
            let diagnosis = Diagnosis::on(8, &Stats { most_workers: Some(32), ..stats });
            assert_eq!(diagnosis.limit(), limit);
            assert!(diagnosis.to_string().ends_with(&format!(": {advice}")), "{diagnosis}");
        }
    }

    #[test]
    fn where_the_system_tells_nothing_of_threads_the_time_of_reading_decides() {
        let unknown = |read: f64| {
            let stats = run(0.5, 8, 0.98, (0.0, 0.0));
            let read = stats.worker_busy.mul_f64(read);
            let stages = StageTimes { read, ..StageTimes::default() };
            Diagnosis::on(8, &Stats { cpu: CpuTimes::default(), stages, ..stats }).limit()
        };
        assert_eq!((unknown(0.8), unknown(0.1)), (Limit::Latency, Limit::Cores));
    }
}
