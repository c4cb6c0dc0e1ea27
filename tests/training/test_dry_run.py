"""Mistakes in a user's own classes are told in one line before a run begins, and leave nothing behind."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sr_lightning.train import main

MINE = '''
import torch
from torch import nn


class Half(nn.Module):
    """Of a wrong size."""

    def __init__(self, scale):
        super().__init__()
        self.f = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.f(x)


class Fails(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.widths = {"small": 4}
        self.f = nn.Conv2d(3, self.widths["large"], 3)


class Forward(Half):
    def forward(self, x):
        return nn.functional.interpolate(self.f(x.view(-1, 7)), scale_factor=4)


class Detached(Half):
    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=4).detach()


class OnlyTraining(Half):
    def forward(self, x):
        if not self.training:
            raise RuntimeError("no such mode")
        return nn.functional.interpolate(self.f(x), scale_factor=4)


class Blur:
    def margin(self, scale):
        return 0

    def __call__(self, hr, scale, keys):
        return hr[..., ::scale, ::scale]


class Floats(Blur):
    def describe(self):
        return "floats"

    def __call__(self, hr, scale, keys):
        return hr[..., ::scale, ::scale] / 255


class Map(nn.Module):
    def forward(self, sr, hr):
        return (sr - hr).abs().mean(1)
'''

OWN_NETWORK = ["--config-dir", "conf"]
CASES = {
    "size": (
        ["model=half"],
        r"model: ValueError: Half made \(2, 3, \d+, \d+\) from \(2, 3, \d+, \d+\) at x4.*\(blunder\.py:6, class Half\)",
    ),
    "constructor": (
        ["model=fails"],
        r"model: cannot build blunder\.Fails: KeyError: 'large' \(blunder\.py:21, in __init__\)",
    ),
    "syntax": (
        ["model=broken"],
        r"model: cannot build broken\.Net: .*Error loading 'broken\.Net':\s+SyntaxError.*broken\.py', 3",
    ),
    "forward": (["model=forward"], r"model: RuntimeError: .* \(blunder\.py:26, in forward\)"),
    "gradient": (["model=detached"], r"model: the loss has no gradient .* Detached's weights \(blunder\.py:29"),
    "validation": (
        ["model=onlytraining"],
        r"model, in validation: RuntimeError: no such mode \(blunder\.py:37, in",
    ),
    "describe": (
        ["+data.degradation._target_=blunder.Blur"],
        r"degradation: Blur has no describe \(blunder\.py:41, class",
    ),
    "dtype": (
        ["+data.degradation._target_=blunder.Floats"],
        r"Floats made \(2, 3, .* torch\.float32 of .* torch\.uint8",
    ),
    "term": (
        ["+loss.terms.map={weight: 1, _target_: blunder.Map}"],
        r"loss: map is \(2, \d+, \d+\), allowed: a scalar \(blunder",
    ),
    "monitor": (
        ["callbacks.checkpoints.monitor=val/psnr"],
        r"callbacks: Checkpoints monitors 'val/psnr', which nothing logs; did you mean 'val/psnr_y'\? allowed: ",
    ),
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module and configs, where the user stands."""
    (tmp_path / "blunder.py").write_text(MINE)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    for name in ("Half", "Fails", "Forward", "Detached", "OnlyTraining"):
        (tmp_path / f"conf/model/{name.lower()}.yaml").write_text(f"_target_: blunder.{name}\nscale: ${{scale}}\n")
    (tmp_path / "broken.py").write_text("from torch import nn\nclass Net(nn.Module):\n    def forward(self, x)\n")
    (tmp_path / "conf/model/broken.yaml").write_text("_target_: broken.Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "blunder", raising=False)  # another test's


@pytest.mark.parametrize("kind", list(CASES))
def test_a_mistake_in_ones_own_class_is_one_line_with_its_place(kind, own, tiny, capsys):
    arguments, said = CASES[kind]
    settings = [a for a in tiny if not (arguments[0].startswith("model=") and a.startswith("model"))]
    assert main([*OWN_NETWORK, *settings, *arguments]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert re.search(said, err), err
    assert not any(Path("runs/train").iterdir())


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("model={_target_: torch.nn.Identity}", r"model: Identity made .* expected"),
        ("loss={_target_: torch.nn.L1Loss}", r"loss: torch\.nn\.L1Loss refuses its arguments"),
    ],
)
def test_a_class_of_torch_that_does_not_fit_its_place(tiny, capsys, section, said):
    settings = [a for a in tiny if not (section.startswith("model=") and a.startswith("model"))]
    assert main([*settings, section]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert re.search(said, err), err


def test_a_bug_of_this_package_keeps_its_traceback(tiny, monkeypatch, capsys):
    monkeypatch.setattr("sr_lightning.models.blocks.ResBlock.forward", nn.Module.forward)
    assert main(tiny) == 1
    assert "Traceback" in capsys.readouterr().err


def test_it_leaves_weights_statistics_and_random_numbers_as_they_were(tiny, monkeypatch):
    """SRResNet has batch statistics; the run's own figures must not depend on the dry pass."""
    settings = [a for a in tiny if not a.startswith("model.")]
    settings += ["model=srresnet", "model.n_feats=4", "model.n_resblocks=1", "trainer.max_steps=2"]
    assert main([*settings, "hydra.run.dir=with"]) == 0
    monkeypatch.setattr("sr_lightning.training.dry_run.dry_run", lambda *_: None)
    assert main([*settings, "hydra.run.dir=without"]) == 0
    a, b = (torch.load(Path(name, "checkpoints/last.ckpt"))["state_dict"] for name in ("with", "without"))
    assert all(torch.equal(a[key], b[key]) for key in b)
