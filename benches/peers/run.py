#!/usr/bin/env python3
"""Loads the same folders of photographs with sutler and with other loaders, in turn, and prints tables of ratios.

usage: run.py [--workload photos|randaugment|large] [--only NAME,NAME] [--rounds 5] [--epochs 3] [--workers 2] [--write]

Each round runs every loader once, a process each, one after the other, so that a machine that is slower for a while is
so for all of them. What counts is the ratio of runs of one round; the tables have medians over the rounds. Whatever has
to be installed is (install.sh, in the cache folder); what cannot be is said in the table. `--write` puts the tables
into docs/BENCHMARKS.md. Linux only: memory is read from /proc.
"""

import argparse
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sutler" / "peers"
PEERS_BINARY = ROOT / "target" / "peers" / "release" / "photos"
SUTLER_BINARY = ROOT / "target" / "release" / "examples" / "throughput"
TIMEOUT_S = 600


@dataclass(frozen=True)
class Peer:
    name: str  # for --only
    title: str
    program: str  # a Python file of this directory, or `photos` (src/bin/photos.rs), or `sutler`
    options: tuple = ()
    packages: str = ""  # for install.sh


@dataclass(frozen=True)
class Workload:
    photos: tuple  # arguments of scripts/photos.sh
    batch_size: int
    peers: tuple
    text: str  # as a sentence begins


TORCHVISION_PIL = Peer("torchvision-pil", "torchvision + PIL, DataLoader", "torchvision_pil.py", (), "torch")
TORCHVISION_JPEG = Peer("torchvision-jpeg", "torchvision decode_jpeg, DataLoader", "torchvision_jpeg.py", (), "torch")
TF_DATA = Peer("tf-data", "tf.data", "tf_data.py", (), "tensorflow")
DALI = Peer("dali", "NVIDIA DALI, CPU", "dali.py", (), "dali")
SUTLER = Peer("sutler", "**sutler**, zune-jpeg", "sutler", ("--decoder", "zune-jpeg"))
SUTLER_TURBOJPEG = Peer("sutler-turbojpeg", "**sutler**, turbojpeg", "sutler", ("--decoder", "turbojpeg"))
SUTLER_SCALED = Peer("sutler-scaled", "**sutler**, turbojpeg, scaled", "sutler", ("--decoder", "turbojpeg", "--scaled"))

WORKLOADS = {
    "photos": Workload(
        (),
        64,
        (
            TORCHVISION_PIL,
            TORCHVISION_JPEG,
            TF_DATA,
            Peer("tf-data-plain", "tf.data, not antialiased", "tf_data.py", ("--mode", "no-antialias"), "tensorflow"),
            DALI,
            Peer("ffcv-jpg", "FFCV, .beton of the JPEGs", "ffcv_beton.py", ("--mode", "jpg"), "ffcv"),
            Peer("ffcv-raw", "FFCV, .beton of raw pixels", "ffcv_beton.py", ("--mode", "raw"), "ffcv"),
            Peer("spdl", "SPDL", "spdl_io.py", (), "spdl"),
            Peer("dataloader-rs", "dataloader-rs", "photos", ("--mode", "dataloader-rs")),
            Peer("burn", "burn", "photos", ("--mode", "burn")),
            SUTLER,
            SUTLER_TURBOJPEG,
        ),
        "2,000 photographs of about 500x375 pixels, RandomResizedCrop(224), flip, normalise to `f32`",
    ),
    "randaugment": Workload(
        (),
        64,
        (
            TORCHVISION_PIL,
            Peer("torchvision-pil-ra", "", "torchvision_pil.py", ("--augment", "randaugment"), "torch"),
            SUTLER,
            Peer("sutler-ra", "", "sutler", ("--decoder", "zune-jpeg", "--augment", "randaugment")),
        ),
        "The same photographs and transforms, with and without RandAugment() after the flip",
    ),
    "large": Workload(
        ("large",),
        8,
        (TORCHVISION_PIL, TORCHVISION_JPEG, TF_DATA, DALI, SUTLER, SUTLER_TURBOJPEG, SUTLER_SCALED),
        "64 photographs of 4000x3000 pixels, RandomResizedCrop(224), flip, normalise to `f32`",
    ),
}


class Unavailable(Exception):
    """A loader that cannot be installed, built or run here, and why."""


@dataclass
class Run:
    rates: list  # images a second, an epoch each
    first_batch_ms: float
    peak_rss_mb: float  # of all processes together; what they share counts for each
    peak_pss_mb: float  # what they share counts once
    cpu_s: float  # of all processes, from their start to their end
    versions: str = ""

    @property
    def best(self):
        return max(self.rates)


@dataclass
class Results:
    runs: list = field(default_factory=list)  # a `Run` for each round
    problem: str = ""  # why there are none


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=WORKLOADS, action="append", help="this one only; may be repeated")
    parser.add_argument("--only", default="", help="names of loaders, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/BENCHMARKS.md")
    settings = parser.parse_args()
    load = os.getloadavg()[0]
    if load > 0.3:
        say(f"others use this machine (load {load:.1f}): take the figures for provisional")
    only = [name for name in settings.only.split(",") if name]
    known = {peer.name for workload in WORKLOADS.values() for peer in workload.peers}
    if unknown := set(only) - known:
        sys.exit(f"no such loader: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")

    for name in settings.workload or WORKLOADS:
        workload = WORKLOADS[name]
        peers = [peer for peer in workload.peers if not only or peer.name in only]
        if not peers:
            continue
        try:
            directory = script(ROOT / "scripts" / "photos.sh", *workload.photos)
        except subprocess.CalledProcessError:
            sys.exit("without photographs there is nothing to load: see above")
        results = measure(peers, workload, directory, settings)
        images = sum(len(names) for _, _, names in os.walk(directory))
        text = report(name, workload, peers, results, images, settings, load)
        print(f"\n{text}\n", flush=True)
        if settings.write:
            write(name, text)


def measure(peers, workload, directory, settings):
    """Runs the loaders in turn. Returns `Results` by name."""
    results = {peer.name: Results() for peer in peers}
    commands = {}
    for peer in peers:
        try:
            commands[peer.name] = command(peer, directory, workload.batch_size, settings)
        except Unavailable as problem:
            results[peer.name].problem = str(problem)
            say(f"{peer.name}: {problem}")
    for number in range(settings.rounds):
        for peer in peers:
            result = results[peer.name]
            if result.problem:
                continue
            try:
                run = run_once(peer, commands[peer.name])
                result.runs.append(run)
                rates = " ".join(f"{rate:.1f}" for rate in run.rates)
                say(f"round {number + 1}: {peer.name}: {rates} images/s, {run.peak_pss_mb:.0f} MB")
            except Unavailable as problem:
                result.problem = f"failed: {problem}"
                say(f"round {number + 1}: {peer.name}: {result.problem}")
    return results


def command(peer, directory, batch_size, settings):
    """Installs or builds what a loader needs; returns its command line."""
    options = ["--workers", settings.workers, "--batch-size", batch_size, "--epochs", settings.epochs]
    if peer.program == "sutler":
        binary, known = build_sutler()
        chosen = list(peer.options)
        if chosen[:2] == ["--decoder", "zune-jpeg"] and "--decoder" not in known:
            chosen = chosen[2:]  # There is no other.
        for option in chosen:
            if option not in known:
                raise Unavailable(f"this sutler has no {option}")
        return [binary, directory, "--json", *options, *chosen]
    if peer.program == "photos":
        manifest = HERE / "Cargo.toml"
        target = ["--manifest-path", manifest, "--target-dir", ROOT / "target" / "peers"]
        cargo("build", "--locked", "--release", "--bin", "photos", "--features", "photos", *target)
        return [PEERS_BINARY, directory, *options, *peer.options]
    try:
        python = script(HERE / "install.sh", peer.packages)
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"could not be installed: {reason(error.stderr)}") from error
    return [python, HERE / peer.program, directory, "--cache", CACHE, *options, *peer.options]


def build_sutler():
    """The throughput example, with the turbojpeg decoder if this sutler has it, and the words of its usage."""
    features = re.search(r"^\[features\]$(.*?)^\[", (ROOT / "Cargo.toml").read_text(), re.MULTILINE | re.DOTALL)
    turbojpeg = bool(re.search("^turbojpeg *=", features[1], re.MULTILINE))
    turbojpeg = turbojpeg and subprocess.run([ROOT / "scripts" / "turbojpeg.sh"]).returncode == 0
    chosen = ["--features", "turbojpeg"] if turbojpeg else []
    manifest = ["--manifest-path", ROOT / "Cargo.toml"]
    cargo("build", "--locked", "--release", "--example", "throughput", *chosen, *manifest)
    usage = subprocess.run([SUTLER_BINARY, "--help"], check=True, capture_output=True, text=True).stdout
    words = set(re.findall(r"[a-z-]+", usage))
    return SUTLER_BINARY, words if turbojpeg else words - {"turbojpeg"}


def run_once(peer, arguments):
    """Runs a loader and watches its memory."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        cpu_before = cpu_seconds()
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "RUST_BACKTRACE": "0"}
        process = subprocess.Popen(
            list(map(str, arguments)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )
        peak_rss, peak_pss, looks, started = 0, 0, 0, time.monotonic()
        try:
            while process.poll() is None:
                if time.monotonic() - started > TIMEOUT_S:
                    raise Unavailable(f"not done after {TIMEOUT_S} s")
                peak_rss = max(peak_rss, memory(process.pid, "rss"))
                # The kernel walks over all pages for it, so not as often.
                if looks % 5 == 0:
                    peak_pss = max(peak_pss, memory(process.pid, "pss"))
                looks += 1
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        cpu = cpu_seconds() - cpu_before
        out.seek(0)
        errors.seek(0)
        lines = out.read().strip().splitlines()
        if process.returncode != 0 or not lines:
            raise Unavailable(reason(errors.read()) or f"exit status {process.returncode}")
    result = json.loads(lines[-1])
    rates = result["images_per_second"]
    if peer.program == "sutler":
        # The JSON has the best epoch; the lines before it are a table of all.
        rates = [float(line.split()[2]) for line in lines if re.match(r" *\d+ +\d+ +[\d.]+ +[\d.]+ +[\d.]+%$", line)]
    elif abs(result["mean"]) > 1 or not 0.8 < result["std"] < 1.6:
        # Normalised photographs are near 0 and 1.
        raise Unavailable(f"its images have mean {result['mean']} and standard deviation {result['std']}")
    return Run(rates, result["first_batch_ms"], peak_rss / 1e6, peak_pss / 1e6, cpu, result.get("versions", ""))


def cpu_seconds():
    """User and system time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(session, kind):
    """Bytes of physical memory of all processes of a session."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # After the name, which may have spaces: state, parent, group, session, …; the 22nd is the resident set.
            status = (process / "stat").read_text().rpartition(")")[2].split()
            if int(status[3]) != session:
                continue
            if kind == "rss":
                total += int(status[21]) * os.sysconf("SC_PAGE_SIZE")
            else:
                pss = re.search(r"^Pss: *(\d+) kB$", (process / "smaps_rollup").read_text(), re.MULTILINE)
                total += int(pss[1]) * 1024 if pss else 0
        except OSError:
            pass  # It has ended.
    return total


def report(name, workload, peers, results, images, settings, load):
    lines = [
        f"{workload.text}, batches of {workload.batch_size}, shuffled, {settings.workers} workers. "
        f"Rounds: {settings.rounds}, of {settings.epochs} epochs each; medians over the rounds. {date.today()}, "
        f"{machine()}; load average before it {load:.1f}.",
        "",
    ]
    lines += (
        randaugment_table(results, images * settings.epochs) if name == "randaugment" else rates_table(peers, results)
    )
    versions = [result.runs[0].versions.split(", ") for result in results.values() if result.runs]
    versions += [[locked(crate, HERE)] for crate in ("burn", "dataloader-rs") if crate in results]
    versions += [[locked(crate, ROOT)] for crate in ("zune-jpeg", "fast_image_resize", "turbojpeg-sys")]
    versions += [[rustc_version(), f"Python {platform.python_version()}"]]
    versions = dict.fromkeys(version for group in versions for version in group if version)
    return "\n".join([*lines, "", f"Versions: {', '.join(versions)}."])


def rates_table(peers, results):
    """Ratios are those of the best epochs in a round, sutler's over the other's."""
    ours = [peer for peer in peers if peer.program == "sutler" and results[peer.name].runs]
    header = [peer.title.replace("*", "") + " is" for peer in ours]
    rows = [
        ["loader", "images/s, best epoch", "median epoch", *header, "first batch", "memory", "summed RSS"],
        ["---"] * (6 + len(ours)),
    ]
    for peer in peers:
        result = results[peer.name]
        if not result.runs or result.problem:
            rows.append([peer.title, result.problem or "not run", *[""] * (4 + len(ours))])
            continue
        runs = result.runs
        ratios = []
        for our in ours:
            pairs = zip(results[our.name].runs, runs)
            ratios.append("1" if our == peer else f"{median(mine.best / theirs.best for mine, theirs in pairs):.2f} x")
        best = [run.best for run in runs]
        rows.append(
            [
                peer.title,
                f"{number(median(best))} ({number(min(best))}–{number(max(best))})",
                number(median(median(run.rates) for run in runs)),
                *ratios,
                f"{number(median(run.first_batch_ms for run in runs))} ms",
                f"{number(median(run.peak_pss_mb for run in runs))} MB",
                f"{number(median(run.peak_rss_mb for run in runs))} MB",
            ]
        )
    return table(rows)


def randaugment_table(results, images):
    """What RandAugment adds to the processor's time for an image: all that a run takes, less that of a run without it.

    That is of a thread, and hardly depends on what else the machine does, as images a second would.
    """
    rows = [["", "images/s without", "with", "RandAugment costs, ms an image and thread"], ["---"] * 4]
    costs = []
    for title, name in [("torchvision + PIL", "torchvision-pil"), ("**sutler**", "sutler")]:
        without, augmented = results.get(name, Results()), results.get(f"{name}-ra", Results())
        problem = without.problem or augmented.problem
        if problem or not without.runs or not augmented.runs:
            rows.append([title, problem or "not run", "", ""])
            continue
        pairs = zip(without.runs, augmented.runs)
        costs.append(median(1e3 * (after.cpu_s - before.cpu_s) / images for before, after in pairs))
        rates = [median(run.best for run in result.runs) for result in (without, augmented)]
        rows.append([title, *map(number, rates), f"{costs[-1]:.2f}"])
    lines = table(rows)
    if len(costs) == 2:
        lines += ["", f"RandAugment costs PIL {costs[0] / costs[1]:.2f} times what it costs sutler."]
    return lines


def table(rows):
    return ["| " + " | ".join(row) + " |" for row in rows]


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def write(name, text):
    """Between the workload's markers in docs/BENCHMARKS.md."""
    path = ROOT / "docs" / "BENCHMARKS.md"
    begin, end = f"<!-- bench-peers-photos {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = path.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        sys.exit(f"{path} has no place for {name}: {begin.strip()} and {end.strip()}")
    path.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")


def machine():
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model, number = (re.search(rf"^{key}\s*: (.*)$", cpuinfo, re.MULTILINE) for key in ("model name", "model"))
    cpu = (model[1] if model else platform.machine()) + (f" (model {number[1]})" if number else "")
    return f"{os.cpu_count()} cores of {cpu}, Linux {platform.release().split('-')[0]}"


def locked(crate, directory):
    """A crate and its version in Cargo.lock, if it is there."""
    found = re.search(rf'^name = "{crate}"\nversion = "(.*)"$', (directory / "Cargo.lock").read_text(), re.MULTILINE)
    return f"{crate} {found[1]}" if found else ""


def rustc_version():
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split(" (")[0]


def cargo(*arguments):
    try:
        subprocess.run(["cargo", *map(str, arguments)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"could not be built: {error}") from error


def script(*arguments):
    """The last line that a shell script prints."""
    run = subprocess.run(list(map(str, arguments)), capture_output=True, text=True)
    sys.stderr.write(run.stderr)
    run.check_returncode()
    return run.stdout.strip().splitlines()[-1]


def reason(errors):
    """The last line that names an error, or else the last."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if re.search("error|panicked|cannot", line, re.IGNORECASE)]
    return (named or lines or [""])[-1].removeprefix("ERROR: ").replace("|", "/")


def say(text):
    print(text, file=sys.stderr, flush=True)


main()
