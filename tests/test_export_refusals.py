"""What `export` refuses, never replaces, and leaves nothing of where it fails."""

import errno
from pathlib import Path

import pytest

from sr_lightning.errors import FailedError
from sr_lightning.export import main
from sr_lightning.exporters import export_network

pytestmark = pytest.mark.usefixtures("_hydras_logging")

WEIGHTS = "edsr_tiny_y_x2"


def test_files_that_are_there_stay(capsys, tmp_path):
    Path("net.safetensors").write_text("mine")
    command = [f"checkpoint={WEIGHTS}", "format=safetensors", "output=net.safetensors"]
    assert main(command) == 2
    assert "output: net.safetensors is there; allowed: another output, or overwrite=true" in capsys.readouterr().err
    assert Path("net.safetensors").read_text() == "mine"
    assert main([*command, "overwrite=true"]) == 0
    assert main(["checkpoint=net.safetensors", "format=safetensors", "overwrite=true"]) == 2
    assert "net.safetensors is the checkpoint itself" in capsys.readouterr().err
    Path("net_upscale.py").write_text("mine")
    assert main([f"checkpoint={WEIGHTS}", "output=net.onnx", "runner=true"]) == 2
    assert "output: net_upscale.py is there" in capsys.readouterr().err
    assert not Path("net.onnx").exists()


def test_a_file_that_computes_something_else_leaves_nothing(capsys, monkeypatch, tmp_path):
    def wrong(*_, **__):
        raise FailedError("the file differs from the network by 0.5 at 1x1, 0.5 of the largest value; allowed: 0.0001")

    monkeypatch.setattr(export_network, "compare", wrong)
    assert main([f"checkpoint={WEIGHTS}", "format=safetensors"]) == 1
    assert "differs from the network by 0.5" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "checkpoint: must be given"),
        (["checkpoint=no.ckpt"], "checkpoint: no.ckpt is not there"),
        (["checkpoint=net.onnx"], "checkpoint: net.onnx has been exported; allowed: the checkpoint"),
        ([f"checkpoint={WEIGHTS}", "scale=4"], "scale: found 4: "),
        ([f"checkpoint={WEIGHTS}", "format=tflite"], "format: found 'tflite'"),
        ([f"checkpoint={WEIGHTS}", "precision=int8"], "precision: found 'int8'"),
        ([f"checkpoint={WEIGHTS}", "format=spandrel"], "spandrel has no architecture for EDSR"),
        ([f"checkpoint={WEIGHTS}", "format=spandrel", "runner=true"], "runner: found true with format=spandrel"),
        ([f"checkpoint={WEIGHTS}", "output=net.pth"], "output: found net.pth, allowed: a name that ends in .onnx"),
    ],
)
def test_mistakes_are_answered_before_any_work(arguments, said, capsys, tmp_path):
    Path("net.onnx").write_bytes(b"x")
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_network_that_spandrel_lacks_is_known_from_its_file_or_its_run(capsys, tmp_path):
    """Without torch; a network that it has, or that nothing tells, is left to the export."""
    for name, target in (("edsr", "EDSR"), ("rcan", "RCAN"), ("mine", None)):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "checkpoints/best.ckpt").write_bytes(b"no checkpoint")
        (tmp_path / name / ".hydra").mkdir()
        text = f"model: {{_target_: sr_lightning.models.{target}}}" if target else "model: ["
        (tmp_path / name / ".hydra/config.yaml").write_text(text)
    said = "format: spandrel has no architecture for EDSR, allowed: RRDBNet, SwinIR, SPAN, RCAN"
    for checkpoint, early in ((WEIGHTS, True), ("edsr", True), ("rcan", False), ("mine", False)):
        assert main([f"checkpoint={checkpoint}", "format=spandrel"]) == 2
        captured = capsys.readouterr()
        assert (said in captured.err, "loading torch" in captured.out) == (early, not early)


@pytest.mark.fault("T6", "refused before the work, nothing is left")
def test_an_output_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main([f"checkpoint={WEIGHTS}", "output=file/net.onnx"]) == 2
    assert "output: cannot write file/net.onnx: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.fault("T5", "a failure, said in one line; nothing is left")
def test_a_full_disk(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sr_lightning.export._write", full)
    assert main([f"checkpoint={WEIGHTS}", "output=net.onnx"]) == 1
    err = capsys.readouterr().err
    assert "output: cannot write net.onnx: No space left on device" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
