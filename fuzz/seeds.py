"""Writes fuzz/seeds: small inputs of kinds that fixtures/ has none of, for the fuzzer to begin with.

    python3 fuzz/seeds.py        needs nothing but Python 3
"""

from pathlib import Path
from struct import pack, unpack

ROOT = Path(__file__).resolve().parent.parent
FORMATS = ROOT / "fixtures" / "formats"
HEIGHT, WIDTH = 5, 7


def texts():
    data = "data=11:00000000000009af order=ffffffffffffffff"
    samples = f"of=11 unit=samples {data}"
    yield "state-samples.txt", f"sutler-state-1 seed=7 epoch=3 position=6 {samples} sampler=RandomSampler\n"
    yield "state-had.txt", (
        f"sutler-state-1 seed=7 epoch=1 position=3 {samples} had=1,2@3/0/1/keep sampler=RandomSampler\n"
    )
    yield "state-far.txt", (
        f"sutler-state-1 seed=7 epoch={2**64 - 1} position=0 {samples} had=@2/0/1/drop sampler=SequentialSampler\n"
    )
    yield "state-bad.txt", (
        f"sutler-state-1 seed=7 epoch=1 position=4 {samples} bad=4:/data/a%20b.jpg:the%20file%20is%20empty,0/1::no "
        "sampler=RandomSampler\n"
    )
    yield "state-batches.txt", (
        f"sutler-state-1 seed=7 epoch=0 position=2 of=6 unit=batches {data} sampler=BucketBatchSampler\n"
    )
    yield "state-records.txt", (
        "sutler-state-1 seed=7 epoch=0 position=4 of=0 unit=records data=0:00000000000009af "
        "order=ffffffffffffffff shards=4/1/0:2,2:1,3:1 sampler=IterableDataset\n"
    )
    yield "ledger.txt", "sutler-ledger-1 500 0123456789abcdef0123456789abcdef\n"
    yield "ledger-empty.txt", f"sutler-ledger-1 0 {'0' * 32}"


def directory(order, entries):
    """A TIFF of one directory and nothing else: (tag, type, count, value) each."""
    body = pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        # A SHORT stands at the front of its field, whichever the byte order.
        field = pack(order + "H", value) if kind == 3 else pack(order + "I", value)
        body += pack(order + "HHI", tag, kind, count) + field.ljust(4, b"\0")
    return (b"II" if order == "<" else b"MM") + pack(order + "HI", 42, 8) + body + pack(order + "I", 0)


def exifs():
    yield "big-endian.exif", directory(">", [(0x010F, 2, 3, 0x41620000), (0x0112, 3, 1, 6)])
    yield "little-endian.exif", directory("<", [(0x0112, 3, 1, 8)])


def tiffs():
    pixels = bytes(range(HEIGHT * WIDTH))
    common = [(256, 4, 1, WIDTH), (257, 4, 1, HEIGHT), (258, 3, 1, 8), (262, 3, 1, 1)]

    def tiff(entries, data, at):
        """`at` is the tag that says where the data are: behind the directory."""
        entries = sorted(common + entries)
        end = len(directory(">", entries + [(at, 4, 1, 0)]))
        return directory(">", sorted(entries + [(at, 4, 1, end)])) + data

    packed = bytes([len(pixels) - 1]) + pixels
    yield "packbits.tiff", tiff([(259, 3, 1, 32773), (278, 4, 1, HEIGHT), (279, 4, 1, len(packed))], packed, 273)
    # A tile is 16 pixels wide and high.
    tile = [(259, 3, 1, 1), (322, 4, 1, 16), (323, 4, 1, 16), (325, 4, 1, 256)]
    yield "tiled.tiff", tiff(tile, bytes(range(256)), 324)


def bmps():
    def bmp(bits, compression, palette, data, masks=b""):
        offset = 14 + 40 + len(masks) + len(palette)
        header = b"BM" + pack("<IHHI", offset + len(data), 0, 0, offset)
        info = pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0)
        return header + info + masks + palette + data

    grey = b"".join(bytes([shade * 17] * 3 + [0]) for shade in range(16))
    runs = b"".join(bytes([3, y, 0, 4, 1, 2, 3, 4, 0, 0]) for y in range(HEIGHT)) + b"\0\1"
    yield "rle8.bmp", bmp(8, 1, grey, runs)
    runs = b"".join(bytes([3, 0x12, 0, 4, 0x34, 0x56, 0, 0]) for _ in range(HEIGHT)) + b"\0\1"
    yield "rle4.bmp", bmp(4, 2, grey, runs)
    yield "5-6-5.bmp", bmp(16, 3, b"", bytes(range(HEIGHT * 16)), pack("<III", 0xF800, 0x07E0, 0x001F))
    yield "32-bits.bmp", bmp(32, 0, b"", bytes(i % 256 for i in range(HEIGHT * WIDTH * 4)))


def pnms():
    size = f"{WIDTH} {HEIGHT}"
    numbers = " ".join(str(i) for i in range(HEIGHT * WIDTH))
    colours = " ".join(str(i % 256) for i in range(HEIGHT * WIDTH * 3))
    yield "bits.pbm", f"P1\n# a comment\n{size}\n" + "1 0 1 1 0 0 1\n" * HEIGHT
    yield "packed.pbm", f"P4\n{size}\n".encode() + bytes(range(HEIGHT))
    yield "numbers.pgm", f"P2\n{size}\n255\n{numbers}\n"
    yield "numbers.ppm", f"P3\n{size}\n255\n{colours}\n"
    yield "deep.pgm", f"P5\n{size}\n65535\n".encode() + bytes(range(HEIGHT * WIDTH * 2))
    yield "any.pam", (
        f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n".encode()
        + bytes(i % 256 for i in range(HEIGHT * WIDTH * 4))
    )


def webps():
    """The frame of fixtures/formats/lossy.webp, in the other places where there may be one."""

    def chunk(name, data):
        return name + pack("<I", len(data)) + data + bytes(len(data) % 2)

    def webp(*chunks):
        content = b"WEBP" + b"".join(chunks)
        return b"RIFF" + pack("<I", len(content)) + content

    def short(number):
        return pack("<I", number)[:3]

    file = (FORMATS / "lossy.webp").read_bytes()
    length = unpack("<I", file[16:20])[0]
    frame = chunk(b"VP8 ", file[20 : 20 + length])
    size = short(28) + short(16)
    alpha = chunk(b"ALPH", b"\0" + bytes(i % 256 for i in range(29 * 17)))
    header = lambda flags: chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)
    animation = chunk(b"ANIM", bytes(6))
    yield "extended.webp", webp(header(0), frame)
    yield "alpha-lossy.webp", webp(header(0x10), alpha, frame)
    yield "animated.webp", webp(header(2), animation, chunk(b"ANMF", bytes(6) + size + short(100) + b"\0" + frame))
    yield "animated-alpha.webp", webp(
        header(0x12), animation, chunk(b"ANMF", bytes(6) + size + short(100) + b"\0" + alpha + frame)
    )


def main():
    for make in [texts, exifs, tiffs, bmps, pnms, webps]:
        for name, content in make():
            (ROOT / "fuzz" / "seeds" / name).write_bytes(content.encode() if isinstance(content, str) else content)


if __name__ == "__main__":
    main()
