"""FFCV on two threads, from a .beton file made of the same photographs.

`--mode jpg`: the file has their bytes as they are. `--mode raw`: it has their pixels.
"""

import hashlib
import os

import cv2
import numba
import numpy
import torch
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import IMAGE_MODES, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

import peer

settings = peer.arguments()
files = peer.files(settings.directory)


class Files:
    """Pixels, or paths for `as_it_is`."""

    def __len__(self):
        return len(files)

    def __getitem__(self, index):
        path, label = files[index]
        if settings.mode == "raw":
            path = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        return path, label


def as_it_is(destination, path, malloc):
    """What RGBImageField.encode does in mode jpg, but for a file that is a JPEG already."""
    file = numpy.fromfile(path, numpy.uint8)
    destination["mode"] = IMAGE_MODES["jpg"]
    destination["height"], destination["width"] = cv2.imread(path).shape[:2]
    destination["data_ptr"], storage = malloc(file.nbytes)
    storage[:] = file


def beton():
    """The path of the .beton file, which is made once."""
    known = hashlib.sha256(repr([(path, os.path.getsize(path)) for path, _ in files]).encode()).hexdigest()[:16]
    path = os.path.join(settings.cache, f"{known}-{settings.mode}.beton")
    if not os.path.exists(path):
        field = RGBImageField(write_mode="raw")
        if settings.mode == "jpg":
            field.encode = as_it_is
        partial = f"{path}.{os.getpid()}"
        writer = DatasetWriter(partial, {"image": field, "label": IntField()}, num_workers=settings.workers)
        writer.from_indexed_dataset(Files())
        os.rename(partial, path)
    return path


loader = Loader(
    beton(),
    batch_size=settings.batch_size,
    num_workers=settings.workers,
    order=OrderOption.RANDOM,
    os_cache=True,
    drop_last=False,
    pipelines={
        "image": [
            RandomResizedCropRGBImageDecoder((settings.size,) * 2, scale=peer.SCALE, ratio=peer.RATIO),
            RandomHorizontalFlip(0.5),
            NormalizeImage(255 * numpy.array(peer.MEAN), 255 * numpy.array(peer.STD), numpy.float32),
            ToTensor(),
            # Planes in memory, not only in the tensor's strides.
            ToTorchImage(channels_last=False, convert_back_int16=False),
        ],
        "label": [IntDecoder(), ToTensor()],
    },
)
versions = f"FFCV 1.0.2, numba {numba.__version__}, torch {torch.__version__}"
peer.measure(settings, versions, lambda: (images for images, _ in loader))
