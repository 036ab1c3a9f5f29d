//! Does the CUDA path keep its promises on this machine? Page-locked batches, copies beside the computation, and memory that
//! is never used again too early.
//!
//! ```sh
//! gpu_check [--cpu] [--batches 10000] [--steps 100] [--workers N] [--photos DIR] [--json FILE]
//! ```
//!
//! `make gpu-check` builds and runs it; [docs/CUDA.md](../../docs/CUDA.md) says what each check proves. `--cpu` is a dry run:
//! the same code on the CPU, with small counts. It shows that the program works, and nothing about a GPU.
//!
//! The last line of the output is JSON. Exit code 0: all checks that must pass did; 1: one did not; 2: no CUDA device.

mod bandwidth;
mod broken;
mod constant;
mod machine;
mod outcome;
mod overlap;
mod pattern;
mod pinned;
mod settings;
mod stress;
mod training;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use serde_json::json;
use sutler::torch::{SideStream, load_cuda};

use broken::{EarlyRelease, NoRecordStream};
use outcome::Outcome;
use settings::Settings;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Says what came of one check, or why it could not be made.
type Check = fn(&Settings) -> Result<Outcome, Error>;

const CHECKS: [(&str, Check); 8] = [
    ("machine", |settings| Ok(machine::describe(settings))),
    ("pinned memory", pinned::check),
    ("checksums", |settings| stress::check(settings, || SideStream::new(settings.device))),
    ("without record_stream", |settings| broken::check(settings, || NoRecordStream::new(settings.device))),
    ("released too early", |settings| broken::check(settings, || EarlyRelease::new(settings.device))),
    ("copies overlap", overlap::check),
    ("bandwidth", bandwidth::check),
    ("ResNet-50", training::check),
];

fn main() -> ExitCode {
    let settings = match Settings::from_args() {
        Ok(Some(settings)) => settings,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpu_check: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Before anything else asks torch for a GPU: it remembers the first answer.
    let loaded = load_cuda();
    if !settings.dry && !tch::Cuda::is_available() {
        eprintln!("gpu_check: there is no CUDA device: {}", loaded.err().unwrap_or("libtorch finds none"));
        return ExitCode::from(2);
    }
    if settings.dry {
        tch::set_num_threads(1); // more cost small work more than they bring
    }
    match run(&settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gpu_check: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes all checks; whether those that must pass did.
fn run(settings: &Settings) -> Result<bool, Error> {
    let mut report = Vec::new();
    let mut passed = true;
    for (number, (name, check)) in CHECKS.iter().enumerate() {
        // tch panics where torch reports an error, and one failure should not hide what the other checks find.
        let made = catch_unwind(AssertUnwindSafe(|| check(settings)));
        let outcome = match made {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::failed(&error.to_string()),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                Outcome::failed(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic"))
            }
        };
        passed &= !outcome.is_failure();
        let verdict = outcome.verdict(settings.dry);
        println!("{number}  {name:<22} {verdict:<20} {}", outcome.summary);
        report.push(json!({
            "check": name, "verdict": verdict, "summary": outcome.summary, "details": outcome.details,
        }));
    }
    let report = json!({ "passed": passed, "dry_run": settings.dry, "checks": report });
    if let Some(path) = &settings.json {
        std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("{report}");
    Ok(passed)
}
