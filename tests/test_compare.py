"""The command: real command lines on small runs, with and without their images."""

import base64
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from helpers.evaluations import QUICK, by_scikit_image, only_run, per_image, save_network
from helpers.run_folders import make_run, make_sweep
from helpers.wandb_offline import wandb_records
from sr_lightning.compare import main
from sr_lightning.evaluate import main as evaluate

pytestmark = pytest.mark.usefixtures("_hydras_logging")
FILES = {"table.md", "table.tex", "table.csv", "compare.json"}
FAST = ["plots=false", "images=false"]


def data_of(page):
    text = page.read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def pixels(url):
    head, _, content = url.partition(";base64,")
    assert head == "data:image/webp"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image.convert("RGB"))


def test_a_sweep_gets_a_folder_of_its_own(tmp_path, capsys):
    make_sweep(tmp_path / "runs/sweep/s")
    assert main(["runs=runs/sweep/s", *FAST]) == 0
    out = capsys.readouterr().out
    assert "beta=0 (2 seeds)" in out
    folder = tmp_path / "runs/sweep/s/compare"
    assert {path.name for path in folder.iterdir()} == {*FILES, "compare.html"}
    assert data_of(folder / "compare.html")["commands"][0] == [
        "this comparison",
        "python -m sr_lightning.compare runs=runs/sweep/s",
    ]
    assert main(["runs=runs/sweep/s", "page=false", *FAST]) == 0  # again, and what is not made any more goes
    assert {path.name for path in folder.iterdir()} == FILES


def test_it_needs_no_torch_for_tables(tmp_path, monkeypatch):
    make_sweep(tmp_path / "s")
    monkeypatch.setitem(sys.modules, "sr_lightning.builders.comparison_images", None)  # what imports torch
    assert main(["runs=s", *FAST]) == 0


def test_several_folders_go_below_the_runs(tmp_path, capsys):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b, c=[d]", beta=1.0)
    assert main(["runs=[a,'b, c=[d]']", "page=false", *FAST]) == 0
    (folder,) = (tmp_path / "runs/compare").iterdir()
    assert {path.name for path in folder.iterdir()} == FILES
    assert main(["runs=b, c=[d]", "page=false", "output=own", *FAST]) == 0
    assert (tmp_path / "own/table.md").is_file()


def test_a_foreign_file_is_never_replaced(tmp_path, capsys):
    make_run(tmp_path / "a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/table.csv").write_text("mine")
    assert main(["runs=a", "output=out", *FAST]) == 2
    assert "out holds table.csv, which compare has not made" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"table.csv"}
    assert main(["runs=a", "output=fine", *FAST]) == 0
    (tmp_path / "fine/table.md").write_text("edited by hand")
    assert main(["runs=a", "output=fine", *FAST]) == 2
    assert (tmp_path / "fine/table.md").read_text() == "edited by hand"


def test_a_manifest_that_leads_elsewhere_removes_nothing(tmp_path):
    make_run(tmp_path / "a")
    (tmp_path / "victim").write_text("x")
    (tmp_path / "out").mkdir()
    names = ["../victim", str(tmp_path / "victim"), "plots/../../victim"]
    (tmp_path / "out/compare.json").write_text(json.dumps({"files": dict.fromkeys(names, "0")}))
    assert main(["runs=a", "output=out", *FAST]) == 0
    assert (tmp_path / "victim").read_text() == "x"


def test_links_out_of_the_folder_are_not_written_through(tmp_path, capsys):
    make_run(tmp_path / "a")
    (tmp_path / "victim").write_text("x")
    (tmp_path / "elsewhere").mkdir()
    for name, target in (("table.md.part", "victim"), ("compare.json", "victim"), ("plots", "elsewhere")):
        (tmp_path / "a/compare").mkdir(exist_ok=True)
        (tmp_path / "a/compare" / name).symlink_to(tmp_path / target)
        options = [] if name == "plots" else ["plots=false"]
        assert main(["runs=a", "images=false", "page=false", *options]) == 2, name
        assert "out of" in capsys.readouterr().err
        shutil.rmtree(tmp_path / "a/compare")
    assert (tmp_path / "victim").read_text() == "x"
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["runs=nowhere"], "runs: nowhere is not there"),
        (["runs=a,empty"], "or a glob; several are a list, runs=[a,empty]"),
        (["runs=a", "max_images=1,2"], "found 1,2, allowed: one value or a list max_images=[1,2]\n"),
        (["runs=empty"], "runs: empty holds no runs"),
        (["runs=a", "rank_by=psnr"], "found 'psnr', which none of these runs has recorded; did you mean 'psnr_y'?"),
        (["runs=a", "rank_by=lpips"], "which none of these runs has recorded; allowed: psnr_y, ssim_y"),
        (["runs=a", "page_mb=0"], "page_mb: found 0, allowed: 1 to 2000 megabytes"),
        (["runs=a", "device=tpu", "max_images=0"], "device: found 'tpu'"),
        ([], "runs: must be given"),
        (["runs=a", "-m"], "makes one thing"),
    ],
)
def test_a_mistake_is_answered_with_2(tmp_path, typed, said, capsys):
    make_run(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    assert main(typed) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "a/compare").exists()


def test_only_torn_runs_end_with_2_and_one_good_run_with_0(tmp_path, capsys):
    torn = make_run(tmp_path / "runs/torn")
    for path in (torn / "metrics.csv", torn / ".hydra/config.yaml"):
        path.unlink()
    (torn / "results.json").write_text("{")
    assert main(["runs=runs", *FAST]) == 2
    assert "results.json: is torn" in capsys.readouterr().err
    make_run(tmp_path / "runs/good")
    assert main(["runs=runs", *FAST]) == 0
    assert "results.json: is torn" in capsys.readouterr().out


@pytest.fixture(scope="module")
def _made_once(tmp_path_factory):
    return tmp_path_factory.mktemp("made") / "trained"


@pytest.fixture
def trained(tmp_path, folder, _made_once):
    """Two runs with real checkpoints, scored by `evaluate`: made by the first test, copied by the others."""
    if _made_once.exists():
        shutil.copytree(_made_once, tmp_path, dirs_exist_ok=True)
        return tmp_path / "runs"
    test = folder.name  # all paths are relative, so that they hold in the folder of each test
    for i in (1, 2):
        checkpoint = save_network(Path(f"runs/{i}/checkpoints/best.ckpt"), seed=i)
        assert evaluate([f"checkpoint={checkpoint}", f"+data.test.Mine={test}", "sets=[Mine]", *QUICK]) == 0
        run = only_run()
        figures = {"psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "gain"}
        rows = [{k: float(v) if k in figures else v for k, v in row.items()} for row in per_image(run)]
        for row in rows:
            row |= {"checkpoint": "checkpoints/best.ckpt", "key": int(row["key"]), "scale": int(row["scale"])}
        run.rename(f"evaluation{i}")
        section = {"kernel": "bicubic", "test": {"Mine": test}}
        make_run(tmp_path / f"runs/{i}", images=rows, beta=float(i), config={"data": section})
    shutil.copytree(tmp_path, _made_once)
    return tmp_path / "runs"


def test_the_page_shows_what_the_networks_make(trained, folder, tmp_path, capsys):
    assert main(["runs=runs", "output=out", "plots=false", "max_images=4", "device=cpu"]) == 0
    (group,) = data_of(tmp_path / "out/compare.html")["groups"]
    assert len(group["images"]) == 4
    for image in group["images"]:
        hr, *others = map(pixels, image["src"])
        with Image.open(folder / image["name"]) as file:
            height, width = (side // 4 * 4 for side in np.asarray(file).shape[:2])
            assert (hr == np.asarray(file)[:height, :width]).all()
        for made, text in zip(others, image["figures"][1:], strict=True):
            psnr, ssim = by_scikit_image(made, hr, 4)
            assert text == f"{psnr:.2f} dB / {ssim:.4f}"
    assert "the whole image" in group["images"][0]["note"]


def test_images_that_changed_or_vanished_are_not_shown(trained, folder, tmp_path, capsys):
    for path in folder.iterdir():
        with Image.open(path) as image:
            pixels = 255 - np.asarray(image)
        Image.fromarray(pixels // 2).save(path)
    assert main(["runs=runs", "output=out", "plots=false", "device=cpu"]) == 0
    assert "has changed since it was scored" in capsys.readouterr().out
    for path in folder.iterdir():
        path.unlink()
    assert main(["runs=runs", "output=out", "plots=false", "device=cpu"]) == 0
    assert "no images of Mine x4" in capsys.readouterr().out
    data = data_of(tmp_path / "out/compare.html")
    assert "images=true" in data["images_note"]
    assert data["groups"][0]["images"] == []


WRONG_DATA = [
    ({"degradation": {"_target_": "os.mkdir", "path": "bad"}}, "third-party"),
    ({"degradation": {"_target_": "torch.nn.ReLU"}}, "ReLU is no degradation"),
    ({"kernel": ["x"]}, "data.kernel: found"),
    ({"extensions": [1]}, "allowed: names"),
    ({"test": {"Mine": 3}}, "data.test.Mine: found 3"),
    ({"test": "Mine"}, "is not a folder"),
]


def test_a_saved_config_of_any_content_is_survived(trained, tmp_path, capsys):
    path = trained / "1/.hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    for data, said in WRONG_DATA:
        path.write_text(yaml.safe_dump(config | {"data": config["data"] | data}))
        assert main(["runs=runs/1", "output=out", "plots=false", "device=cpu"]) == 0
        assert said in capsys.readouterr().out
    assert not Path("bad").exists()


def test_an_evaluation_and_a_run_stand_on_one_page(trained, tmp_path):
    assert main(["runs=[evaluation1,runs/2]", "output=out", "plots=false", "max_images=2", "device=cpu"]) == 0
    (group,) = data_of(tmp_path / "out/compare.html")["groups"]
    assert group["methods"][:2] == ["HR", "bicubic"]
    assert len(group["methods"]) == 4
    assert all(None not in image["src"] for image in group["images"])


def test_an_evaluation_of_two_methods_is_named_after_them(tmp_path, folder):
    saved = [save_network(tmp_path / f"{i}.ckpt", seed=i) for i in (1, 2)]
    methods = f"checkpoint={{mine: {saved[0]}, theirs: {saved[1]}}}"
    assert evaluate([methods, f"+data.test.Mine={folder}", "sets=[Mine]", *QUICK]) == 0
    assert main([f"runs={only_run()}", "output=out", "plots=false", "max_images=1", "device=cpu"]) == 0
    assert data_of(tmp_path / "out/compare.html")["title"] in (
        "Comparison of mine, theirs",
        "Comparison of theirs, mine",
    )


OWN_NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, scale, gain):
        super().__init__()
        self.scale, self.weight = scale, nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        return self.weight * nn.functional.interpolate(x, scale_factor=self.scale)
"""


def test_a_network_of_ones_own_is_shown_by_the_line_that_is_told(trained, folder, tmp_path, monkeypatch, capsys):
    """Nothing is run because a file names it; classes of sections that are not built do not matter at all."""
    (tmp_path / "own_net.py").write_text(OWN_NET)
    monkeypatch.syspath_prepend(tmp_path)
    path = trained / "1/.hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    section = {"_target_": "own_net.Net", "scale": "${scale}", "gain": 0.5}
    path.write_text(
        yaml.safe_dump(config | {"model": section, "callbacks": {"mine": {"_target_": "own_net.Callback"}}})
    )
    stored = {"model": section | {"scale": 4}, "scale": [4], "seed": 1, "data": {"train_dir": ["/x/T91"]}}
    state = {"state_dict": {"net.weight": torch.tensor(0.5)}, "sr_lightning": {"format": 1, "config": stored}}
    torch.save(state, trained / "1/checkpoints/best.ckpt")
    assert main(["runs=runs/1", "output=out", "plots=false", "device=cpu"]) == 0
    assert "own_net" not in sys.modules
    line = capsys.readouterr().out.partition("named in runs, too: ")[2].splitlines()[0]
    typed = shlex.split(line)
    assert typed[:4] == ["python", "-m", "sr_lightning.evaluate", "checkpoint=runs/1"]
    assert evaluate([*typed[3:], f"+data.test.Mine={folder}", *QUICK]) == 0
    run = only_run()
    monkeypatch.delitem(sys.modules, "own_net")
    assert main([f"runs=[runs/2,{run}]", "output=out", "plots=false", "device=cpu"]) == 0
    assert "own_net" not in sys.modules
    (group,) = data_of(tmp_path / "out/compare.html")["groups"]
    assert len(group["methods"]) == 4
    assert all(None not in image["src"] for image in group["images"])


def test_table_and_page_are_an_artifact_of_weights_and_biases(tmp_path, capsys):
    """Read back from the offline run; the same command again is the same W&B run, in the sweep's group."""
    make_sweep(tmp_path / "runs/sweep/s")
    ids = []
    for plots in ("plots=true", "plots=false"):
        assert main(["runs=runs/sweep/s", "images=false", plots, "logger=wandb"]) == 0
        assert "wandb sync runs/sweep/s/compare/wandb/latest-run" in capsys.readouterr().out
        where, found = wandb_records(tmp_path / "runs/sweep/s/compare")
        (run,) = found["run"]
        assert (run["job_type"], run["run_group"], run["display_name"]) == ("compare", "s", "s/compare")
        assert "sr_lightning.compare runs=runs/sweep/s" in run["notes"]
        (kept,) = (artifact for artifact in found["artifact"] if artifact["type"] == "comparison")
        names = {file["path"] for file in kept["manifest"]["contents"]}
        assert {"table.md", "table.tex", "table.csv", "compare.html"} <= names
        assert ("plots/x4_curves.svg" in names) == (plots == "plots=true")
        (table,) = (where / "files/media/table/compare").glob("runs*.json")
        table = json.loads(table.read_text())
        column = dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True))
        assert column["loss.beta"][:2] == (0, 0)
        assert column["status"].count("failed") == 1
        ids.append(run["run_id"])
        shutil.move(where, tmp_path / plots)
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("logger=tensorboard", "logger.tensorboard: found sr_lightning.loggers."),
        ("logger.wandb.mode=offlin", "logger.wandb.mode: found 'offlin'"),
        ("logger.wandb.mode=online", "logger.wandb.mode: online needs an API key"),
    ],
)
def test_where_a_comparison_cannot_go(typed, said, tmp_path, capsys):
    make_run(tmp_path / "a")
    assert main(["runs=a", *FAST, *([] if "wandb" not in typed else ["logger=wandb"]), typed]) == 2
    assert said in capsys.readouterr().err
