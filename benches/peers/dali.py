"""NVIDIA DALI on the CPU: decodes the drawn part of a JPEG only."""

import numpy
import nvidia.dali as dali
from nvidia.dali import fn, types

import peer

settings = peer.arguments()
count = len(peer.files(settings.directory))


@dali.pipeline_def(batch_size=settings.batch_size, num_threads=settings.workers, device_id=None)
def pipeline():
    files, labels = fn.readers.file(file_root=settings.directory, random_shuffle=True, initial_fill=count)
    images = fn.decoders.image_random_crop(
        files, output_type=types.RGB, random_area=peer.SCALE, random_aspect_ratio=peer.RATIO, num_attempts=10
    )
    images = fn.resize(images, size=[settings.size] * 2, interp_type=types.INTERP_LINEAR, antialias=True)
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=[255 * mean for mean in peer.MEAN],
        std=[255 * std for std in peer.STD],
        mirror=fn.random.coin_flip(probability=0.5),
    )
    return images, labels


running = pipeline()
running.build()


def epoch():
    for _ in range(-(-count // settings.batch_size)):
        images, _ = running.run()
        yield numpy.asarray(images.as_tensor())


peer.measure(settings, f"DALI {dali.__version__}", epoch)
