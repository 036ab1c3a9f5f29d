"""One run of a loader: a process that prints its times, and the memory of that process and its children."""

import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 600


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


def reason(errors):
    """The last line that names an error, or else the last."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if re.search("error|panicked|cannot", line, re.IGNORECASE)]
    return (named or lines or [""])[-1].removeprefix("ERROR: ").replace("|", "/")
