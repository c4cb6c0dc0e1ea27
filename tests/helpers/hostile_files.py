"""Files of strangers: weights that run code where they are unpickled, in every format of torch's; a run's folder."""

import io
import pickle
import tarfile
from pathlib import Path

import torch
from omegaconf import OmegaConf

import sr_lightning.train
from sr_lightning.train import main


class Evil:
    """Makes a file where it is run."""

    def __reduce__(self):
        return Path("canary").write_text, ("executed",)


def zipped(content, path):
    torch.save(content, path)


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def bare(content, path):
    path.write_bytes(pickle.dumps(content))


def tarred(content, path):
    """torch's first format: an archive of three pickles."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(content) * 3
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


WEIGHTS = {"a": torch.zeros(1)}


PLACES = {
    "itself": lambda: Evil(),
    "value": lambda: {**WEIGHTS, "b": Evil()},
    "key": lambda: {Evil(): torch.zeros(1)},
    "state_dict": lambda: {"state_dict": {**WEIGHTS, "b": Evil()}},
    "beside": lambda: {"state_dict": WEIGHTS, "optimizer_states": [{"lr": Evil()}]},
    "list": lambda: [Evil()],
    "tuple": lambda: {"params_ema": (1, Evil())},
    "config": lambda: {"state_dict": WEIGHTS, "sr_lightning": {"format": 1, "config": {"model": Evil()}}},
}


def run_of(tmp_path, tiny, monkeypatch, **changes):
    """A stranger's run folder, its config as Hydra writes it, its checkpoint a file of any content."""
    monkeypatch.setattr(sr_lightning.train, "train", lambda config, run: 0.0)
    assert main([*tiny, f"hydra.run.dir={tmp_path}/stranger"]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "stranger"
    (run / "checkpoints").mkdir()
    torch.save({"state_dict": {}}, run / "checkpoints/last.ckpt")
    saved = run / ".hydra/config.yaml"
    config = OmegaConf.load(saved)
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, saved)
    return run
