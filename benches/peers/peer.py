"""What the Python peers share: their arguments, the clock, and the line of JSON they end with.

A peer loads a folder of photographs (a directory for each class) as one trains on it: several epochs, shuffled, with
RandomResizedCrop, flip and normalisation to `f32`, in batches of shape [N, 3, size, size]. run.py runs them.
"""

import argparse
import json
import os
import time

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--augment", choices=["standard", "randaugment"], default="standard")
    # What only some peers know.
    parser.add_argument("--mode", default="")
    parser.add_argument("--cache", default=".", help="a directory for what a peer makes of the photographs")
    return parser.parse_args()


def files(directory):
    """Paths and labels, in the order of torchvision's ImageFolder."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    found = []
    for label, name in enumerate(classes):
        for file in sorted(os.listdir(os.path.join(directory, name))):
            found.append((os.path.join(directory, name, file), label))
    return found


def measure(settings, versions, epoch):
    """Times epochs. `epoch()` begins one and iterates over its batches, arrays or tensors of images."""
    count = len(files(settings.directory))
    rates, first_batch_ms = [], None
    for _ in range(settings.epochs):
        started = time.perf_counter()
        seen = 0
        for images in epoch():
            if first_batch_ms is None:
                first_batch_ms = (time.perf_counter() - started) * 1e3
            seen += len(images)
        rates.append(seen / (time.perf_counter() - started))
        # DALI fills its last batch up.
        assert count <= seen < count + settings.batch_size, f"{seen} images of {count}"
    shape, kind = tuple(images.shape), str(images.dtype)
    assert shape[1:] == (3, settings.size, settings.size), shape
    assert kind.endswith("float32"), kind
    result = {
        "versions": versions,
        "images_per_second": [round(rate, 1) for rate in rates],
        "first_batch_ms": round(first_batch_ms, 1),
        # Near 0 and 1 whoever decodes and resizes: proof of the same work.
        "mean": round(float(images.mean()), 3),
        "std": round(float(images.std()), 3),
    }
    print(json.dumps(result), flush=True)
