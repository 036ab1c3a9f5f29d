//! GPUs, as a fake `nvidia-smi` and a fake NVML show them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sutler::monitor::{Gpu, GpuReading, GpuSource, Monitor, Stop, Task};
use sutler::{Error, ErrorKind};

use crate::{MS, SOON, alone, until};

const MIB: u64 = 1 << 20;

/// Runs a test with this script as the only program on `PATH`, or with none.
fn with_smi(test: &str, script: Option<&str>, run: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(script) = script {
        fake_smi(folder.path(), script);
    }
    alone(
        &format!("gpu::{test}"),
        |command| {
            command.env("PATH", folder.path()).env("LD_LIBRARY_PATH", no_nvml(folder.path()));
        },
        || run(Path::new(&std::env::var_os("PATH").unwrap())),
    );
}

fn fake_smi(folder: &Path, script: &str) {
    let file = folder.join("nvidia-smi");
    // Moved there when it is closed, or whoever starts a process just now has it open for writing.
    let draft = folder.join("draft");
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(draft, file).unwrap();
}

/// A folder whose NVML cannot be loaded, also where there is one.
fn no_nvml(folder: &Path) -> &Path {
    fs::write(folder.join("libnvidia-ml.so.1"), "").unwrap();
    folder
}

fn smi() -> Result<Gpu, Error> {
    Gpu::nvidia_smi(SOON)
}

fn read(gpu: &mut Gpu) -> Vec<GpuReading> {
    gpu.run(&Stop::default()).unwrap()
}

/// Number, name, memory in use and in all, utilisation, temperature.
type Facts<'a> = (usize, Option<&'a str>, [Option<u64>; 2], Option<f64>, Option<u32>);

fn facts(gpu: &GpuReading) -> Facts<'_> {
    let GpuReading { index, name, memory_used, memory_total, utilization, temperature, .. } = gpu;
    (*index, name.as_deref(), [*memory_used, *memory_total], *utilization, *temperature)
}

#[test]
fn a_gpu_is_read_in_bytes_shares_and_degrees() {
    let script = r#"echo "$*" >"$PATH/asked"; echo "0, NVIDIA H200, 1234, 143771, 37, 41""#;
    with_smi("a_gpu_is_read_in_bytes_shares_and_degrees", Some(script), |folder| {
        let mut gpu = Gpu::open().unwrap();
        assert_eq!(gpu.source(), GpuSource::NvidiaSmi, "NVML cannot be loaded here");
        let gpus = read(&mut gpu);
        let expected = (0, Some("NVIDIA H200"), [Some(1234 * MIB), Some(143_771 * MIB)], Some(0.37), Some(41));
        assert_eq!(gpus.iter().map(facts).collect::<Vec<_>>(), [expected]);
        let asked = fs::read_to_string(folder.join("asked")).unwrap();
        let query = "--query-gpu=index,name,memory.used,memory.total,utilization.gpu,temperature.gpu";
        assert_eq!(asked, format!("{query} --format=csv,noheader,nounits\n"));

        let monitor = Monitor::every(MS, gpu).name("gpu").start().unwrap();
        let reading = until("a second reading", || monitor.latest().filter(|reading| reading.tick > 0));
        assert_eq!(reading.value, gpus);
    });
}

#[test]
fn several_gpus_are_told_apart_whatever_they_are_called() {
    let script = r#"
        echo "0, NVIDIA A100-SXM4-80GB, 0, 81920, 0, 30"
        echo "1, Quadro, with a comma, 5, 81920, 100, 90"
        printf '2, Windows, 1, 2, 3, 4\r\n\n'
        echo "WARNING: infoROM is corrupted at gpu 0000:00:1E.0""#;
    with_smi("several_gpus_are_told_apart_whatever_they_are_called", Some(script), |_| {
        let gpus = read(&mut smi().unwrap());
        let expected = [
            (0, Some("NVIDIA A100-SXM4-80GB"), [Some(0), Some(81_920 * MIB)], Some(0.0), Some(30)),
            (1, Some("Quadro, with a comma"), [Some(5 * MIB), Some(81_920 * MIB)], Some(1.0), Some(90)),
            (2, Some("Windows"), [Some(MIB), Some(2 * MIB)], Some(0.03), Some(4)),
        ];
        assert_eq!(gpus.iter().map(facts).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn what_a_gpu_does_not_tell_is_none_and_the_rest_is_read() {
    let script = r#"
        echo "0, [N/A], [N/A], [N/A], [N/A], [N/A]"
        echo "1, Tesla K80, 3, [Not Supported], [Unknown Error], ERR!"
        echo "2, MIG, [Insufficient Permissions], 40960, N/A, [GPU requires reset]""#;
    with_smi("what_a_gpu_does_not_tell_is_none_and_the_rest_is_read", Some(script), |_| {
        let gpus = read(&mut smi().unwrap());
        let expected = [
            (0, None, [None, None], None, None),
            (1, Some("Tesla K80"), [Some(3 * MIB), None], None, None),
            (2, Some("MIG"), [None, Some(40_960 * MIB)], None, None),
        ];
        assert_eq!(gpus.iter().map(facts).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn a_machine_without_a_gpu_is_told_so_with_both_reasons() {
    with_smi("a_machine_without_a_gpu_is_told_so_with_both_reasons", None, |_| {
        let error = Gpu::open().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(text.starts_with("no GPU: neither NVML (NVML cannot be used: "), "{text}");
        assert!(text.contains("libnvidia-ml.so.1"), "{text}");
        let smi =
            " nor nvidia-smi (cannot start `nvidia-smi` (install it, or say where it is): No such file or directory";
        assert!(text.contains(smi), "{text}");
        assert!(text.ends_with("give the container its GPUs (docker run --gpus all)"), "{text}");
        assert!(Gpu::nvml().is_err());
    });
}

#[test]
fn an_nvidia_smi_that_is_slow_is_killed() {
    let script = r#"echo "$$" >"$PATH/number"; [ ! -e "$PATH/fast" ] || { echo "0, A, 1, 2, 3, 4"; exit; }; exec /bin/sleep 1000"#;
    with_smi("an_nvidia_smi_that_is_slow_is_killed", Some(script), |folder| {
        let gone = || {
            let number = fs::read_to_string(folder.join("number")).unwrap();
            !Path::new(&format!("/proc/{}/stat", number.trim())).exists()
        };
        let error = Gpu::nvidia_smi(200 * MS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.to_string(), "`nvidia-smi` was killed, since it had not ended after 200ms");
        assert!(gone());

        // One that turns slow: the monitor goes on, and what was read stays.
        fs::write(folder.join("fast"), "").unwrap();
        let gpu = Gpu::nvidia_smi(SOON).unwrap();
        let monitor = Monitor::every(MS, gpu).start().unwrap();
        let last = until("a reading", || monitor.latest());
        fs::remove_file(folder.join("fast")).unwrap();
        let hangs =
            || fs::read(format!("/proc/{}/cmdline", fs::read_to_string(folder.join("number")).ok()?.trim())).ok();
        until("a run that hangs", || hangs()?.starts_with(b"/bin/sleep").then_some(()));
        let began = Instant::now();
        assert_eq!(monitor.latest().unwrap().value, last.value);
        monitor.stop();
        assert!(began.elapsed() < SOON);
        until("its end", || gone().then_some(()));
    });
}

/// What is said of an `nvidia-smi` that does what the script says.
fn error_of(test: &str, script: &str, check: impl FnOnce(Error)) {
    with_smi(test, Some(script), |_| check(smi().unwrap_err()));
}

#[test]
fn garbage_is_shown_shortened() {
    let script = r#"printf '<html>\033[1m'; printf '%0500d' 7"#;
    error_of("garbage_is_shown_shortened", script, |error| {
        assert_eq!(error.kind(), ErrorKind::Decode);
        let text = error.to_string();
        let beginning = "nvidia-smi has not written what it was asked for, but \"<html> [1m0000";
        assert!(text.starts_with(beginning) && text.ends_with("…\"") && text.len() < 200, "{text}");
    });
}

#[test]
fn every_field_has_to_be_what_it_should() {
    let script = r#"/bin/cat "$PATH/lines""#;
    with_smi("every_field_has_to_be_what_it_should", Some(script), |folder| {
        let says = |line: &str| {
            fs::write(folder.join("lines"), line).unwrap();
            smi().and_then(|mut gpu| gpu.run(&Stop::default()))
        };
        let wrong = [
            "x, A, 1, 2, 3, 4",
            "-1, A, 1, 2, 3, 4",
            "0, A, 1.5, 2, 3, 4",
            "0, A, 1, , 3, 4",
            "0, A, 1, 2, 3 %, 4",
            "0, A, 1, 2, 3, 99999999999",
            "0, A, 1, 99999999999999999999, 3, 4",
            "0, A, 18446744073709551615, 2, 3, 4",
            "0, 1, 2, 3, 4",
            "0",
            "[N/A], A, 1, 2, 3, 4",
            "\u{0}",
        ];
        for line in wrong {
            assert_eq!(says(line).unwrap_err().kind(), ErrorKind::Decode, "{line}");
        }
        assert_eq!(says("0, A, 1, 2, 250, 4").unwrap()[0].utilization, None, "a share that is none");
        // What it says of a GPU that is lost, between the others.
        let lost = "Unable to determine the device handle for GPU0000:02:00.0: Unknown Error";
        let others = says(&format!("0, A, 1, 2, 3, 4\n{lost}\n2, C, 1, 2, 3, 4\n")).unwrap();
        assert_eq!(others.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 2]);
        assert!(says(lost).unwrap_err().to_string().contains("Unable to determine the device handle"));
        for nothing in ["", "\n", "WARNING: infoROM is corrupted\n"] {
            assert_eq!(says(nothing).unwrap_err().to_string(), "nvidia-smi shows none", "{nothing}");
        }
        let not_text = says("0, \u{fffd}, 1, 2, 3, 4").unwrap();
        fs::write(folder.join("lines"), b"0, \xff, 1, 2, 3, 4").unwrap();
        assert_eq!(read(&mut smi().unwrap()), not_text);
    });
}

#[test]
fn an_nvidia_smi_that_fails_says_why() {
    // What it writes where the driver is not loaded, to its standard output.
    let script = "echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\"; exit 9";
    error_of("an_nvidia_smi_that_fails_says_why", script, |error| {
        let said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.";
        assert_eq!(error.to_string(), format!("nvidia-smi failed (exit status: 9): {said}"));
    });
}

#[test]
fn what_an_nvidia_smi_that_fails_writes_as_an_error_is_shown() {
    let script = "echo 'Unable to determine the device handle: GPU is lost.' >&2; exit 15";
    error_of("what_an_nvidia_smi_that_fails_writes_as_an_error_is_shown", script, |error| {
        let said = "Unable to determine the device handle: GPU is lost.";
        assert_eq!(error.to_string(), format!("nvidia-smi failed (exit status: 15): {said}"));
    });
}

#[test]
fn too_much_of_an_nvidia_smi_is_not_read() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo '0, A name of some length, 1, 2, 3, 4'; i=$((i + 1)); done";
    error_of("too_much_of_an_nvidia_smi_is_not_read", script, |error| {
        let text = error.to_string();
        assert!(text.starts_with("nvidia-smi has written too much, beginning with \"0, A name of"), "{text}");
    });
}

#[test]
fn a_gpu_that_comes_to_grief_is_an_error_beside_the_last_reading() {
    let script = r#"[ ! -e "$PATH/lost" ] || { echo "GPU is lost" >&2; exit 15; }; echo "0, A, 1, 2, 3, 4""#;
    with_smi("a_gpu_that_comes_to_grief_is_an_error_beside_the_last_reading", Some(script), |folder| {
        let monitor = Monitor::every(MS, smi().unwrap()).start().unwrap();
        until("a reading", || monitor.latest());
        fs::write(folder.join("lost"), "").unwrap();
        let failure = until("a failure", || monitor.failure());
        assert_eq!(failure.error.to_string(), "nvidia-smi failed (exit status: 15): GPU is lost");
        let last = monitor.latest().unwrap();
        assert!(last.tick < failure.tick && last.value[0].temperature == Some(4));
        fs::remove_file(folder.join("lost")).unwrap();
        until("a reading again", || monitor.latest().filter(|reading| reading.tick > failure.tick));
    });
}

/// Builds the fake of NVML into a folder; says why not, if not.
fn fake_nvml(folder: &Path) -> Result<(), String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitor/fake_nvml.rs");
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "-o"]);
    let output =
        command.arg(folder.join("libnvidia-ml.so.1")).arg(source).output().map_err(|error| error.to_string())?;
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs a test with the fake NVML, which shows so many GPUs, and with this `nvidia-smi` or none.
fn with_nvml(test: &str, gpus: &str, smi: Option<&str>, run: impl FnOnce()) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    if let Some(script) = smi {
        fake_smi(folder.path(), script);
    }
    // Built by the outer process alone: the inner one has no compiler on its path.
    if std::env::var_os("FAKE_GPUS").is_none()
        && let Err(why) = fake_nvml(folder.path())
    {
        return println!("skipped: the fake of NVML cannot be built: {why}");
    }
    alone(
        &format!("gpu::{test}"),
        |command| {
            command.env("LD_LIBRARY_PATH", folder.path()).env("PATH", folder.path()).env("FAKE_GPUS", gpus);
        },
        run,
    );
}

#[test]
fn nvml_is_asked_first_and_what_it_does_not_tell_is_none() {
    let smi = Some(r#"echo "0, A, 1, 2, 3, 4""#);
    with_nvml("nvml_is_asked_first_and_what_it_does_not_tell_is_none", "3", smi, || {
        assert_eq!(Gpu::nvidia_smi(SOON).unwrap().source(), GpuSource::NvidiaSmi, "which is there as well");
        let mut gpu = Gpu::open().unwrap();
        assert_eq!(gpu.source(), GpuSource::Nvml);
        let expected = [
            (0, Some("Fake 0"), [Some(1000), Some(5000)], Some(0.25), Some(40)),
            // Lost: it gives no handle.
            (1, None, [None, None], None, None),
            (2, None, [None, None], None, None),
        ];
        assert_eq!(read(&mut gpu).iter().map(facts).collect::<Vec<_>>(), expected);
        let monitor = Monitor::every(MS, gpu).start().unwrap();
        until("a third reading", || monitor.latest().filter(|reading| reading.tick >= 2));
        monitor.stop();
        // Each is counted by the library.
        for _ in 0..3 {
            read(&mut Gpu::nvml().unwrap());
        }
    });
}

#[test]
fn nvml_without_a_gpu_is_none() {
    with_nvml("nvml_without_a_gpu_is_none", "0", None, || {
        let text = Gpu::open().unwrap_err().to_string();
        assert!(text.starts_with("no GPU: neither NVML (NVML shows none) nor nvidia-smi (cannot start"), "{text}");
    });
}

#[test]
fn a_driver_that_is_not_loaded_is_told() {
    with_nvml("a_driver_that_is_not_loaded_is_told", "no driver", None, || {
        let text = Gpu::nvml().unwrap_err().to_string();
        assert_eq!(text, "NVML cannot be used: NVIDIA driver is not loaded");
    });
}

#[test]
fn an_nvml_that_hangs_holds_up_nobody() {
    with_nvml("an_nvml_that_hangs_holds_up_nobody", "1, hanging", None, || {
        let monitor = Monitor::every(MS, Gpu::nvml().unwrap()).start().unwrap();
        std::thread::sleep(100 * MS);
        let began = Instant::now();
        assert!(monitor.latest().is_none() && monitor.failure().is_none());
        drop(monitor);
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}
