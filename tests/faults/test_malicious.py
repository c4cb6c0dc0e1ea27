"""Files that would run something, given to every further entry; the first of them: test_checkpoint, test_security."""

import pickle
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.hostile_files import PLACES, Evil, bare, legacy, tarred, zipped
from helpers.metric_weights import place
from sr_lightning.builders.methods import build_methods
from sr_lightning.errors import UserError
from sr_lightning.evaluate import main as evaluate
from sr_lightning.metrics.quality import build_metrics
from sr_lightning.preview import main as preview
from sr_lightning.train import main as train

pytestmark = pytest.mark.usefixtures("_hydras_logging")
WRITERS = {"zip": zipped, "legacy": legacy, "bare": bare, "tar": tarred}
TYPED = {"_target_": "sr_lightning.models.EDSR", "scale": 4, "n_feats": 4, "n_resblocks": 1}
ENTRIES = {
    "checkpoint": lambda path: {"checkpoint": {path: ""}, "model": None},
    "checkpoint and model": lambda path: {"checkpoint": {path: "name"}, "model": TYPED},
    "model.weights": lambda path: {"checkpoint": {}, "model": TYPED | {"weights": path}},
}


@pytest.fixture(params=[False, True], ids=["", "forced"])
def forced(request, monkeypatch):
    """Whether the environment asks torch to execute what it loads."""
    if request.param:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@pytest.mark.fault("S1", "refused by name, nothing is executed")
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("write", WRITERS)
def test_S1_what_an_evaluation_is_given(tmp_path, forced, write, entry):
    WRITERS[write](PLACES["state_dict"](), tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil\.ckpt.*cannot be read as"):
        build_methods(SimpleNamespace(**ENTRIES[entry](str(tmp_path / "evil.ckpt")), scale=[4]))
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault("S1", "status 2, nothing is executed")
@pytest.mark.parametrize("command", ["evaluate", "preview"])
def test_S1_what_a_command_is_given(tmp_path, folder, tiny, forced, capsys, command):
    zipped(PLACES["beside"](), tmp_path / "evil.ckpt")
    if command == "evaluate":
        arguments = [f"checkpoint={tmp_path}/evil.ckpt", "accelerator=cpu", f"+data.test.Mine={folder}", "sets=[Mine]"]
        assert evaluate(arguments) == 2
    else:  # which loads no weights at all
        assert preview([*tiny, f"model.weights={tmp_path}/evil.ckpt"]) == 0
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault("S1", "refused, nothing is executed")
def test_S1_an_archive_of_arrays(tmp_path, monkeypatch, forced):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    hub = tmp_path / "hub/checkpoints"
    hub.mkdir(parents=True)
    np.savez(tmp_path / "evil.npz", mu_pris_param=np.array([Evil()], dtype=object), cov_pris_param=np.zeros((36, 36)))
    place(hub, monkeypatch, "PRISTINE", (tmp_path / "evil.npz").read_bytes())
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):  # none of the checksum that is asked for
        build_metrics(["niqe"])
    assert not (tmp_path / "canary").exists()


ADDRESSES = {
    "ckpt_path": (train, "ckpt_path={}"),
    "model.weights": (train, "model.weights={}"),
    "loss.perceptual.weights": (train, "loss=perceptual loss.perceptual.backbone=vgg16 loss.perceptual.weights={}"),
    "checkpoint": (evaluate, "data=sample checkpoint={}"),
}


@pytest.mark.fault("S1", "refused: an address is no file")
@pytest.mark.parametrize("key", ADDRESSES)
def test_S1_an_address_is_never_loaded(monkeypatch, capsys, key):
    """torch and Lightning execute what they fetch from one."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked for"))
    command, arguments = ADDRESSES[key]
    assert command([argument.format("https://example.org/a.ckpt") for argument in arguments.split()]) == 2
    said = capsys.readouterr().err
    assert f"{key}: " in said
    assert "https:/" in said


def test_the_files_are_evil(tmp_path):
    """Else the tests above would pass with harmless ones."""
    for name, write in WRITERS.items():
        if name == "tar":
            continue  # torch's first format is read by torch 1.x only
        write(PLACES["state_dict"](), tmp_path / "evil.ckpt")
        if name == "bare":
            pickle.loads((tmp_path / "evil.ckpt").read_bytes())
        else:
            torch.load(tmp_path / "evil.ckpt", weights_only=False)
        assert (tmp_path / "canary").exists()
        (tmp_path / "canary").unlink()
    np.savez(tmp_path / "evil.npz", a=np.array([Evil()], dtype=object))
    np.load(tmp_path / "evil.npz", allow_pickle=True)["a"]
    assert (tmp_path / "canary").exists()
