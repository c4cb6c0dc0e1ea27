"""Weights files and saved configs of strangers that unfold, nest or repeat without end (S15)."""

import json
import struct
import zipfile

import pytest
import torch

from sr_lightning.builders.load_network import load_network
from sr_lightning.builders.network import build_network
from sr_lightning.checkpoints.weights import WeightsFile, load_weights
from sr_lightning.errors import UserError
from sr_lightning.models import EDSR
from sr_lightning.runs.saved_config import read_saved_config

MODEL = {"_target_": "sr_lightning.models.EDSR", "scale": 2, "n_feats": 4, "n_resblocks": 1}


def net():
    torch.manual_seed(0)
    return EDSR(2, n_feats=4, n_resblocks=1)


def ours(path, model, **more):
    """One of our checkpoints with any config."""
    state = {f"net.{key}": value for key, value in net().state_dict().items()}
    torch.save(
        {"state_dict": state, "sr_lightning": {"format": 1, "config": {"model": model, "scale": [2], **more}}}, path
    )


def doubled(levels):
    """A kilobyte in a pickle, 2^levels values when walked."""
    value = [0.4]
    for _ in range(levels):
        value = [value, value]
    return value


def itself():
    value = []
    value.append(value)
    return value


CONFIGS = {
    "a doubled argument": (MODEL | {"rgb_mean": doubled(40)}, {}, "its config is nested without end"),
    "a circular argument": (MODEL | {"rgb_mean": itself()}, {}, "its config is nested without end"),
    "doubled elsewhere": (MODEL, {"loss": doubled(40)}, "its config is nested without end"),
    "circular elsewhere": (MODEL, {"loss": itself()}, "its config is nested without end"),
    "a tensor elsewhere": (MODEL, {"loss": torch.zeros(1)}, "its config holds a Tensor in 'loss', allowed: plain"),
    "wide": (MODEL | {"n_feats": 30_000}, {}, "model.n_feats=30000, but its weights are of a smaller network"),
    "deep": (MODEL | {"n_resblocks": 10**9}, {}, "model.n_resblocks=1000000000, but its weights are of a smaller"),
    "recursive": (MODEL | {"n_recursions": 10**9}, {}, "n_recursions=1000000000, but its weights are of a smaller"),
}


@pytest.mark.fault("S15", "refused before anything of that size is built")
@pytest.mark.parametrize("kind", CONFIGS)
def test_S15_a_checkpoints_config(tmp_path, kind):
    model, more, said = CONFIGS[kind]
    ours(tmp_path / "a.ckpt", model, **more)
    file = WeightsFile.read(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=rf"a\.ckpt: .*{said}"):
        _ = file.network_config


@pytest.mark.fault("S15", "status 2 instead of a traceback")
def test_S15_a_network_of_negative_size(tmp_path):
    ours(tmp_path / "a.ckpt", MODEL | {"n_feats": -1})
    file = WeightsFile.read(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"model: cannot build sr_lightning\.models\.EDSR of these sizes"):
        build_network(file.network_config["model"], weights=file)


TENSORS = {
    "one number for all": (lambda v: torch.zeros(1).expand(v.shape), r"head\.weight .* repeats 4 stored bytes"),
    "sparse": (lambda v: v.to_sparse(), r"head\.weight is a sparse_coo tensor, allowed: dense tensors"),
    "without values": (lambda v: v.to("meta"), r"head\.weight is a meta tensor, allowed: dense tensors"),
    "complex": (lambda v: v.to(torch.complex64), r"numbers of another kind \(12\): head\.weight complex64"),
    "quantised": (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), r"kind \(12\): head\.weight qint8"),
}


@pytest.mark.fault("S15", "refused, the file is named")
@pytest.mark.filterwarnings("ignore")  # torch, about sparse and quantised tensors
@pytest.mark.parametrize("kind", TENSORS)
def test_S15_tensors_without_values_of_their_own(tmp_path, kind):
    change, said = TENSORS[kind]
    torch.save({key: change(value) for key, value in net().state_dict().items()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"a\.pth[\s\S]*{said}"):
        load_weights(net(), tmp_path / "a.pth")


@pytest.mark.fault("S15", "refused before it is unpacked")
def test_S15_an_archive_that_is_a_bomb(tmp_path):
    torch.save(net().state_dict(), tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as a, zipfile.ZipFile(tmp_path / "a.pth", "w", 8) as b:
        for entry in a.infolist():
            b.writestr(entry.filename, bytes(10**8) if entry.filename.endswith("data/0") else a.read(entry))
    with pytest.raises(UserError, match=r"a\.pth: unpacks to 100,\d+,\d+ bytes, allowed: its own size"):
        WeightsFile.read(tmp_path / "a.pth")


def header(content):
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


FLOAT = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
HEADERS = {
    "longer than any memory": struct.pack("<Q", 2**63) + b"{}",
    "longer than the file": struct.pack("<Q", 10**6) + b'{"a":1}',
    "a shape beyond counting": header({"a": FLOAT | {"shape": [2**62, 2**62]}}),
    "values that are not there": header({"a": FLOAT | {"shape": [9], "data_offsets": [0, 36]}}),
    "an unknown kind": header({"a": FLOAT | {"dtype": "F3"}}),
    "a note without end": header({"__metadata__": {"sr_lightning": "[" * 100_000}, "a": FLOAT}),
}


@pytest.mark.fault("S15", "refused, the file is named")
@pytest.mark.parametrize("kind", HEADERS)
def test_S15_headers_of_safetensors(tmp_path, kind):
    (tmp_path / "a.safetensors").write_bytes(HEADERS[kind])
    with pytest.raises(UserError, match=r"a\.safetensors: cannot be read as safetensors"):
        WeightsFile.read(tmp_path / "a.safetensors")


DOUBLED = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
SAVED = {
    "aliases that double": (DOUBLED, "line 2: allowed: no aliases"),
    "an alias of itself": ("a: &a [*a]\n", "line 1: allowed: no aliases"),
    "nested without end": ("a: " + "[" * 5000 + "]" * 5000, "line 1: allowed: no aliases, and 32 levels"),
    "a number that is none": ("a: !!int 'x'\n", "invalid literal for int"),
    "a number without end": ("a: " + "9" * 5000, ""),
}


@pytest.mark.fault("S15", "refused, the file is named")
@pytest.mark.parametrize("kind", SAVED)
def test_S15_a_runs_saved_config(tmp_path, kind):
    text, said = SAVED[kind]
    path = tmp_path / "run/.hydra/config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (path.parent / "overrides.yaml").touch()
    with pytest.raises(UserError, match=rf"the run's config cannot be read: .*config\.yaml[\s\S]*{said}"):
        read_saved_config(path, [])


@pytest.mark.fault("S14", "the scale that the network has counts")
@pytest.mark.parametrize("scale", [[10**9], [4, 2], 3, [2]])
def test_S14_a_scale_that_the_network_does_not_have(tmp_path, scale):
    ours(tmp_path / "net.ckpt", MODEL, scale=scale)
    assert load_network(tmp_path / "net.ckpt").scales == (2,)
