//! Which machine this is, and which torch.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::outcome::Outcome;
use super::settings::Settings;

pub(super) fn describe(settings: &Settings) -> Outcome {
    let unknown = || "unknown".to_string();
    let torch = torch_version().unwrap_or_else(unknown);
    let gpu = nvidia_smi("name,driver_version,memory.total").unwrap_or_else(unknown);
    let date = output_of("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_else(unknown);
    let (devices, cudnn) = (tch::Cuda::device_count(), tch::Cuda::cudnn_is_available());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Outcome::information(
        format!("torch {torch}; {devices} CUDA devices ({gpu}); {cores} cores; {date}"),
        json!({
            "torch": torch, "gpu": gpu, "devices": devices, "cudnn": cudnn, "cores": cores, "date": date,
            "sutler": env!("CARGO_PKG_VERSION"), "device": format!("{:?}", settings.device),
            "cuda_visible_devices": std::env::var("CUDA_VISIBLE_DEVICES").ok(),
        }),
    )
}

/// What NVIDIA's tool says of the GPUs of this machine; several are separated by semicolons. It numbers all there are, and
/// `CUDA_VISIBLE_DEVICES` may leave only some of them to this program.
pub(super) fn nvidia_smi(query: &str) -> Option<String> {
    let lines = output_of("nvidia-smi", &[&format!("--query-gpu={query}"), "--format=csv,noheader"])?;
    Some(lines.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}

/// Of the libtorch that is loaded. No function says it; but every torch, wheel or not, has a file beside its libraries.
fn torch_version() -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let library = maps
        .lines()
        .find_map(|line| line.find('/').map(|at| &line[at..]).filter(|path| path.ends_with("/libtorch_cpu.so")))?;
    let home = PathBuf::from(library).parent()?.parent()?.to_path_buf();
    let of_wheel = fs::read_to_string(home.join("version.py")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
        Some(line.trim_matches(['\'', '"']).to_string())
    });
    // The archives from pytorch.org.
    of_wheel.or_else(|| fs::read_to_string(home.join("build-version")).ok().map(|text| text.trim().to_string()))
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string()).filter(|text| !text.is_empty())
}
