"""A packed set of images made by hand in litdata's format, training on it, and what lies in a folder."""

import struct

import numpy as np

from sr_lightning.train import main as train

SIDE = 100


def item(rgb):
    """An item as litdata lays it out, as far as we read it: anything, then the pixels."""
    return b"header" + rgb.tobytes()


def shard_of(images):
    """A shard in litdata's format, written from its description."""
    items = [item(rgb) for rgb in images]
    ends = np.cumsum([4 * (len(items) + 2), *(len(one) for one in items)])
    return struct.pack(f"<I{len(ends)}I", len(items), *ends) + b"".join(items)


def start(source, capsys, *more):
    """A whole command on a packed set: its status and what it said."""
    settings = ["data=streaming", f"data.shards.folder={source}", "data.num_workers=0", "data.batch_size=2"]
    settings += ["data.patch_size=12", "data.val_crop=96", "~data.test.sample_test", "model.n_feats=4"]
    settings += ["model.n_resblocks=1", "trainer=cpu", "trainer.precision=32", "logger=csv", "trainer.max_steps=4"]
    status = train([*settings, *more])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return status, said


def below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
