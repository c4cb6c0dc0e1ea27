"""The folder of a run: in use by another, a file in its place, moved away, or named by other keys."""

import os
import signal
from pathlib import Path

import pytest

from helpers.faulty_runs import CONF, FORKS, SETTINGS, Fault, checked, run
from sr_lightning.errors import TrainingFailedError, UserError
from sr_lightning.runs.lock import locked
from sr_lightning.train import main

pytestmark = pytest.mark.usefixtures("_small_runs")


@pytest.mark.fault("T6", "a sentence that names it")
def test_a_folder_that_goes_away_is_named():
    def remove(trainer, module):
        Path("a").rename("elsewhere")

    with pytest.raises(TrainingFailedError, match=r"metrics\.csv: cannot be written any more .* moved away"):
        run(checked(), "a", Fault("on_train_batch_end", 3, remove))


@pytest.mark.fault("T12", "refused, nothing touched")
def test_a_second_run_in_a_folder_is_refused(capsys, tmp_path):
    folder = tmp_path / "a"
    with locked(folder, "hydra.run.dir"):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert main([*CONF, *SETTINGS, f"hydra.run.dir={folder}"]) == 2
        assert main([*CONF, "-m", *SETTINGS, f"hydra.sweep.dir={folder}"]) == 2
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
        err = capsys.readouterr().err
        for key in ("hydra.run.dir", "hydra.sweep.dir"):
            assert f"{key}: {folder} is in use by another run (process {os.getpid()} on " in err
        (folder / ".hydra").mkdir()
        (folder / ".hydra/config.yaml").touch()
        assert main([f"ckpt_path={folder}"]) == 2
        assert "ckpt_path: " in capsys.readouterr().err


@pytest.mark.fault("T6", "refused at the start")
def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([*CONF, *SETTINGS, "hydra.run.dir=file/a"]) == 2
    assert "hydra.run.dir: cannot write into file/a: Not a directory" in capsys.readouterr().err


@pytest.mark.fault("T22", "refused: the folder that is meant holds a run")
def test_a_folder_put_together_from_other_keys_is_judged_by_what_it_means(tmp_path, capsys):
    """The second run replaced the results of the first, and the lock lay in a folder called `a/s${seed}`."""
    settings = [*CONF, *SETTINGS, "trainer.max_steps=1", "trainer.val_check_interval=1"]
    assert main([*settings, "hydra.run.dir=a/s${seed}", "seed=3"]) == 0
    assert sorted(path.name for path in Path("a").iterdir()) == ["s3"]
    before = Path("a/s3/results.json").read_bytes()
    for folder in ("a/s${seed}", "a/s3", "a/b/../s${seed}"):
        capsys.readouterr()
        assert main([*settings, f"hydra.run.dir={folder}", "seed=3"]) == 2
        assert "s3 holds a run" in capsys.readouterr().err
    assert Path("a/s3/results.json").read_bytes() == before
    assert main([*settings, "hydra.run.dir=a/s${nothing}"]) == 2
    assert "hydra.run.dir: " in capsys.readouterr().err


@pytest.mark.fault("T22", "the jobs that are done stay done; two in one folder are refused")
def test_a_sweep_whose_folders_are_put_together_from_other_keys(capsys):
    settings = [
        *CONF,
        "-m",
        *SETTINGS,
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
        "hydra.sweep.dir=s${scale}",
    ]
    assert main([*settings, "hydra.sweep.subdir=x${seed}", "seed=1,2", "scale=2"]) == 0
    assert sorted(path.name for path in Path("s2").iterdir() if path.is_dir()) == ["x1", "x2"]
    before = [Path(f"s2/x{seed}/results.json").read_bytes() for seed in (1, 2)]
    capsys.readouterr()
    assert main([*settings, "hydra.sweep.subdir=x${seed}", "seed=1,2", "scale=2"]) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert [Path(f"s2/x{seed}/results.json").read_bytes() for seed in (1, 2)] == before
    assert main([*settings, "hydra.sweep.subdir=x${scale}", "seed=1,2", "scale=2"]) == 2
    assert "the jobs 0 and 1 would both lie in 'x2'" in capsys.readouterr().err


@FORKS
@pytest.mark.fault("T12", "one gets the folder, and gives it back when it is killed")
def test_of_several_that_start_together_one_gets_the_folder(tmp_path):
    n = 6
    start, told, end = os.pipe(), os.pipe(), os.pipe()
    children = []
    for _ in range(n):
        if child := os.fork():
            children.append(child)
            continue
        os.close(end[1])
        os.read(start[0], 1)
        try:
            with locked(tmp_path, "x"):
                os.write(told[1], b"%8d" % os.getpid())
                os.read(end[0], 1)
        except UserError:
            os.write(told[1], b"%8d" % 0)
        os._exit(0)
    os.write(start[1], b"x" * n)
    answers = [int(os.read(told[0], 8)) for _ in range(n)]
    (winner,) = (answer for answer in answers if answer)
    with pytest.raises(UserError, match=f"in use by another run .process {winner} on "), locked(tmp_path, "x"):
        pass
    os.kill(winner, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    with locked(tmp_path, "x"):
        pass
    for descriptor in (*start, *told, *end):
        os.close(descriptor)
