"""Networks, loss terms and callbacks of one's own in a run, and what is said where they do not fit."""

import ast
import shlex
from pathlib import Path

import pytest

from helpers.evaluations import QUICK
from helpers.training_runs import metrics, only_run
from sr_lightning import load
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main as evaluate
from sr_lightning.train import main
from sr_lightning.upscale import main as upscale

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def test_ones_own_network_loss_term_and_callback_need_none_of_our_files(tiny, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\nfrom lightning.pytorch import Callback\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, scale, width):\n"
        "        super().__init__()\n"
        "        self.f = nn.Sequential(nn.Conv2d(3, width, 3, padding=1),\n"
        "                               nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))\n"
        "    def forward(self, x):\n        return self.f(x)\n"
        "class TV(nn.Module):\n"
        "    def forward(self, sr, hr):\n        return (sr.diff(dim=-1) - hr.diff(dim=-1)).abs().mean()\n"
        "class Note(Callback):\n"
        "    def on_train_end(self, trainer, module):\n        open('noted', 'w').close()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = [a for a in tiny if not a.startswith("model")]
    mine = ["model={_target_: mine.Net, scale: 4, width: 6}", "+loss.terms.mine={weight: 0.1, _target_: mine.TV}"]
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("_target_: mine.Net\nscale: ${scale}\nwidth: 6\n")
    mine = ["--config-dir", str(tmp_path / "conf"), "model=mine", mine[1], "+callbacks.note._target_=mine.Note"]
    assert main([*mine, *settings]) == 0
    assert float(metrics(only_run())[0]["train/loss/mine"]) > 0
    assert Path("noted").exists()


NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, scale, width, name="4", steps=1000000):
        assert (name, steps) == ("4", 1000000)
        super().__init__(nn.Conv2d(3, width, 1), nn.Conv2d(width, 3 * scale**2, 1), nn.PixelShuffle(scale))
"""


def test_ones_own_network_is_used_by_the_lines_that_are_told(tiny, folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "net_of_mine.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    short = [*(a for a in tiny if not a.startswith("model")), "trainer.max_steps=1", "trainer.val_check_interval=1"]
    model = "model={_target_: net_of_mine.Net, scale: ${scale}, width: 6, name: '4', steps: 1000000}"
    assert main([*short, model, "hydra.run.dir=a b"]) == 0
    told = [shlex.split(line)[2:] for line in capsys.readouterr().out.splitlines() if line.startswith("  python -m ")]
    lines = {command.removeprefix("sr_lightning."): typed for command, *typed in told}
    again = model.replace("${scale}", "4")
    assert lines["upscale"] == ["input=photo.jpg", "checkpoint=a b", again]
    assert lines["evaluate"] == ["checkpoint=a b", again, "data=sample"]
    assert upscale([f"input={folder}/img_0.png", *lines["upscale"][1:]]) == 0
    assert evaluate(["checkpoint=a b", "data=sample", *QUICK]) == 2
    assert f"export: {shlex.quote(again)}\n" in capsys.readouterr().err
    with pytest.raises(UserError) as caught:
        load("a b")
    argument = ast.literal_eval(str(caught.value).rpartition("model=")[2].removesuffix(")"))
    assert type(load("a b", model=argument)).__name__ == "Net"


def test_parts_that_do_not_go_together_are_told_before_training(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "fixed.py").write_text(
        "from torch import nn\nclass Net(nn.Conv2d):\n    scales = (2,)\n"
        "    def __init__(self):\n        super().__init__(3, 3, 1)\n"
        "class Plain(nn.Conv2d):\n    def __init__(self):\n        super().__init__(3, 3, 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = [a for a in tiny if not a.startswith(("model", "scale"))]
    (tmp_path / "conf" / "model").mkdir(parents=True)
    for name in ("Net", "Plain"):
        (tmp_path / "conf" / "model" / f"{name.lower()}.yaml").write_text(f"_target_: fixed.{name}\n")
    for arguments, said in (
        (["model=net", "scale=4"], "scale: found x4, but Net is for x2"),
        (["model=plain", "scale=[2,4]"], "scale: found x2, x4, but Plain names no scales; allowed:"),
        (["model=rfdn", "scale=2", "data.patch_size=12"], "found 12, 12 LR pixels, but RFDN needs 15; allowed: 15"),
    ):
        assert main(["--config-dir", str(tmp_path / "conf"), *settings, *arguments]) == 2
        assert said in capsys.readouterr().err


def test_mistakes_in_ones_own_class_are_told_without_a_traceback(tiny, capsys):
    assert main([*tiny, "+callbacks.note._target_=no_such_module.Note"]) == 2
    assert main([*tiny, "+callbacks.note._target_=collections.OrderedDict", "+callbacks.note.iterable=3"]) == 2
    err = capsys.readouterr().err
    assert "no_such_module" in err
    assert "callbacks.note" in err
    assert "Traceback" not in err
