"""The command, in this process: what a user types, what is written, what it answers."""

import csv
import hashlib
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from helpers.equality import bit_identical
from helpers.wandb_offline import wandb_records
from sr_lightning.builders.training import build_optimizer
from sr_lightning.evaluate import main as evaluate
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def only_run(kind="train"):
    (path,) = Path("runs", kind).iterdir()
    return path


def metrics(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def weights(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_a_run_leaves_what_the_contract_names(tiny, capsys):
    assert main(tiny) == 0
    run = only_run()
    for name in (".hydra/config.yaml", "train.log", "metrics.csv", "results.json", "per_image.csv"):
        assert (run / name).is_file(), name
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    out = capsys.readouterr().out
    assert out.index("run folder: runs") < out.index("loading torch") < out.index("bicubic")
    assert f"run folder  {run}" in out
    names = set(itertools.chain.from_iterable(metrics(run)))
    for name in ("train/loss", "train/loss/pixel", "val/heldout/x4/psnr_y", "val/heldout/x4/ssim_y", "val/psnr_y"):
        assert name in names
    assert {"val/gain", "time/data_wait", "lr", "test/heldout/x4/psnr_y"} <= names
    document = json.loads((run / "results.json").read_text())
    assert [(r["set"], r["scale"], r["method"], r["images"]) for r in document["rows"]] == [
        ("heldout", 4, "bicubic", 2),
        ("heldout", 4, "EDSR", 2),
    ]
    assert {p.name for p in (run / "samples").iterdir()} >= {"test_heldout_x4_img_1.png", "test_heldout_x4_img_4.png"}
    best = max(float(row["val/gain"]) for row in metrics(run) if row["val/gain"])
    assert document["objective"] == pytest.approx(best, abs=1e-5)
    # No test set is named: what chose the checkpoint is not called a test.
    assert "test: none (the validation images are scored at the end)" in (run / "train.log").read_text()
    assert "Validation images, which chose the checkpoint (no data.test)" in out
    assert document["split"] == "validation"
    checksum = hashlib.sha256((run / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()
    assert [row.get("checkpoint_sha256") for row in document["rows"]] == [None, checksum]


def test_bicubics_row_is_an_independent_bicubic(tiny, folder):
    """With nothing learned yet the network with a bicubic skip is bicubic, and both rows agree."""
    assert main([*tiny, "trainer.max_steps=1", "trainer.val_check_interval=1", "optimizer.lr=1e-12"]) == 0
    bicubic, net = json.loads((only_run() / "results.json").read_text())["rows"]
    assert net["psnr_y"] == pytest.approx(bicubic["psnr_y"], abs=0.02)  # LR is rounded either way; SR once


@pytest.mark.fault("T2", "bit-equal, the same folder")
def test_continued_is_as_if_never_stopped(tiny):
    settings = [*tiny, "trainer.max_steps=6", "scheduler=multistep", "optimizer.lr=1e-3"]
    assert main([*settings, "paths.runs=straight"]) == 0
    straight = next(Path("straight/train").iterdir())

    class Stop(Exception):
        pass

    from sr_lightning.callbacks import Checkpoints

    real = Checkpoints.on_validation_end

    def killed(self, trainer, module):
        real(self, trainer, module)
        if trainer.global_step == 4:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_validation_end", killed)
        assert main(settings) == 1
    stopped = only_run()
    assert not (stopped / "results.json").exists()
    assert main(["ckpt_path=last"]) == 0
    assert only_run() == stopped
    assert bit_identical(weights(stopped), weights(straight))
    assert bit_identical(weights(stopped, "best"), weights(straight, "best"))
    columns = ("step", "train/loss", "val/psnr_y", "lr")
    rows = [[[row[c] for c in columns] for row in metrics(run)] for run in (straight, stopped)]
    assert rows[0] == rows[1]
    results = [json.loads((run / "results.json").read_text())["rows"] for run in (straight, stopped)]
    assert [r["psnr_y"] for r in results[0]] == [r["psnr_y"] for r in results[1]]


def test_a_profile_is_made_for_who_asks(tiny):
    wanted = "{_target_: lightning.pytorch.profilers.SimpleProfiler, dirpath: ., filename: times}"
    assert main([*tiny, "trainer.max_steps=2", f"+trainer.profiler={wanted}"]) == 0
    assert "run_training_batch" in Path("fit-times.txt").read_text()


@pytest.mark.parametrize(("given", "fused"), [({}, True), ({"fused": False}, False), ({"foreach": True}, None)])
def test_an_optimizer_is_fused_where_it_can_be(given, fused):
    (weight,) = nn.Linear(1, 1, bias=False).parameters()
    made = build_optimizer({"_target_": "torch.optim.Adam", "lr": 1e-3, **given}, "optimizer")([weight])
    assert made.param_groups[0]["fused"] is fused


def test_gradients_are_clipped_with_a_fused_optimizer_under_mixed_precision(tiny):
    """Lightning refuses to where an optimizer says that it unscales gradients itself."""
    settings = ["trainer.precision=bf16-mixed", "trainer.max_steps=1", "optimizer=sgd", "optimizer.momentum=0"]
    settings += ["optimizer.lr=1", "scheduler=constant", "trainer.val_check_interval=1"]
    for name, clip in (("before", 1e-9), ("after", 1e-3)):
        assert main([*tiny, *settings, f"trainer.gradient_clip_val={clip}", f"paths.runs={name}"]) == 0
    before, after = (weights(next(Path(name, "train").iterdir())) for name in ("before", "after"))
    moved = torch.stack([(after[key] - before[key]).square().sum() for key in before]).sum().sqrt()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_a_finished_run_goes_on_with_more_steps(tiny):
    assert main(tiny) == 0
    run = only_run()
    assert main([f"ckpt_path={run}", "trainer.max_steps=8"]) == 0
    assert only_run() == run
    assert [int(row["step"]) for row in metrics(run) if row["train/loss"]] == list(range(1, 9))
    assert json.loads((run / "results.json").read_text())["steps"] == 8


@pytest.mark.fault("T4", "saved at the step, status 143, bit-equal after")
def test_a_signal_saves_the_step_and_is_the_exit_status(tiny, capsys):
    """The other signals: faults/test_stops.py."""
    from sr_lightning.callbacks import Throughput

    real = Throughput.on_train_batch_end

    def signalled(self, trainer, module, outputs, batch, batch_idx):
        real(self, trainer, module, outputs, batch, batch_idx)
        if trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Throughput, "on_train_batch_end", signalled)
        assert main(tiny) == 143
    assert signal.getsignal(signal.SIGTERM) == before
    run = only_run()
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert f"ckpt_path={run}" in capsys.readouterr().out
    assert main([f"ckpt_path={run}"]) == 0
    assert (run / "results.json").exists()
    assert main([*tiny, "paths.runs=straight"]) == 0
    assert bit_identical(weights(run), weights(next(Path("straight/train").iterdir())))


@pytest.mark.fault("T7", "status 1, checkpoints finite")
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_finite_checkpoint(tiny, capsys):
    assert (
        main([*tiny, "optimizer=sgd", "optimizer.lr=1e12", "trainer.max_steps=50", "trainer.val_check_interval=50"])
        == 1
    )
    err = capsys.readouterr().err
    assert "the loss is not finite at step" in err
    assert "pixel" in err
    assert "Traceback" not in err
    for path in (only_run() / "checkpoints").glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.isfinite(value).all() for value in state.values())


def test_a_sweep_runs_every_job_and_one_failure_does_not_end_it(tiny, capsys):
    from sr_lightning.callbacks import Checkpoints

    real = Checkpoints.on_validation_end

    def fails_at_x3(self, trainer, module):
        if trainer.datamodule.scales == [3]:
            raise RuntimeError("broken on purpose")
        real(self, trainer, module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_validation_end", fails_at_x3)
        assert main(["-m", *tiny, "scale=2,3,4"]) == 1
    sweep = only_run("sweep")
    assert [(sweep / str(i) / "results.json").exists() for i in range(3)] == [True, False, True]
    out = capsys.readouterr().out
    assert "failed: broken on purpose" in out
    written = (sweep / "0" / "results.json").stat().st_mtime_ns
    assert main(["-m", *tiny, "scale=2,3,4", f"hydra.sweep.dir={sweep}"]) == 0
    assert (sweep / "1" / "results.json").exists()
    assert (sweep / "0" / "results.json").stat().st_mtime_ns == written
    assert capsys.readouterr().out.count("done before") == 2
    assert main(["-m", *tiny, "scale=4,3,2", f"hydra.sweep.dir={sweep}"]) == 2
    assert "was run with another config" in capsys.readouterr().err


def test_a_multi_scale_run_validates_every_scale(tiny):
    settings = [a for a in tiny if not a.startswith("model.")]
    small = ["model=mdsr_baseline", "model.n_feats=4", "model.n_resblocks=1", "scale=[2,3,4]"]
    assert main([*settings, *small]) == 0
    document = json.loads((only_run() / "results.json").read_text())
    assert [r["scale"] for r in document["rows"]] == [2, 2, 3, 3, 4, 4]
    last = [row for row in metrics(only_run()) if row["val/psnr_y"]][-1]
    means = [float(last[f"val/heldout/x{s}/psnr_y"]) for s in (2, 3, 4)]
    assert float(last["val/psnr_y"]) == pytest.approx(sum(means) / 3, abs=1e-4)


def test_the_perceptual_loss_runs_and_leaves_no_trace_in_the_checkpoint(tiny):
    """`loss.beta=0.01` on a machine without a network."""
    assert main([*tiny, "loss.beta=0.01", "trainer.max_steps=2"]) == 0
    run = only_run()
    assert float(metrics(run)[0]["train/loss/perceptual"]) > 0
    assert all(key.startswith("net.") for key in weights(run))
    row = metrics(run)[0]
    total = float(row["train/loss/pixel"]) + 0.01 * float(row["train/loss/perceptual"])
    assert float(row["train/loss"]) == pytest.approx(total, rel=1e-4)
    assert json.loads((run / "results.json").read_text())["rows"][1]["params"] < 10_000


def test_a_perceptual_loss_of_a_y_only_network(tiny):
    settings = [a for a in tiny if not a.startswith("model.")]
    assert main([*settings, "model=espcn", "loss.beta=0.1"]) == 0
    row = metrics(only_run())[0]
    total = float(row["train/loss/pixel"]) + 0.1 * float(row["train/loss/perceptual"])
    assert float(row["train/loss"]) == pytest.approx(total, rel=1e-4)


def test_warm_start(tiny, capsys):
    assert main(tiny) == 0
    again = [
        *tiny,
        f"model.weights={only_run()}",
        "optimizer.lr=1e-12",
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
    ]
    assert main([*again, "paths.runs=other"]) == 0
    other = next(Path("other/train").iterdir())
    for key, value in weights(only_run(), "best").items():
        torch.testing.assert_close(weights(other)[key], value, atol=1e-6, rtol=0)
    assert main([*again, "model.n_feats=5"]) == 2
    assert "does not fit EDSR" in capsys.readouterr().err


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


def test_a_shipped_sweep_runs(tiny):
    """That the others compose: tests/cli/test_sweep.py."""
    short = ["trainer.max_steps=1", "trainer.val_check_interval=1", "loss.perceptual.layers={stride2: 1}"]
    assert main([*tiny, "sweep=loss_weights", "loss.beta=0,0.01", *short]) == 0
    assert len(list(only_run("sweep").glob("*/results.json"))) == 2


def test_the_images_of_the_paired_preset(folder, tiny):
    lr = folder.parent / "X4"
    lr.mkdir()
    for path in folder.iterdir():
        image = Image.open(path)
        image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX).save(lr / f"{path.stem}x4.png")
    settings = [a for a in tiny if a != "data=folder"]
    assert main(["data=paired", f"data.train_lr_dir={lr.parent}/X{{scale}}", *settings]) == 0
    assert json.loads((only_run() / "results.json").read_text())["rows"][0]["images"] == 2


def test_wandb_offline_can_be_read_back(tiny, monkeypatch):
    """Config, loss terms, rate, both methods' figures, throughput, images, table, tags and group; no secret, no diff.

    The summary holds the best validation, not the last.
    """
    monkeypatch.setenv("WANDB_API_KEY", "a1b2c3d4e5" * 4)
    settings = [a for a in tiny if a != "logger=csv"]
    for text in ("clean", f"key = {'a1b2c3d4e5' * 4}"):  # W&B would record what differs from the last commit
        Path("notes.txt").write_text(text)
        if text == "clean":
            git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
            for command in (["init", "-q"], ["add", "notes.txt"], ["commit", "-qm", "first"]):
                subprocess.run([*git, *command], check=True)
    wandb = ["logger.wandb.tags=[a,b]", "logger.wandb.artifacts=best"]
    assert main(["-m", *settings, "loss.alpha=1,2", *wandb]) == 0
    sweep = only_run("sweep")
    ids = set()
    for job, alpha in (("0", 1.0), ("1", 2.0)):
        path, found = wandb_records(sweep / job)
        (run,) = found["run"]
        assert (run["run_group"], run["tags"]) == (sweep.name, ["a", "b"])
        assert (run["job_type"], run["display_name"]) == ("train", f"{sweep.name}/{job}")
        assert "loss.alpha=1,2" in run["notes"]
        assert not [record for record in found["environment"] if "git" in record]
        (model,) = (artifact for artifact in found["artifact"] if artifact["type"] == "model")
        assert [file["path"] for file in model["manifest"]["contents"]] == ["best.ckpt"]
        assert "test/heldout/x4/psnr_y" in json.loads(model["metadata"])
        ids.add(run["run_id"])
        config = found["config"][0]["update"]
        assert config["loss"]["alpha"] == alpha
        assert config["data"]["patch_size"] == 12
        assert (config["scale"], config["run"]["parameters"] > 0) == (4, True)
        assert config["run"]["multiply_adds"] > 0
        logged = set().union(*(record["item"] for record in found["history"]))
        throughput = ("time/data_wait", "time/samples_per_s", "time/minutes")
        for name in ("train/loss", "train/loss/pixel", "train/grad_norm", "lr", *throughput):
            assert name in logged
        rows = [record["item"] for record in found["history"]]
        summary = {}
        for record in found["summary"]:
            summary |= record["update"]
        for name in ("val/psnr_y", "val/ssim_y", "val/gain", "val/heldout/x4/psnr_y"):
            values = [row[name] for row in rows if name in row]
            assert len(values) == 2
            assert summary[name]["max"] == max(values)
        for name in ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y"):
            assert f"val/heldout/x4/{name}" in logged
            assert f"test/heldout/x4/{name}" in logged
        assert found["exit"][0].get("exit_code", 0) == 0
        (key,) = {name.partition(".")[0] for name in logged if name.startswith("samples/")}
        assert key == "samples/heldout_x4_img_1"  # of both validations
        assert len(list((path / "files/media/images/samples").glob("*.png"))) == 2
        (table,) = (path / "files/media/table/test").glob("images*.json")
        table = json.loads(table.read_text())
        assert {row[3] for row in table["data"]} == {"img_1.png", "img_4.png"}
        gains = [row[table["columns"].index("gain")] for row in table["data"]]
        assert gains == sorted(gains, reverse=True)
        assert table["columns"][-5:] == ["LR", "bicubic", "SR", "HR", "error"]
        assert table["data"][0][-5:] == ["Image"] * 5  # the pixels are in the table's artifact
        for file in (sweep / job).rglob("*"):
            assert not file.is_file() or b"a1b2c3d4e5" not in file.read_bytes(), file
    assert len(ids) == 2


def test_a_failed_run_says_so_in_wandb(tiny):
    settings = [a for a in tiny if a != "logger=csv"]
    assert main([*settings, "optimizer=sgd", "optimizer.lr=1e12", "trainer.max_steps=50"]) == 1
    assert wandb_records(only_run())[1]["exit"][0]["exit_code"] == 1


def test_a_continued_run_is_the_same_run_in_wandb_and_its_newest_file_shows_all_of_it(tiny):
    """Rows and images of the piece before stayed in its file; what was logged after the checkpoint is not repeated."""
    settings = [a for a in tiny if a != "logger=csv"]
    assert main([*settings, "hydra.run.dir=a", "scheduler=constant"]) == 0
    path, first = wandb_records(Path("a"))
    path.rename("first")
    Path("a/samples/step0000099_heldout_x4_img_1.png").write_bytes(b"of no validation that counts")
    Path("a/samples/step0000002_heldout_x4_img_4.png").write_bytes(b"no image")
    assert main(["ckpt_path=a", "trainer.max_steps=6", "allow_change=[scheduler]"]) == 0
    again = wandb_records(Path("a"))[1]
    assert again["run"][0]["run_id"] == first["run"][0]["run_id"]
    rows = [record["item"] for record in again["history"]]
    steps = [row["trainer/global_step"] for row in rows if "train/loss" in row]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [row["trainer/global_step"] for row in rows if "samples/heldout_x4_img_1._type" in row] == [2, 4, 6]


def test_two_runs_of_one_second_get_two_folders(tiny, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "2026-01-01_00-00-00")
    short = [*tiny, "trainer.max_steps=1", "trainer.val_check_interval=1"]
    assert main(short) == 0
    assert main(short) == 0
    assert sorted(path.name for path in Path("runs/train").iterdir()) == [
        "2026-01-01_00-00-00",
        "2026-01-01_00-00-00_2",
    ]


@pytest.mark.fault("T12", "refused")
def test_a_folder_that_holds_a_run_is_not_written_into(tiny, capsys):
    short = [*tiny, "trainer.max_steps=1", "trainer.val_check_interval=1", "hydra.run.dir=mine, a=b"]
    assert main(short) == 0
    before = Path("mine, a=b/metrics.csv").read_text()
    assert main(short) == 2
    assert "mine, a=b holds a run; allowed: a new folder, or ckpt_path=" in capsys.readouterr().err
    assert Path("mine, a=b/metrics.csv").read_text() == before


def test_a_run_that_never_began_leaves_no_folder(tiny, capsys):
    assert main([*tiny, "data.patch_size=500"]) == 2
    assert "needs images of 2000 pixels" in capsys.readouterr().err
    assert list(Path("runs/train").iterdir()) == []


@pytest.mark.fault("T6", "refused at the start")
def test_a_folder_for_runs_that_cannot_be_made_is_named(tiny, capsys):
    Path("file").touch()
    assert main([*tiny, "paths.runs=file"]) == 2
    assert "paths.runs: cannot create file/train" in capsys.readouterr().err


def test_no_network_is_asked_for_in_a_default_run(tiny, monkeypatch):
    """W&B offline, EfficientNet's weights and the sample images: nothing is looked up or connected to."""
    import socket

    def refused(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    settings = [a for a in tiny if not a.startswith(("logger", "data"))]
    assert main([*settings, "loss.beta=0.01", "data.patch_size=16", "trainer.max_steps=2"]) == 0


def test_the_average_of_the_weights_is_kept_beside_the_raw_ones(tiny):
    settings = [*tiny, "callbacks=ema", "callbacks.ema.decay=0.5", "scheduler=constant"]
    from sr_lightning.callbacks import Checkpoints

    raw, real = [], Checkpoints.on_train_batch_end

    def noted(self, trainer, module, *arguments):
        raw.append({f"net.{key}": value.clone() for key, value in module.net.state_dict().items()})
        real(self, trainer, module, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", noted)
        assert main(settings) == 0
    checkpoint = torch.load(only_run() / "checkpoints/last.ckpt", weights_only=True)
    average = raw[0]
    for step in raw[1:]:
        average = {key: 0.5 * value + 0.5 * step[key] for key, value in average.items()}
    for key, value in average.items():
        torch.testing.assert_close(checkpoint["state_dict"][key], value)
        torch.testing.assert_close(checkpoint["current_model_state"][key], raw[-1][key])
    assert not bit_identical(checkpoint["state_dict"], checkpoint["current_model_state"])


def test_the_network_is_compiled_in_place_so_that_its_weights_keep_their_names(tiny, monkeypatch):
    """What `torch.compile` returns has `_orig_mod.` before each name. That a compiled step is the same one is slow."""
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    assert main([*tiny, "compile=true", "trainer.max_steps=1", "trainer.val_check_interval=1"]) == 0
    assert compiled == ["EDSR"]
    assert not any("_orig_mod" in key for key in weights(only_run()))


@pytest.mark.slow
def test_compiled_training_makes_the_same_weights(tiny, monkeypatch):
    """With torch's own backend that runs the traced graph as it is, so that no compiler is needed."""
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: real(self, backend="aot_eager"))
    assert main(tiny) == 0
    assert main([*tiny, "compile=true", "paths.runs=compiled"]) == 0
    compiled = next(Path("compiled/train").iterdir())
    for key, value in weights(only_run()).items():
        torch.testing.assert_close(weights(compiled)[key], value, atol=1e-4, rtol=1e-3)


def test_every_shipped_loss_term_is_switched_on_by_its_weight(tiny):
    terms = ["ssim", "ms_ssim", "gradient", "tv", "frequency", "focal_frequency", "style"]
    short = ["trainer.max_steps=1", "trainer.val_check_interval=1"]
    assert main([*tiny, *short, *(f"loss.terms.{term}.weight=0.1" for term in terms)]) == 0
    (row, *_) = metrics(only_run())
    assert [term for term in terms if not float(row[f"train/loss/{term}"]) > 0] == []
    assert "train/loss/lpips" not in row


def test_the_suggested_evaluation_sees_the_images_of_the_test(folder, tiny, capsys):
    """Ready-made LR and the choice of files were left out of it, so that it measured something else."""
    lr = folder.parent / "LR of mine"
    lr.mkdir()
    for name in ("img_0.png", "img_1.png"):
        image = Image.open(folder / name)
        image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX).save(lr / name)
    settings = [*tiny, f"+data.test.Mine={{hr: {folder}, lr: {lr}, files: [img_0.png, img_1.png]}}"]
    assert main([*settings, "trainer.max_steps=1", "trainer.val_check_interval=1"]) == 0
    out = capsys.readouterr().out
    (command,) = re.findall(r"sr_lightning\.evaluate (.*(?:\\\n.*)*)", out)
    assert evaluate([*shlex.split(command.replace("\\\n", "")), "cost=false", "logger=csv"]) == 0
    rows = [json.loads((only_run(kind) / "results.json").read_text())["rows"] for kind in ("train", "evaluate")]
    assert [(r["set"], r["images"], r["psnr_y"]) for r in rows[0]] == [
        (r["set"], r["images"], r["psnr_y"]) for r in rows[1]
    ]


def test_a_run_without_test_sets_ends_well(tiny, capsys):
    """The line that suggests an evaluation ended it in a traceback, after all was done."""
    assert main([*tiny, "data.test=null", "trainer.max_steps=1", "trainer.val_check_interval=1"]) == 0
    assert "sr_lightning.evaluate" in capsys.readouterr().out
