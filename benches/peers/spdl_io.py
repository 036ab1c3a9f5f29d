"""SPDL: FFmpeg decodes, cuts and resizes in two threads; NumPy normalises there, since FFmpeg does not."""

import math
import random

import numpy
import spdl.io
import spdl.pipeline

import peer

settings = peer.arguments()
paths = [path for path, _ in peer.files(settings.directory)]
SCALES = [1 / (255 * std) for std in peer.STD]
SHIFTS = [-mean / std for mean, std in zip(peer.MEAN, peer.STD)]


def part(width, height):
    """torchvision's RandomResizedCrop.make_params, but for what it does after ten vain tries."""
    for _ in range(10):
        area = width * height * random.uniform(*peer.SCALE)
        ratio = math.exp(random.uniform(*map(math.log, peer.RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return w, h, random.randint(0, width - w), random.randint(0, height - h)
    return width, height, 0, 0


def load(path):
    packets = spdl.io.demux_image(path)
    w, h, left, top = part(packets.codec.width, packets.codec.height)
    # swscale's bilinear filter antialiases where it makes smaller.
    filters = f"crop={w}:{h}:{left}:{top},scale={settings.size}:{settings.size}:flags=bilinear"
    if random.random() < 0.5:
        filters += ",hflip"
    frames = spdl.io.decode_packets(packets, filter_desc=f"{filters},format=rgb24")
    pixels = spdl.io.to_numpy(spdl.io.convert_frames(frames))
    image = numpy.empty((3, settings.size, settings.size), numpy.float32)
    for channel in range(3):
        numpy.multiply(pixels[..., channel], SCALES[channel], out=image[channel], casting="unsafe")
        image[channel] += SHIFTS[channel]
    return image


def epoch():
    order = random.sample(paths, len(paths))
    pipeline = (
        spdl.pipeline.PipelineBuilder()
        .add_source(order)
        .pipe(load, concurrency=settings.workers)
        .aggregate(settings.batch_size)
        .pipe(numpy.stack)
        .add_sink(2)
        .build(num_threads=settings.workers)
    )
    with pipeline.auto_stop():
        yield from pipeline


peer.measure(settings, "SPDL 0.8.0", epoch)
