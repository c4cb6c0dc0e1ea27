"""Several processes: the same numbers as one, and never a hang."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sr_lightning.cli.launcher import processes
from sr_lightning.config.schema import TrainConfig
from sr_lightning.data.datasets import EvalImages
from sr_lightning.errors import UserError
from sr_lightning.runs.folder import claim_folder, folder_overrides, remove_unused
from sr_lightning.runs.lock import locked
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def config(**trainer):
    names = ("paths", "data", "model", "loss", "optimizer", "scheduler", "callbacks", "logger")
    sections = {name: {} for name in names}
    return TrainConfig(scale=[4], seed=1, ckpt_path=None, compile=False, trainer=trainer, **sections)


def test_how_many_processes(monkeypatch):
    assert processes(config(devices=1)) == 1
    assert processes(config(devices=3, accelerator="cpu")) == 3
    assert processes(config(devices=[0, 2])) == 2
    assert processes(config(devices="auto", accelerator="cpu")) == 1
    with pytest.raises(UserError, match=r"trainer\.num_nodes: found 2.*torchrun or srun"):
        processes(config(devices=1, num_nodes=2))
    monkeypatch.setenv("LOCAL_RANK", "1")  # torchrun has started them
    assert processes(config(devices=8, num_nodes=2)) == 1


@pytest.mark.parametrize(("images", "ranks"), [(1, 2), (5, 2), (3, 8), (6, 3), (0, 2)])
@pytest.mark.fault("P4", "each image once, no process waits")
def test_each_image_on_one_rank_and_equally_many_steps_on_each(images, ranks):
    class Set(list):
        hr = range(images)

    data = EvalImages([Set()], [4])
    shares = [list(data.share(rank, ranks)) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(i for share in shares for i in share if i < images) == list(range(images))


def test_under_srun_all_ranks_use_the_folder_that_the_first_names(tmp_path, monkeypatch):
    root = tmp_path / "my runs, all"
    for key, value in (("JOB_ID", "7"), ("STEP_ID", "0"), ("STEP_NUM_TASKS", "2"), ("PROCID", "0")):
        monkeypatch.setenv(f"SLURM_{key}", value)
    leave = []
    monkeypatch.setattr("atexit.register", lambda call, **arguments: leave.append(lambda: call(**arguments)))
    folder = claim_folder("train", root, None, is_sweep=False)
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert claim_folder("train", root, None, is_sweep=False) == folder
    for name in ("train.log", "train_rank1.log"):
        (folder / name).touch()
    remove_unused(folder, "train")
    assert folder.exists()  # the first rank's business
    monkeypatch.setenv("SLURM_PROCID", "0")
    remove_unused(folder, "train")
    for call in leave:
        call()
    assert list((root / "train").iterdir()) == []


def test_under_srun_only_the_first_rank_judges_and_writes_into_a_folder_that_the_user_names(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    for key, value in (("STEP_NUM_TASKS", "2"), ("PROCID", "0")):
        monkeypatch.setenv(f"SLURM_{key}", value)
    assert claim_folder("train", tmp_path, mine, is_sweep=False) == mine
    assert folder_overrides("train", mine, is_sweep=False) == [f"hydra.run.dir='{mine}'"]
    mine.mkdir()
    (mine / "metrics.csv").touch()  # the first has begun
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert claim_folder("train", tmp_path, mine, is_sweep=False) == mine
    others = folder_overrides("train", mine, is_sweep=False)[1:]
    assert others == ["hydra.output_subdir=null", "hydra.job.name=train_rank1"]
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(UserError, match="holds a run"):
        claim_folder("train", tmp_path, mine, is_sweep=False)


@pytest.mark.fault("P4", "the figures of one process")
@pytest.mark.fault("P5", "the weights of one process")
def test_two_processes_give_the_numbers_of_one_in_a_sweep_too(tiny):
    """Weights within float32's rounding, and so the figures. One image is held out, so that a rank has none."""
    settings = [a for a in tiny if not a.startswith(("trainer=", "data.val_holdout"))]
    settings += ["data.val_holdout=1", "optimizer.lr=1e-3"]
    assert main(["-m", *settings, "trainer=ddp_sim", "hydra.sweep.dir=two"]) == 0
    assert main(["-m", *settings, "trainer=cpu", "hydra.sweep.dir=one"]) == 0
    states = [
        torch.load(Path(name, "0/checkpoints/last.ckpt"), weights_only=True)["state_dict"] for name in ("one", "two")
    ]
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, atol=1e-5, rtol=1e-4)
    rows = [json.loads(Path(name, "0/results.json").read_text())["rows"] for name in ("one", "two")]
    for one, two in zip(*rows, strict=True):
        assert one["images"] == two["images"] == 1
        assert two["psnr_y"] == pytest.approx(one["psnr_y"], abs=1e-2)
        assert two["ssim_y"] == pytest.approx(one["ssim_y"], abs=1e-4)
    assert not Path("two/0/ranks").exists()


@pytest.mark.slow
@pytest.mark.fault("P1", "all end, status 1, the process named")
def test_a_dead_process_ends_the_others(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "import os\nfrom lightning.pytorch import Callback\n"
        "class Dies(Callback):\n"
        "    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):\n"
        "        if trainer.global_rank == 1 and trainer.global_step == 2:\n            os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    settings = [a for a in tiny if not a.startswith("trainer=")]
    assert main([*settings, "trainer=ddp_sim", "trainer.max_steps=100000", "+callbacks.dies._target_=mine.Dies"]) == 1
    assert "process 1 of 2 ended with status -9" in capsys.readouterr().err


@pytest.mark.slow
def test_a_mistake_that_only_the_processes_find_is_told_once_and_leaves_no_folder(tiny, capfd):
    settings = [a for a in tiny if not a.startswith("trainer=")]
    assert main([*settings, "trainer=ddp_sim", "data.patch_size=500"]) == 2
    err = capfd.readouterr().err
    assert err.count("needs images of 2000 pixels") == 1
    assert "Traceback" not in err
    assert list(Path("runs/train").iterdir()) == []


PARENT = """
import os, subprocess, sys, time
from pathlib import Path
from sr_lightning.runs.lock import held_locks, locked
with locked(Path("a"), "x"):
    command = [sys.executable, "-c", sys.argv[1], str(os.getpid()), *map(str, held_locks())]
    child = subprocess.Popen(command, pass_fds=held_locks())
    time.sleep(100)
"""
CHILD = """
import sys, time
from pathlib import Path
from sr_lightning.distributed.parent import end_with_parent
from sr_lightning.runs.lock import inherit_locks
{}
end_with_parent(int(sys.argv[1]))
inherit_locks(map(int, sys.argv[2:]))
Path("begun").touch()
time.sleep(100)
"""
WAIT = "Path('starting').touch()\nwhile not Path('go').exists(): time.sleep(0.01)"


def until(holds):
    deadline = time.monotonic() + 200
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_free():
    try:
        with locked(Path("a"), "x"):
            return True
    except UserError:
        return False


@pytest.mark.fault("T21", "the processes end with it, and hold the folder until then")
@pytest.mark.parametrize("moment", ["starting", "begun"])
def test_the_processes_end_when_their_parent_is_killed(moment):
    """One that was just starting trained to its end, without a lock, beside the same command typed again."""
    code = CHILD.format(WAIT if moment == "starting" else "")
    with subprocess.Popen([sys.executable, "-c", PARENT, code], start_new_session=True) as parent:
        until(Path(moment).exists)
        assert not is_free()
        parent.kill()
        parent.wait()
        if moment == "starting":
            assert not is_free()  # nobody learns of the death before the child has asked
            Path("go").touch()
        until(is_free)
    assert not Path("begun").exists() or moment == "begun"
