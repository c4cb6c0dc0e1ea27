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
import yaml
from PIL import Image
from torch import nn

from helpers.equality import bit_identical
from helpers.wandb_offline import wandb_records
from sr_lightning.builders.training import build_optimizer
from sr_lightning.config.conf_files import conf_dir
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


@pytest.mark.parametrize(("given", "fused"), [({}, True), ({"fused": False}, False)])
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.fault("T4", "saved at the step, status 143 or 130, bit-equal after")
def test_a_signal_saves_the_step_and_is_the_exit_status(tiny, capsys, number):
    from sr_lightning.callbacks import Throughput

    real = Throughput.on_train_batch_end

    def signalled(self, trainer, module, outputs, batch, batch_idx):
        real(self, trainer, module, outputs, batch, batch_idx)
        if trainer.global_step == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Throughput, "on_train_batch_end", signalled)
        assert main(tiny) == 128 + number
    assert signal.getsignal(number) == before
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


def test_a_sweep_returns_the_objective(tiny):
    """As a sweeper such as Optuna gets it: the gain over bicubic of the best validation."""
    from sr_lightning.cli import main as entry

    found = []

    def task(config, run):
        from sr_lightning.train import train

        found.append(train(config, run))
        return found[-1]

    assert entry.run_command("train", task, ["-m", *tiny, "loss.alpha=1,2"]) == 0
    for i, value in enumerate(found):
        rows = metrics(only_run("sweep") / str(i))
        assert value == pytest.approx(max(float(r["val/gain"]) for r in rows if r["val/gain"]), abs=1e-5)


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


def shipped(group):
    """Its choices; an experiment in no folder is another's former name, which test_experiments compares."""
    root = Path(conf_dir(), group)
    depth = 2 if group == "experiment" else 1
    names = (path.relative_to(root).with_suffix("") for path in root.rglob("*.yaml"))
    return sorted(str(name) for name in names if len(name.parts) == depth)


ONE_STEP = ["trainer.max_steps=1", "trainer.val_check_interval=1", "data.batch_size=2", "data.patch_size=12"]


GROUPS = (
    "model",
    "loss",
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "degradation",
    "adversarial",
    "experiment",
    "debug",
    "logger",
)
# As they are these need minutes.
SMALLER = {
    "model=edsr": ["model.n_resblocks=1", "model.n_feats=8"],
    "model=mdsr": ["model.n_resblocks=1", "model.n_feats=8"],
    "experiment=papers/mdsr_baseline_x2_x3_x4": ["model.n_resblocks=1", "model.n_feats=8"],
    "experiment=papers/srgan_x4": ["model.n_resblocks=1", "model.n_feats=8", "adversarial.discriminator.n_feats=8"],
    "experiment=papers/esrgan_x4": ["model.n_blocks=1", "model.n_feats=8", "adversarial.discriminator.n_feats=8"],
    "model=rdn": ["model.n_blocks=2"],
    "model=rcan": ["model.n_groups=1", "model.n_blocks=2"],
    "model=rrdb": ["model.n_blocks=1"],
    "model=rfdn": ["data.patch_size=16"],
    "model=atd": ["model.depths=[1]", "model.num_heads=[4]"],
    "model=craft": ["model.depths=[1]", "model.num_heads=[6]"],
    "model=dat": ["model.depth=[2]"],
    "model=drct": ["model.depths=[1]", "model.num_heads=[6]"],
    "model=hat": ["model.depths=[1]", "model.num_heads=[6]"],
    "model=rgt": ["model.depth=[2]", "model.num_heads=[6]"],
    "model=swin2sr": ["model.depths=[1]", "model.num_heads=[6]"],
}


CHOICES = [f"{group}={name}" for group in GROUPS for name in shipped(group)]
CHOICES.remove("trainer=ddp_sim")  # test_launch trains with it
# What another choice of the default suite stands for: the same network at another scale, other groups' networks.
_ALIKE = re.compile(
    r"experiment=(quick/.*|pretrained/.*_(x2|x3|cycle[23]))|model=(atd|craft|dat|drct|mosr|omnisr|rgt|seemore)"
)


def one_step(choice):
    return pytest.param(choice, marks=pytest.mark.slow) if _ALIKE.fullmatch(choice) else choice


@pytest.mark.parametrize("choice", [one_step(choice) for choice in CHOICES])
def test_every_shipped_yaml_runs_one_step(choice, folder, monkeypatch):
    if choice in ("trainer=gpu", "trainer=ddp") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    root = folder.parent / "sr_data"
    for name in ("train/T91", "train/BSD200", "test/Set5", "test/Set14"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(folder)
    extra = root / "train/BSD200-extra"
    extra.mkdir()
    for name in yaml.safe_load(Path(conf_dir(), "data/t291.yaml").read_text())["val"]["BSDval"]["files"]:
        Image.open(folder / "img_4.png").save(extra / name)
    monkeypatch.setenv("SR_DATA", str(root))
    settings = [*ONE_STEP, choice, "callbacks.pictures=null"]
    if not choice.startswith("experiment"):
        settings += ["data=folder", f"data.train_dir={folder}", "data.val_holdout=1"]
    settings += SMALLER.get(choice, [])
    if not choice.startswith("logger"):
        settings += ["logger=csv"]
    if choice.startswith("callbacks"):
        settings.remove("callbacks.pictures=null")
    if choice == "model=bicubic":
        assert main(settings) == 2  # there is nothing to train
        return
    assert main(settings) == 0
    assert (only_run() / "results.json").exists()


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


def test_a_continued_run_is_the_same_run_in_wandb_and_a_failed_one_says_so(tiny):
    settings = [a for a in tiny if a != "logger=csv"]
    assert main([*settings, "optimizer=sgd", "optimizer.lr=1e12", "trainer.max_steps=50"]) == 1
    run = only_run()
    path, found = wandb_records(run)
    assert found["exit"][0]["exit_code"] == 1
    path.rename("first")
    assert main([f"ckpt_path={run}", "trainer.max_steps=3"]) in (0, 1)
    again = wandb_records(run)[1]
    assert again["run"][0]["run_id"] == found["run"][0]["run_id"]


def test_the_newest_file_of_a_continued_run_shows_all_of_it(tiny, monkeypatch):
    """Rows and images of the piece before stayed in its file; what was logged after the checkpoint is not repeated."""
    settings = [a for a in tiny if a != "logger=csv"]
    assert main([*settings, "hydra.run.dir=a", "scheduler=constant"]) == 0
    path, _ = wandb_records(Path("a"))
    path.rename("first")
    Path("a/samples/step0000099_heldout_x4_img_1.png").write_bytes(b"of no validation that counts")
    Path("a/samples/step0000002_heldout_x4_img_4.png").write_bytes(b"no image")
    assert main(["ckpt_path=a", "trainer.max_steps=6", "allow_change=[scheduler]"]) == 0
    rows = [record["item"] for record in wandb_records(Path("a"))[1]["history"]]
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


@pytest.mark.fault("T18", "the average continued")
def test_the_average_of_the_weights_is_validated_kept_beside_the_raw_ones_and_resumed(tiny):
    settings = [*tiny, "callbacks=ema", "callbacks.ema.decay=0.5", "scheduler=constant"]
    from sr_lightning.callbacks import Checkpoints

    raw, real = [], Checkpoints.on_train_batch_end

    def noted(self, trainer, module, *arguments):
        raw.append({f"net.{key}": value.clone() for key, value in module.net.state_dict().items()})
        real(self, trainer, module, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", noted)
        assert main([*settings, "paths.runs=straight"]) == 0
    straight = next(Path("straight/train").iterdir())
    checkpoint = torch.load(straight / "checkpoints/last.ckpt", weights_only=True)
    average = raw[0]
    for step in raw[1:]:
        average = {key: 0.5 * value + 0.5 * step[key] for key, value in average.items()}
    for key, value in average.items():
        torch.testing.assert_close(checkpoint["state_dict"][key], value)
        torch.testing.assert_close(checkpoint["current_model_state"][key], raw[-1][key])
    assert not bit_identical(checkpoint["state_dict"], checkpoint["current_model_state"])
    assert main([*settings, "trainer.max_steps=2"]) == 0
    run = only_run()
    assert main([f"ckpt_path={run}", "trainer.max_steps=4"]) == 0
    assert bit_identical(weights(run), checkpoint["state_dict"])


def test_compiled_training_leaves_the_names_of_the_weights(tiny, monkeypatch):
    """With torch's own backend that runs the traced graph as it is, so that no compiler is needed."""
    from torch import nn

    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: real(self, backend="aot_eager"))
    assert main(tiny) == 0
    assert main([*tiny, "compile=true", "paths.runs=compiled"]) == 0
    compiled = next(Path("compiled/train").iterdir())
    for key, value in weights(only_run()).items():
        torch.testing.assert_close(weights(compiled)[key], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("term", ["ssim", "ms_ssim", "gradient", "tv", "frequency", "focal_frequency", "style"])
def test_every_shipped_loss_term_is_switched_on_by_its_weight(term, tiny):
    settings = [*tiny, f"loss.terms.{term}.weight=0.1", "trainer.max_steps=1", "trainer.val_check_interval=1"]
    assert main(settings) == 0
    assert float(metrics(only_run())[0][f"train/loss/{term}"]) > 0
    assert "train/loss/tv" not in metrics(only_run())[0] or term == "tv"


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
