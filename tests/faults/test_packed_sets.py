"""Packed sets of strangers: what an index names and says, and what a shard holds, is checked (S9, S10)."""

import hashlib
import json
import os
import struct

import numpy as np
import pytest
from PIL import Image

from helpers.packed_sets import SIDE, below, start
from sr_lightning.data.duplicates.stored_hashes import read_hashes
from sr_lightning.data.shards.index import PackedIndex
from sr_lightning.data.shards.reader import Shards
from sr_lightning.errors import UserError

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def set_key(index, outside):
    index["key"] = str(outside / "pth")


def set_key_up(index, outside):
    index["key"] = "../outside"


def set_name(index, outside):
    index["shards"][0]["name"] = str(outside / "evil.bin")


def set_name_up(index, outside):
    index["shards"][1]["name"] = "../outside/evil.bin"


def set_checksum(index, outside):
    index["shards"][1]["sha256"] = "../../outside/evil"


@pytest.mark.parametrize(
    ("remote", "change"),
    [
        *(("", change) for change in (set_key, set_key_up, set_name, set_name_up, set_checksum)),
        ("local:", set_key_up),
        ("local:", set_name_up),
    ],
)
@pytest.mark.fault("S9", "status 2, nothing is written outside")
def test_S9_an_index_names_nothing_outside_of_the_cache(packed, tmp_path, capsys, change, remote):
    """A `.pth` file where Python looks for modules is run at its next start."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "evil.bin").write_bytes((packed.folder / "chunk-0-1.bin").read_bytes())
    change(packed.index, outside)
    packed.write()
    status, said = start(remote + str(packed.folder), capsys)
    assert status == 2
    assert "data.shards.folder: pictures.json of" in said
    assert below(outside) == {"evil.bin"}


WRONG = {
    "no object": lambda index: [index],
    "deep": lambda index: "[" * 100_000,
    "key of another type": lambda index: index | {"key": 7},
    "no shards": lambda index: index | {"shards": []},
    "a shard that is a text": lambda index: index | {"shards": ["chunk-0-0.bin"]},
    "more images than names": lambda index: index | {"names": index["names"][1:]},
    "names that are numbers": lambda index: index | {"names": [1, 2, 3, 4]},
    "a name that is no text": lambda index: index | {"names": ["\ud800", "b", "c", "d"]},
    "negative sizes": lambda index: index | {"sizes": [[-SIDE, -SIDE]] * 4},
    "huge sizes": lambda index: index | {"sizes": [[10**9, 10**9]] * 4},
    "sizes of one side": lambda index: index | {"sizes": [[SIDE]] * 4},
    "fractions": lambda index: index | {"sizes": [[SIDE + 0.5, SIDE]] * 4},
    "no left_out": lambda index: {key: value for key, value in index.items() if key != "left_out"},
    "another key": lambda index: index | {"more": 1},
    "left_out of another type": lambda index: index | {"left_out": "1"},
    "lost of another type": lambda index: index | {"lost": ["alpha"]},
    **{
        f"{key} {value!r}": lambda index, key=key, value=value: (
            index | {"shards": [index["shards"][0] | {key: value}, index["shards"][1]]}
        )
        for key, value in [
            *(("images", value) for value in (-2, 0, 10**30, True, 2.0, "2", None)),
            *(("bytes", value) for value in (-1, 0, 10**30, "9", 2**40)),
            *(("sha256", value) for value in ("", "0" * 63, 5)),
            *(("name", value) for value in ("", "a.bin/b.bin", "a.pth", ".bin", "chunk-0-1.bin", "a" * 5000 + ".bin")),
        ]
    },
}


@pytest.mark.parametrize("change", WRONG)
@pytest.mark.fault("S10", "refused, the set is named")
def test_S10_an_index_of_other_values(packed, change):
    file = packed.folder / "pictures.json"
    packed.write()
    PackedIndex.read(file, "here")
    wrong = WRONG[change](packed.index)
    file.write_text(wrong if isinstance(wrong, str) else json.dumps(wrong))
    with pytest.raises(UserError, match=r"data\.shards\.folder: pictures\.json of here cannot be (read|used): "):
        PackedIndex.read(file, "here")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def longer(path):
    with path.open("ab") as file:
        file.write(b"x" * 10**6)


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_link(path):
    path.rename(path.parent.parent / "real.bin")
    path.symlink_to(path.parent.parent / "real.bin")


def missing(path):
    path.unlink()


def read(source):
    """All pixels of a packed set, as training reads them."""
    shards = Shards(folder=str(source), cache_dir="cache")
    images = shards.training(patch_size=12, scale=4, on_small="error").images
    return [images.hr[i] for i in range(len(images.hr))]


@pytest.mark.parametrize("damage", [flipped, cut, longer, a_pipe, a_link, missing])
@pytest.mark.fault("S10", "refused, the shard is named")
def test_S10_a_wrong_shard_in_a_folder(packed, damage):
    damage(packed.folder / "chunk-0-1.bin")
    packed.write()
    with pytest.raises(UserError, match=r"chunk-0-1\.bin"):
        read(packed.folder)


@pytest.mark.parametrize("damage", [flipped, cut, longer])
@pytest.mark.fault("S10", "refused, the shard is named, nothing of it is kept")
def test_S10_a_wrong_shard_at_an_address(packed, tmp_path, damage):
    damage(packed.folder / "chunk-0-1.bin")
    packed.write()
    with pytest.raises(UserError, match=r"chunk-0-1\.bin"):
        read(f"local:{packed.folder}")
    assert len(list((tmp_path / "cache").rglob("*.bin*"))) <= 1


@pytest.mark.parametrize(("remote", "more"), [("", "data.num_workers=1"), ("local:", "data.num_workers=0")])
@pytest.mark.fault("S10", "status 2, the shard is named")
def test_S10_training_on_a_wrong_shard(packed, capsys, remote, more):
    flipped(packed.folder / "chunk-0-1.bin")
    packed.write()
    status, said = start(f"{remote}{packed.folder}", capsys, more)
    assert (status, "chunk-0-1.bin" in said) == (2, True)


HEADERS = {
    "more images": [3, 16, 5, 5],
    "no images": [0, 8, 8, 8],
    "beyond the end": [2, 16, 30_022, 2**32 - 1],
    "backwards": [2, 16, 60_028, 30_022],
    "from the middle": [2, 17, 30_022, 60_028],
    "an image that is too small": [2, 16, 20_000, 60_028],
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.fault("S10", "refused, the shard is named")
def test_S10_a_shard_whose_header_lies(packed, header):
    path = packed.folder / "chunk-0-1.bin"
    content = path.read_bytes()
    assert len(content) == 60_028
    path.write_bytes(struct.pack("<4I", *HEADERS[header]) + content[16:])
    packed.index["shards"][1]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    packed.write()
    with pytest.raises(UserError, match=r"chunk-0-1\.bin holds other images than pictures\.json says"):
        read(packed.folder)


@pytest.mark.fault("S10", "the pixels of the right images")
def test_S10_an_honest_set_is_read(packed, capsys, image):
    packed.write()
    for i, pixels in enumerate(read(f"local:{packed.folder}")):
        np.testing.assert_array_equal(pixels, image(SIDE, SIDE, i))
    assert start(packed.folder, capsys)[0] == 0


@pytest.mark.parametrize("rows", [{}, [], [1, 2], [["x", ["y"]]] * 2, [["0" * 64, []]] * 2, "[" * 100_000], ids=str)
@pytest.mark.fault("S10", "refused, the file is named")
def test_S10_hashes_of_other_values(tmp_path, rows):
    file = tmp_path / "a.json"
    file.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    with pytest.raises(UserError, match=r"a\.json: found no hashes of 2 images"):
        read_hashes(file, 2, orientations=1)


def test_the_images_of_the_hand_made_shards_are_images(packed):
    """Else the tests above would pass with a set that no run could read."""
    content = (packed.folder / "chunk-0-0.bin").read_bytes()
    Image.frombytes("RGB", (SIDE, SIDE), content[-SIDE * SIDE * 3 :])
