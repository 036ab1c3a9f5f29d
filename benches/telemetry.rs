//! What a training loop pays for logging a step.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use sutler::telemetry::{Csv, Metrics, Record, Shutdown, Sink, Telemetry, TensorBoard};

/// Takes everything, and does nothing with it.
struct Nowhere;

impl Sink for Nowhere {
    fn name(&self) -> &str {
        "nowhere"
    }

    fn write(&mut self, records: &[Record]) -> sutler::Result<()> {
        black_box(records);
        Ok(())
    }
}

/// Never comes back.
struct Stuck;

impl Sink for Stuck {
    fn name(&self) -> &str {
        "stuck"
    }

    fn write(&mut self, _: &[Record]) -> sutler::Result<()> {
        loop {
            thread::park();
        }
    }
}

/// Logs as many records as have room, then waits, off the clock, until they are written.
fn steps(telemetry: &Telemetry, iterations: u64) -> Duration {
    let mut time = Duration::ZERO;
    for start in (0..iterations).step_by(1000) {
        let begun = Instant::now();
        for step in start..iterations.min(start + 1000) {
            let loss = black_box(0.5);
            telemetry.log(step, [("train/loss", loss), ("train/accuracy", 0.5), ("train/lr", 1e-3)]);
        }
        time += begun.elapsed();
        while !telemetry.report().is_complete() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    time
}

fn log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log three metrics");
    group.bench_function("make the record alone", |bencher| {
        bencher.iter(|| Metrics::from([("train/loss", black_box(0.5)), ("train/accuracy", 0.5), ("train/lr", 1e-3)]))
    });
    let builder = || Telemetry::builder().flush_interval(Duration::from_millis(1));
    let one = builder().sink(Nowhere).start().unwrap();
    group.bench_function("one sink", |bencher| bencher.iter_custom(|iterations| steps(&one, iterations)));

    let folder = tempfile::tempdir().unwrap();
    let csv = Csv::open(folder.path().join("metrics.csv")).unwrap();
    let board = TensorBoard::create(folder.path()).unwrap();
    let files = builder().sink(csv).sink(board).start().unwrap();
    group.bench_function("CSV and TensorBoard", |bencher| bencher.iter_custom(|iterations| steps(&files, iterations)));
    assert!(files.report().is_complete());

    // Each record pushes one out, whose memory the loop frees.
    let stuck = builder().sink(Stuck).capacity(64).start().unwrap();
    group.bench_function("a sink that is stuck", |bencher| {
        bencher.iter(|| stuck.log(0, [("train/loss", black_box(0.5)), ("train/accuracy", 0.5), ("train/lr", 1e-3)]))
    });
    let report = stuck.shutdown(Shutdown::Abandon);
    assert_eq!(report.sinks[0].dropped, report.sinks[0].logged);
    group.finish();
}

criterion_group!(benches, log);
criterion_main!(benches);
