"""The tables of run.py, in Markdown."""

import os
import platform
import re
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def report(name, workload, peers, results, images, settings, load):
    what = (
        f"{workload.text}, batches of {workload.batch_size}, shuffled, {settings.workers} workers. "
        f"Rounds: {settings.rounds}, of {settings.epochs} epochs each; medians over the rounds. {date.today()}, "
        f"{machine()}; load average before it {load:.1f}."
    )
    lines = [textwrap.fill(what, 120), ""]
    if name == "randaugment":
        lines += randaugment_table(results, images * settings.epochs)
    else:
        lines += rates_table(peers, results)
    versions = [result.runs[0].versions.split(", ") for result in results.values() if result.runs]
    versions += [[locked(crate, HERE)] for crate in ("burn", "dataloader-rs") if crate in results]
    versions += [[locked(crate, ROOT)] for crate in ("zune-jpeg", "fast_image_resize", "turbojpeg-sys")]
    versions += [[rustc_version(), f"Python {platform.python_version()}"]]
    versions = dict.fromkeys(version for group in versions for version in group if version)
    return "\n".join([*lines, "", textwrap.fill(f"Versions: {', '.join(versions)}.", 120)])


def rates_table(peers, results):
    """Ratios are those of the best epochs in a round, sutler's over the other's."""
    ours = [peer for peer in peers if peer.program == "sutler" and not results[peer.name].problem]
    header = [peer.title.replace("*", "") + " is" for peer in ours]
    rows = [
        ["loader", "images/s, best epoch", "median epoch", *header, "first batch", "memory", "summed RSS"],
        ["---"] * (6 + len(ours)),
    ]
    for peer in peers:
        result = results[peer.name]
        if result.problem:
            rows.append([peer.title, result.problem, *[""] * (4 + len(ours))])
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
        if name not in results or f"{name}-ra" not in results:
            continue
        without, augmented = results[name], results[f"{name}-ra"]
        if problem := without.problem or augmented.problem:
            rows.append([title, problem, "", ""])
            continue
        pairs = zip(without.runs, augmented.runs)
        costs.append(median(1e3 * (after.cpu_s - before.cpu_s) / images for before, after in pairs))
        rates = [median(run.best for run in result.runs) for result in (without, augmented)]
        rows.append([title, *map(number, rates), f"{costs[-1]:.2f}"])
    lines = table(rows)
    if len(costs) == 2 and min(costs) <= 0:
        lines += ["", "Too little was measured: the difference is lost in the noise. Give it more rounds and epochs."]
    elif len(costs) == 2:
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
