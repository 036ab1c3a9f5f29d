"""Cuts wallpaper photographs into 2,000 JPEG files the size of ImageNet's, in two class directories.

usage: photos.py [large] WALLPAPERS OUT

The pictures are those of Debian's wallpaper packages, see photos.sh. Each is cut into tiles of about 500x375 pixels
(some upright, some a bit smaller), scaled down where the original is large, and saved at quality 95 with 4:2:0
chroma, like most photographs on the web. Flat tiles (sky, gradients), whose files stay under 25 KB, are left out,
which brings the mean to about that of ImageNet's files. The same originals give the same files.

With `large` it makes 64 files of 4000x3000 pixels, as a camera of twelve megapixels does, at quality 92 with 4:2:0
chroma. No wallpaper has that much detail at that size, so each is four photographs of 2000x1500 side by side.
"""

import os
import sys

from PIL import Image, ImageOps

COUNT = 2000
LEAST_BYTES = 25_000
SIZES = [(500, 375), (500, 333), (375, 500), (500, 375), (480, 360)]

LARGE_COUNT = 64
# Parts of their paths. The others are paintings or have little detail.
LARGE_ORIGINALS = [
    "BytheWater",
    "ColorfulCups",
    "Dragonfly",
    "Dune",
    "EveningGlow",
    "FallenLeaf",
    "OneStandsOut",
    "Path",
    "Picture_0B",
    "aitzgorri",
    "life_by",
    "picosdeeuropa",
    "seeding",
]


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


def place(out, number):
    directory = os.path.join(out, "even" if number % 2 == 0 else "odd")
    os.makedirs(directory, exist_ok=True)
    return os.path.join(directory, f"{number:05}.jpg")


def small(wallpapers, out):
    streams = [tiles(path) for path in originals(wallpapers)]
    written, total, total_bytes = 0, 0, 0
    # Round robin, so that every original is in the set, whatever their number.
    while streams and written < COUNT:
        for stream in list(streams):
            tile = next(stream, None)
            if tile is None:
                streams.remove(stream)
                continue
            path = place(out, written)
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


def large(wallpapers, out):
    quarters = []
    for path in originals(wallpapers):
        if any(name in path for name in LARGE_ORIGINALS) and not path.endswith("screenshot.jpg"):
            image = Image.open(path).convert("RGB")
            quarters.append(ImageOps.fit(image, (2000, 1500), Image.Resampling.LANCZOS))
    if len(quarters) != len(LARGE_ORIGINALS):
        sys.exit(f"{len(quarters)} of {len(LARGE_ORIGINALS)} photographs: are all wallpaper packages there?")
    total_bytes = 0
    for number in range(LARGE_COUNT):
        image = Image.new("RGB", (4000, 3000))
        # Other neighbours each time around.
        turn, first = divmod(number, len(quarters))
        for corner, at in enumerate([(0, 0), (2000, 0), (0, 1500), (2000, 1500)]):
            image.paste(quarters[(first + corner * (turn + 1)) % len(quarters)], at)
        path = place(out, number)
        image.save(path, quality=92, subsampling="4:2:0")
        total_bytes += os.path.getsize(path)
    print(f"{LARGE_COUNT} photographs of {total_bytes / LARGE_COUNT / 1e6:.2f} MB on average")


match sys.argv[1:]:
    case ["large", wallpapers, out]:
        large(wallpapers, out)
    case [wallpapers, out]:
        small(wallpapers, out)
    case _:
        sys.exit("usage: photos.py [large] WALLPAPERS OUT")
