"""Names in files of strangers stay inside (S9), shards are checked (S10), and only our own is removed (S11)."""

import hashlib
import json
import os
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sr_lightning.callbacks import Checkpoints
from sr_lightning.checkpoints.integrity import tidy
from sr_lightning.cli.rank import remove_job
from sr_lightning.data import SRDataModule
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.download.archives import is_extracted
from sr_lightning.data.duplicates.stored_hashes import read_hashes
from sr_lightning.data.shards.index import PackedIndex
from sr_lightning.data.shards.reader import Shards
from sr_lightning.errors import UserError
from sr_lightning.files import UnsafeNameError, inside
from sr_lightning.loggers.weights_and_biases import _run_id
from sr_lightning.runs.folder import remove_unused
from sr_lightning.train import main as train

pytestmark = pytest.mark.usefixtures("_hydras_logging")

SIDE = 100


def item(rgb):
    """An item as litdata lays it out, as far as we read it: anything, then the pixels."""
    return b"header" + rgb.tobytes()


def shard_of(images):
    """A shard in litdata's format, written from its description."""
    items = [item(rgb) for rgb in images]
    ends = np.cumsum([4 * (len(items) + 2), *(len(one) for one in items)])
    return struct.pack(f"<I{len(ends)}I", len(items), *ends) + b"".join(items)


@pytest.fixture
def packed(tmp_path, image):
    """A packed set of two shards with two images each, and its index, made by hand."""
    folder = tmp_path / "packed"
    folder.mkdir()
    shards = []
    for number in range(2):
        content = shard_of([image(SIDE, SIDE, 2 * number + i) for i in range(2)])
        (folder / f"chunk-0-{number}.bin").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        shards.append({"name": f"chunk-0-{number}.bin", "images": 2, "bytes": len(content), "sha256": digest})
    index = {"format": 1, "key": "0" * 32, "shards": shards, "names": [f"{i}.png" for i in range(4)]}
    index |= {"sizes": [[SIDE, SIDE]] * 4, "lost": {}, "left_out": 0}
    rows = [[f"{i:064x}", [f"{i:064x}"]] for i in range(4)]
    (folder / "pictures.hashes1.json").write_text(json.dumps(rows))
    write = lambda: (folder / "pictures.json").write_text(json.dumps(index))  # noqa: E731 (short, beside its use)
    return SimpleNamespace(folder=folder, index=index, write=write)


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


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/a",
        "../a",
        "a/../../b",
        "a\0b",
        "a\\b",
        "C:a",
        "a\nb",
        "\ud800",
        "a" * 256,
        "ü" * 128,
        3,
        None,
        [],
    ],
    ids=ascii,
)
@pytest.mark.fault("S9", "refused")
def test_S9_names_that_are_none(tmp_path, name):
    with pytest.raises(UnsafeNameError):
        inside(tmp_path, name)


@pytest.mark.fault("S9", "refused where they lead out, else taken")
def test_S9_links_are_followed_before_they_are_judged(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "root2").mkdir()
    (root / "in").symlink_to("sub")
    (root / "out").symlink_to("..")
    (root / "near").symlink_to(tmp_path / "root2")
    (root / "nowhere").symlink_to(tmp_path / "missing")
    assert inside(root, "in/a.bin") == root / "in/a.bin"
    for name in ("out", "out/a", "near/a", "nowhere"):
        with pytest.raises(UnsafeNameError, match="leads out"):
            inside(root, name)
    (tmp_path / "other").symlink_to(root)  # the folder itself may be one
    assert inside(tmp_path / "other", "in/a.bin")


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


# -- other files that name files -----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["../../x", "a/b", "", "a b", "x" * 65, "\x1b[2J", "é"], ids=ascii)
@pytest.mark.fault("S9", "refused, the file is named")
def test_S9_the_id_of_a_wandb_run(tmp_path, text):
    (tmp_path / "run_id").write_text(text)
    with pytest.raises(UserError, match=r"run_id: found .*, allowed: letters, digits, _ and -"):
        _run_id(tmp_path / "run_id")


@pytest.mark.fault("S9", "refused, nothing is written there")
def test_S9_the_id_of_a_wandb_run_that_is_a_link(tmp_path):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb/run_id").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out"):
        _run_id(tmp_path / "wandb/run_id")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.fault("S9", "status 2, nothing is written there")
def test_S9_a_strangers_run_whose_files_are_links(tiny, tmp_path, capsys):
    assert train([*tiny, "hydra.run.dir=stranger"]) == 0
    target = tmp_path / "profile"
    target.write_text("mine\n")
    for name in ("train.log", "metrics.csv", "results.json.part", "checkpoints/last.ckpt.part"):
        link = Path("stranger", name)
        before = link.read_bytes() if link.exists() else None
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert train(["ckpt_path=stranger", "trainer.max_steps=6"]) == 2
        assert f"stranger/{name}; allowed: the files themselves" in capsys.readouterr().err.replace("\n", " ")
        assert target.read_text() == "mine\n"
        link.unlink()
        if before is not None:
            link.write_bytes(before)


@pytest.mark.parametrize("name", ["/a/..", "../mine.txt", "x/mine.txt", "mine.txt", 7])
@pytest.mark.fault("S9", "only best.ckpt and last.ckpt are ever named")
def test_S9_the_paths_in_a_checkpoint(tmp_path, name):
    """Lightning removes the last best, with all that is below it."""
    callback = Checkpoints(folder=str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/mine.txt").touch()
    state = {"best_model_path": name, "kth_best_model_path": name, "last_model_path": name}
    callback.load_state_dict(state | {"best_model_score": None, "best_k_models": {name: 1.0}})
    named = {callback.best_model_path, callback.kth_best_model_path, callback.last_model_path, *callback.best_k_models}
    assert named == {str(tmp_path / "checkpoints" / file) for file in ("best.ckpt", "last.ckpt")}


@pytest.mark.parametrize("manifest", [[], {"archive": "a", "files": {"../x": [1, ""]}}, {"archive": "a", "files": []}])
@pytest.mark.fault("S9", "not taken for what was unpacked")
def test_S9_the_list_of_an_unpacked_archive(tmp_path, manifest):
    (tmp_path / "x").write_bytes(b"x")
    manifest_ = json.dumps(manifest).replace('""', f'"{hashlib.sha256(b"x").hexdigest()}"')
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.archive.json").write_text(manifest_)
    assert not is_extracted(tmp_path / "a", digest="a")


@pytest.mark.fault("S9", "refused, the set is named")
def test_S9_the_name_of_a_set(folder, tmp_path):
    data = SRDataModule(train_dir=str(folder), val={"../up": str(folder)}, cache_dir="cache", patch_size=12)
    with pytest.raises(UserError, match=r"data\.val.*: the set's name '\.\./up' may lead out"):
        data.setup("fit")


# -- cleaning ------------------------------------------------------------------------------------------


@pytest.mark.fault("S11", "all of it is still there")
def test_S11_a_cache_of_shards_in_a_folder_in_use(packed, tmp_path):
    """`*/*.bin*` of other programs was deleted to make room."""
    packed.write()
    kept = tmp_path / "kept"
    others = ["game/level.bin", "model/pytorch_model.bin", "shards-" + "1" * 32 + "/" + "2" * 64 + ".bin", "a.bin"]
    others += ["shards-" + "0" * 31 + "/x.bin"]
    for name in others:
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_bytes(b"x" * 70_000)
        os.utime(kept / name, (0, 0))  # the oldest go first
    files = Shards(folder=f"local:{packed.folder}", cache_dir=str(kept), max_cache_gb=61e-6, spread=1).files
    shards = files.index().shards
    (files.set_dir / "notes.txt").touch()
    for shard in [*shards, *shards]:
        assert files.shard(shard).stat().st_size == shard.bytes
    assert {*others, f"{files.set_dir.name}/notes.txt"} <= below(kept)
    assert len(list(files.set_dir.glob("*.bin"))) == 1  # it did make room


@pytest.mark.fault("S11", "refused, nothing is touched")
def test_S11_a_folder_that_has_the_name_of_a_sets_but_is_not_ours(packed, tmp_path, capsys):
    packed.write()
    mine = tmp_path / "cache/shards/shards-00000000000000000000000000000000/mine.bin"
    mine.parent.mkdir(parents=True)
    mine.touch()
    status, said = start(f"local:{packed.folder}", capsys)
    assert status == 2
    assert "is there and holds other files; allowed: another data.shards.cache_dir" in said.replace("\n", " ")
    assert mine.exists()


@pytest.mark.fault("S11", "ours goes, the rest stays")
def test_S11_a_store_of_images_in_a_folder_in_use(folder, tmp_path):
    cache = tmp_path / "kept"
    key = ImageStore(sorted(folder.iterdir()), cache).key
    for path in cache.iterdir():
        path.unlink()
    ours = [f"{key}.x4.matlab_bicubic-1.rgb8", f"{key}.x4.matlab_bicubic-1.json", f"part-{key}-abcd1234/{key}.rgb8"]
    others = [f"{key}.xlsx", f"{key}.x", f"part-{key}-mine/thesis.txt", f"part-{key}-abcd5678/thesis.txt"]
    for name in (*ours, *others):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).touch()
    ImageStore(sorted(folder.iterdir()), cache)
    found = below(cache)
    assert found >= set(others)
    assert not found & set(ours)
    assert f"part-{key}-abcd1234" not in found


@pytest.mark.fault("S11", "ours goes, the rest stays")
def test_S11_a_runs_folder_that_was_in_use(tmp_path):
    run = tmp_path / "run"
    ours = ["checkpoints/last.ckpt.part", "metrics.csv.part", "ranks/job.json", "ranks/rank0.json", "ranks/rank1.log"]
    others = ["checkpoints/mine.ckpt.part", "thesis.part", "ranks/thesis.txt", "ranks/rank.json"]
    for name in (*ours, *others):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    tidy(run)
    remove_job(run)
    found = below(run)
    assert found >= set(others)
    assert not found & set(ours)


@pytest.mark.parametrize("other", [".hydra/mine.txt", "mine/train.log", "train.log/mine.txt"])
@pytest.mark.fault("S11", "nothing is removed")
def test_S11_a_run_that_never_began_in_a_folder_in_use(tmp_path, other):
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra/config.yaml").touch()
    (run / other).parent.mkdir(parents=True, exist_ok=True)
    (run / other).touch()
    before = below(run)
    remove_unused(run, "train")
    assert below(run) == before


@pytest.mark.fault("S11", "it is removed")
def test_S11_a_run_that_never_began(tmp_path):
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    for name in (".hydra/config.yaml", "train.log", "train_rank1.log", ".lock"):
        (run / name).touch()
    remove_unused(run, "train")
    assert not run.exists()


def test_the_images_of_the_hand_made_shards_are_images(packed):
    """Else the tests above would pass with a set that no run could read."""
    content = (packed.folder / "chunk-0-0.bin").read_bytes()
    Image.frombytes("RGB", (SIDE, SIDE), content[-SIDE * SIDE * 3 :])
