#!/usr/bin/env python3
"""Loads the same folders of photographs with sutler and with other loaders, in turn, and prints tables of ratios.

usage: run.py [--workload photos|randaugment|large] [--only NAME,NAME] [--rounds 5] [--epochs 3] [--workers 2] [--write]

Each round runs every loader once, a process each, one after the other, so that a machine that is slower for a while is
so for all of them. What counts is the ratio of runs of one round; the tables have medians over the rounds. Whatever has
to be installed is (install.sh, in the cache folder); what cannot be is said in the table. `--write` puts the tables
into docs/BENCHMARKS.md. Linux only: memory is read from /proc.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runs import Results, Unavailable, reason, run_once
from tables import report, write

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sutler" / "peers"
PEERS_BINARY = ROOT / "target" / "peers" / "release" / "photos"
SUTLER_BINARY = ROOT / "target" / "release" / "examples" / "throughput"


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


TORCHVISION_PIL = Peer("torchvision-pil", "torchvision + PIL, DataLoader", "torchvision_loader.py", ("--mode", "pil"), "torch")
TORCHVISION_JPEG = Peer("torchvision-jpeg", "torchvision decode_jpeg, DataLoader", "torchvision_loader.py", ("--mode", "jpeg"), "torch")
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
            Peer("torchvision-pil-ra", "", "torchvision_loader.py", ("--mode", "pil", "--augment", "randaugment"), "torch"),
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
        known = build_sutler()
        for option in peer.options:
            if option not in known:
                raise Unavailable(f"this sutler has no {option}")
        return [SUTLER_BINARY, directory, "--json", *options, *peer.options]
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
    """Builds the throughput example, with feature turbojpeg where that can be built. Returns the words of its usage."""
    turbojpeg = subprocess.run([ROOT / "scripts" / "turbojpeg.sh"]).returncode == 0
    features = ["--features", "turbojpeg"] if turbojpeg else []
    manifest = ["--manifest-path", ROOT / "Cargo.toml"]
    cargo("build", "--locked", "--release", "--example", "throughput", *features, *manifest)
    usage = subprocess.run([SUTLER_BINARY, "--help"], check=True, capture_output=True, text=True).stdout
    words = set(re.findall(r"[a-z-]+", usage))
    return words if turbojpeg else words - {"turbojpeg"}


def cargo(*arguments):
    try:
        subprocess.run(["cargo", *map(str, arguments)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"could not be built: {error}") from error


def script(*arguments):
    """The last line that a shell script prints, while its messages go on to the terminal."""
    command = list(map(str, arguments))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    errors = ""
    for line in process.stderr:
        errors += line
        sys.stderr.write(line)
    printed = process.stdout.read().strip().splitlines()
    if process.wait() != 0:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)
    return printed[-1]


def say(text):
    print(text, file=sys.stderr, flush=True)


main()
