"""The sheet of training samples."""

import pytest
import torch

from sr_lightning.image.color import read_rgb
from sr_lightning.preview import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


@pytest.fixture
def small(folder):
    return ["data=folder", f"data.train_dir={folder}", "data.val_holdout=1", "data.patch_size=12", "preview.n=3"]


def test_lr_stands_beside_hr(small, tmp_path, capsys):
    assert main([*small, "preview.output=out folder/a,b.png", "scale=3"]) == 0
    page = torch.from_numpy(read_rgb(tmp_path / "out folder/a,b.png").copy()).float()
    assert "matlab_bicubic" in capsys.readouterr().out
    lr, hr = page[24:60, 6:42], page[24:60, 42:78]  # sample 0: 12 LR pixels at x3
    blocks = lr.reshape(12, 3, 12, 3, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()  # enlarged by pixels
    means = hr.reshape(12, 3, 12, 3, 3).mean((1, 3))
    assert (blocks[:, 0, :, 0] - means).abs().mean() < 12  # the same place of the same image


def test_the_degradation_is_seen(small, tmp_path):
    assert main(small) == 0
    (path,) = tmp_path.glob("runs/preview/*/preview.png")  # a folder of its own, nothing beside the user's files
    assert not list(tmp_path.glob("*.png"))
    plain = read_rgb(path)
    assert main([*small, "degradation=second_order", "preview.output=other.png"]) == 0
    other = read_rgb(tmp_path / "other.png")
    assert plain.shape == other.shape
    assert (plain != other).mean() > 0.1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("preview.n=0", "preview.n: found 0"),
        ("preview.output=a.jpg", "preview.output: found 'a.jpg'"),
        ("preview.m=3", "preview.m: no such key"),
        ("degradation=thrid_order", "degradation: found 'thrid_order'"),
        ("data.degradation=3", "data.degradation: found 3"),
        ("-m", "-m: python -m sr_lightning.preview makes one thing"),
    ],
)
def test_bad_input(small, override, said, capsys, tmp_path):
    settings = small if override.startswith("preview") else [*small, "preview.n=1"]
    assert main([*settings, override]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))
    assert not (tmp_path / "runs").exists()
