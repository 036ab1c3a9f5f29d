"""Cuts wallpaper photographs into 2,000 JPEG files the size of ImageNet's, in two class directories.

usage: photos.py WALLPAPERS OUT

The pictures are those of Debian's wallpaper packages, see photos.sh. Each is cut into tiles of about 500x375 pixels
(some upright, some a bit smaller), scaled down where the original is large, and saved at quality 95 with 4:2:0
chroma, like most photographs on the web. Flat tiles (sky, gradients), whose files stay under 25 KB, are left out,
which brings the mean to about that of ImageNet's files. The same originals give the same files.
"""

import os
import sys

from PIL import Image

COUNT = 2000
LEAST_BYTES = 25_000
SIZES = [(500, 375), (500, 333), (375, 500), (500, 375), (480, 360)]


def originals(root):
    for directory, _, names in sorted(os.walk(root)):
        for name in sorted(names):
            path = os.path.join(directory, name)
            if name.lower().endswith((".jpg", ".jpeg")) and not os.path.islink(path):
                yield path


def tiles(path):
    image = Image.open(path).convert("RGB")
    if min(image.size) < 700:
        return
    # Photographs this large are soft at full resolution.
    factor = max(1, round(image.width / 2000))
    image = image.reduce(factor)
    number, top = 0, 0
    while top + 375 <= image.height:
        left = 0
        while left + 500 <= image.width:
            width, height = SIZES[number % len(SIZES)]
            number += 1
            if top + height <= image.height:
                yield image.crop((left, top, left + width, top + height))
            left += 160
        top += 120


def main():
    wallpapers, out = sys.argv[1:]
    streams = [tiles(path) for path in originals(wallpapers)]
    written, total, total_bytes = 0, 0, 0
    # Round robin, so that every original is in the set, whatever their number.
    while streams and written < COUNT:
        for stream in list(streams):
            tile = next(stream, None)
            if tile is None:
                streams.remove(stream)
                continue
            directory = os.path.join(out, "even" if written % 2 == 0 else "odd")
            os.makedirs(directory, exist_ok=True)
            path = os.path.join(directory, f"{written:05}.jpg")
            tile.save(path, quality=95, subsampling="4:2:0")
            total += 1
            size = os.path.getsize(path)
            if size < LEAST_BYTES:
                os.remove(path)
                continue
            written += 1
            total_bytes += size
            if written == COUNT:
                break
    print(f"{written} photographs of {total_bytes / max(1, written) / 1000:.1f} KB on average, of {total} tiles")
    if written < COUNT:
        sys.exit("too few: are all wallpaper packages there?")


main()
