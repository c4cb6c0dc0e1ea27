"""One rule for what names weights, in every command."""

import json
from pathlib import Path

import pytest

from sr_lightning.errors import UserError
from sr_lightning.weights.location import find_weights_file
from sr_lightning.weights.pretrained import pretrained_file


def run(folder, *checkpoints, objective=None):
    (folder / "checkpoints").mkdir(parents=True)
    for name in checkpoints:
        (folder / "checkpoints" / name).touch()
    (folder / "results.json").write_text(json.dumps({"objective": objective}))
    return folder


def test_a_file_a_run_a_sweep_and_a_name(tmp_path):
    (tmp_path / "a.pth").touch()
    assert find_weights_file("a.pth") == Path("a.pth")
    assert find_weights_file(str(run(tmp_path / "run", "best.ckpt", "last.ckpt"))).name == "best.ckpt"
    assert find_weights_file(str(run(tmp_path / "unvalidated", "last.ckpt"))).name == "last.ckpt"
    assert find_weights_file("edsr_tiny_y_x4") == pretrained_file("edsr_tiny_y_x4")
    Path("edsr_tiny_y_x4").touch()
    assert find_weights_file("edsr_tiny_y_x4") == Path("edsr_tiny_y_x4")


def test_a_sweep_stands_for_the_best_of_its_finished_jobs(tmp_path):
    sweep = tmp_path / "sweep"
    for number, objective in enumerate([0.5, 1.5, None, 9.0, "7"]):
        run(sweep / str(number), *(["best.ckpt"] if objective != 9.0 else []), objective=objective)
    run(sweep / "torn", "best.ckpt")
    (sweep / "torn" / "results.json").write_text('{"objective": 1')
    assert find_weights_file(str(sweep)) == sweep / "1" / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "absent.ckpt",
            r"absent\.ckpt is not there; allowed: a file of weights, the folder of a run or a sweep, or pre",
        ),
        ("edsr_tiny_y_x5", "edsr_tiny_y_x5 is not there.*did you mean 'edsr_tiny_y_x[234]'"),
        (".", r"\. holds no checkpoints/best\.ckpt, nor finished runs that do; allowed: a file of weights"),
    ],
)
def test_what_names_no_weights_is_told(text, said):
    with pytest.raises(UserError, match=said):
        find_weights_file(text)
