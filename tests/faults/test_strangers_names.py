"""Names in files of strangers, and links in their folders, lead nowhere else (S8, S9)."""

import hashlib
import json
from pathlib import Path

import pytest

from sr_lightning.callbacks import Checkpoints
from sr_lightning.callbacks.pictures import safe_stem
from sr_lightning.data import SRDataModule
from sr_lightning.data.download.archives import is_extracted
from sr_lightning.errors import UserError
from sr_lightning.files import UnsafeNameError, inside
from sr_lightning.loggers.weights_and_biases import _run_id
from sr_lightning.train import main as train

pytestmark = pytest.mark.usefixtures("_hydras_logging")


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


@pytest.mark.parametrize("text", ["../../x", "a/b", " ", "a b", "x" * 65, "\x1b[2J", "é"], ids=ascii)
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
    for file in ("mine.txt", "best.ckpt"):
        (tmp_path / "checkpoints" / file).touch()
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


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("img_001.png", "img_001"),
        ("größe (1), a=b.png", "größe (1), a=b"),
        ("../../x.png", "x"),
        ("a/../b.png", "b"),
        ("dots...png", "dots___3"),
        ("..%2fup.png", "___2fup_3"),
        ("-rf.png", "_rf_3"),
        ("<img src=x onerror=alert(1)>.png", "_img src=x onerror=alert(1)__3"),
        ("</script>.png", "script__3"),
        ("$(touch canary).png", "_(touch canary)_3"),
        ("new\nline\x1b[2J.png", "new_line__2J_3"),
        ("€" * 80 + ".png", "_" * 40 + "_3"),
        ("ü" * 80 + ".png", "ü" * 40 + "_3"),
    ],
    ids=ascii,
)
@pytest.mark.fault("S8", "a plain name in the folder")
def test_S8_the_name_of_a_sheet_comes_from_any_name(name, stem):
    assert safe_stem(name, 3) == stem
    assert len(f"step0000000_set_x4_{stem}.png.part".encode()) < 255
