"""Images by their bytes, whole or spoiled, and the data module over folders of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from helpers.stub_trainer import stub_trainer
from sr_lightning.data import SRDataModule

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (96, 80, 3), dtype=np.uint8)
WIDE = RNG.integers(0, 65536, (96, 80, 3), dtype=np.uint16)


def setup(folder, tmp_path, **settings):
    defaults = {"train_dir": str(folder), "cache_dir": str(tmp_path / "cache"), "patch_size": 12, "batch_size": 4}
    data = SRDataModule(**(defaults | {"val_holdout": 2} | settings))
    data.trainer = stub_trainer()
    data.setup("fit")
    return data


def names(images):
    return [path.name for path in images.hr.paths]


def encoded(kind, **settings):
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, kind, **settings)
    return file.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def wide_png(levels, *, transparent=b""):
    """A PNG of 16 bits a channel, which Pillow cannot write in colour."""
    height, width, channels = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", transparent) if transparent else b""]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])
