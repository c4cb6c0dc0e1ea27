"""Networks whose weights fit but are used otherwise than they were trained are said, with the cause."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.evaluations import QUICK, document, mine, save_network
from sr_lightning.data.batch import EvalBatch
from sr_lightning.evaluate import main
from sr_lightning.evaluation.diagnosis import diagnose
from sr_lightning.evaluation.method import network_method
from sr_lightning.evaluation.predictions import Prediction
from sr_lightning.inference.predict import bicubic

pytestmark = pytest.mark.usefixtures("_hydras_logging")


MEAN = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
CASES = {
    "values of 0 to 255": (lambda x: x / 255, lambda y: y * 255),
    "values of -1 to 1": (lambda x: (x + 1) / 2, lambda y: y * 2 - 1),
    "values of -0.5 to 0.5": (lambda x: x + 0.5, lambda y: y - 0.5),
    "DIV2K's mean subtracted": (lambda x: x + MEAN, lambda y: y - MEAN),
    "colours in the order BGR": (lambda x: x.flip(-3), lambda y: y.flip(-3)),
}


class Enlarging(nn.Module):
    """Another project's network: its values are converted, and it was trained on images of one brightness only."""

    scales = (2,)

    def __init__(self, convention, brightness):
        super().__init__()
        self.to_ours, self.to_theirs = CASES[convention]
        self.brightness = brightness

    def forward(self, x):
        x = self.to_ours(x)
        foreign = (x.mean((-1, -2), keepdim=True) - self.brightness).abs().sub(0.01).relu()
        return self.to_theirs(bicubic(x.clamp(0, 1), 2) / 255 + 5 * foreign)


@pytest.mark.parametrize("convention", CASES)
@torch.inference_mode()
def test_the_convention_that_explains_it_is_named(convention, image):
    hr = torch.from_numpy(image(96, 96, 0) // [1, 2, 4]).to(torch.uint8).permute(2, 0, 1)[None]
    lr = nn.functional.avg_pool2d(hr / 255, 2).mul(255).round() / 255
    net = Enlarging(convention, lr.mean((-1, -2), keepdim=True))
    batch = EvalBatch(lr=lr, hr=hr, scale=2, set="Mine", name="a.png", key=0)
    said = diagnose(network_method("Theirs", net, (2,), "theirs.pth", {}), Prediction(batch, None, None), -20.0)
    assert "Theirs stands 20.0 dB below bicubic on a.png x2" in said
    assert f"cause: with {convention} it would reach" in said


def test_a_network_far_below_bicubic_is_said_at_once_and_beneath_the_table(folder, tmp_path, capsys):
    """Weights that load and are garbage stood in the table without a word."""
    path = save_network(tmp_path / "garbage.ckpt")
    content = torch.load(path)
    for value in content["state_dict"].values():
        value.mul_(20)
    torch.save(content, path)
    good = save_network(tmp_path / "good.ckpt", seed=2)
    assert main([f"checkpoint={{garbage: {path}, good: {good}}}", *mine(folder), *QUICK]) == 0
    said = capsys.readouterr()
    (note,) = [note for note in document()["notes"] if "below bicubic" in note]
    assert note.startswith("garbage stands ")
    assert "likely causes: a range of values, colour order, mean or scale" in note
    assert note in " ".join(said.out.split())


def test_images_with_red_and_blue_exchanged_are_said(tmp_path):
    """OpenCV writes BGR; its files saved by another library have blue faces and a plausible PSNR on Y."""
    rng = np.random.default_rng(0)
    _, x = np.mgrid[:96, :96]
    for name in ("hr", "sr"):
        (tmp_path / name).mkdir()
    for i in range(2):
        red = (np.sin(x / 9 + i) * 110 + 128)[..., None] * [1, 0.3, 0] + rng.normal(0, 3, (96, 96, 3)) + [0, 20, 60]
        rgb = red.clip(0, 255).astype(np.uint8)
        Image.fromarray(rgb).save(tmp_path / f"hr/{i}.png")
        Image.fromarray(rgb[..., ::-1].copy()).save(tmp_path / f"sr/{i}.png")
    assert main([f"predictions={tmp_path}/sr", "scale=2", *mine(tmp_path / "hr"), *QUICK]) == 0
    (note,) = [note for note in document()["notes"] if "below bicubic" in note]
    assert "with red and blue exchanged it would reach inf dB" in note
