"""The README's blocks, typed as they stand there: its Python, and a short run with each part of one's own."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from sr_lightning.train import main

README = Path(__file__).parents[1] / "README.md"
PYTHON, OWN = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
SECTION = README.read_text().partition("## Your own parts")[2]
LINES = re.search(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)[1].replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("line", LINES, ids=lambda line: re.search(r"'\+?([\w.]+)", line)[1])
def test_a_part_of_ones_own_in_a_run(line, folder, tmp_path, monkeypatch, request):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("mine", None)
    request.addfinalizer(lambda: sys.modules.pop("mine", None))  # other tests have modules of this name
    program, *typed = shlex.split(line, comments=True)[2:]
    assert program == "sr_lightning.train"
    data = ["data=folder", f"data.train_dir={folder}", "data.val_holdout=1", "data.batch_size=2", "data.patch_size=12"]
    settings = ["trainer=cpu", "trainer.max_steps=2", "trainer.val_check_interval=1"]
    settings += [] if "mine.Net" in line else ["logger=csv"]  # once with the loggers that a reader of it has
    assert main([*typed, *data, *settings, "hydra.run.dir=run"]) == 0
    assert (tmp_path / "run/results.json").is_file()
    command = json.loads((tmp_path / "run/results.json").read_text())["run"]["command"]
    assert shlex.split(command)[2:] == ["sr_lightning.train", *typed, *data, *settings, "hydra.run.dir=run"]
    seen = (tmp_path / "run/metrics.csv").read_text() + (tmp_path / "run/results.json").read_text()
    for part, name in {"loss.terms": "train/loss/edges", "val_metrics": "val/edges", "Mosaic": "mosaic"}.items():
        assert part not in line or name in seen
    assert "CSVLogger" not in line or list((tmp_path / "logs").rglob("metrics.csv"))
    assert "mine.Net" not in line or '"Net"' in seen


def test_five_lines_of_python(image, tmp_path):
    Image.fromarray(image(9, 7, 0)).save(tmp_path / "photo.jpg")
    exec(compile(PYTHON, "README.md", "exec"), {})
    with Image.open("photo_x4.png") as enlarged:
        assert enlarged.size == (28, 36)
