"""Every network of conf/model in every format: the file computes the same, or is refused with the reason.

With random weights and in small sizes; what takes seconds for each network runs for one, for the others with `-m slow`.
"""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from omegaconf import OmegaConf

from sr_lightning.builders.load_network import load_network
from sr_lightning.builders.network import build_network
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.errors import UserError
from sr_lightning.exporters.card import KEY, Card
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.onnx import export_onnx
from sr_lightning.exporters.onnx_network import OnnxNetwork
from sr_lightning.exporters.parity import TOLERANCE, sizes
from sr_lightning.exporters.safetensors import export_safetensors
from sr_lightning.exporters.spandrel import export_spandrel
from sr_lightning.exporters.torch_export import EXTRA_FILE, export_torch
from sr_lightning.inference.tiling import super_resolve_tiled

# What makes each class small; its structure stays that of the config.
SMALL = {
    "Bicubic": {},
    "EDSR": {"n_feats": 8, "n_resblocks": 1},
    "MDSR": {"n_feats": 8, "n_resblocks": 1},
    "SRCNN": {"n_feats": [8, 4]},
    "ESPCN": {"n_feats": 8},
    "FSRCNN": {"d": 8, "s": 4, "m": 1},
    "VDSR": {"n_feats": 8, "n_layers": 3},
    "SRResNet": {"n_feats": 8, "n_resblocks": 1},
    "MSRResNet": {"n_feats": 8, "n_resblocks": 1},
    "RDN": {"n_feats": 8, "n_blocks": 2, "n_layers": 2, "growth": 8},
    "RCAN": {"n_feats": 8, "n_groups": 1, "n_blocks": 1, "reduction": 2},
    "RRDBNet": {"n_feats": 8, "n_blocks": 2},
    "IMDN": {"n_feats": 16, "n_blocks": 2},
    "RFDN": {"n_feats": 16, "n_blocks": 1},
    "SPAN": {"n_feats": 48},
    "NinaSR": {"n_feats": 16, "n_resblocks": 2},
    "SwinIR": {"n_feats": 12, "n_blocks": 1, "n_layers": 2, "n_heads": 3},
}
# Those of other groups need spandrel, and are exported where torch can; theirs are the files that spandrel reads.
NAMES = sorted(p.stem for p in Path(conf_dir(), "model").glob("*.yaml") if ".others." not in p.read_text("utf-8"))
SCALE = 4


def some(*quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def small(name, **changes):
    """The section of a config, in small."""
    config = OmegaConf.load(Path(conf_dir(), "model", f"{name}.yaml"))
    config = OmegaConf.merge({"model": config}, {"scale": [2, 3, SCALE] if "scales" in config else SCALE})
    section = OmegaConf.to_container(config, resolve=True)["model"]
    return section | SMALL[section["_target_"].rpartition(".")[2]] | changes


def make(name, precision="float32", **changes):
    torch.manual_seed(0)
    net = build_network(small(name, **changes)).eval()
    kind = type(net).__name__
    for value in net.parameters():  # none of the zeros that some layers start from
        torch.nn.init.normal_(value, std=(value[0].numel() or 1) ** -0.5 / 2 if value.dim() > 1 else 0.1)
    return Export(net, Card.of(net, SCALE, network=kind, precision=precision, weights="a.ckpt", sha256="0" * 64))


def worst(proof):
    assert [found.shape[2:] for found in proof[1:4]] == sizes(proof[0].shape[2])[1:4]
    return max(found.relative for found in proof)


@pytest.mark.parametrize("name", some("swinir_light"))
def test_onnx(name, tmp_path):
    export = make(name)
    assert worst(export_onnx(export, tmp_path / "a.onnx")) <= TOLERANCE["float32"]
    loaded = OnnxNetwork.load(tmp_path / "a.onnx")
    assert (loaded.scales, loaded.channels, loaded.name) == ((SCALE,), 3, export.card.network)
    if export.card.tile_margin is not None:  # tiles as wide as the file says give the whole image's result
        lr = torch.rand(1, 3, 40, 40 + 2 * export.card.tile_margin)
        with torch.no_grad():
            tiled = super_resolve_tiled(loaded, lr, SCALE, tile=24)
            torch.testing.assert_close(tiled, export.expected(lr), rtol=1e-4, atol=1e-4)
    assert str(Path(__file__).parents[2]).encode() not in (tmp_path / "a.onnx").read_bytes()


def test_onnx_in_float16_takes_and_makes_float32(tmp_path):
    proof = export_onnx(make("espcn", "float16"), tmp_path / "a.onnx")
    assert 1e-5 < worst(proof) <= TOLERANCE["float16"]
    model = onnx.load(tmp_path / "a.onnx")
    types = {each.type.tensor_type.elem_type for each in (*model.graph.input, *model.graph.output)}
    assert types == {onnx.TensorProto.FLOAT}
    kernels = [each for each in model.graph.initializer if len(each.dims) == 4]
    assert kernels
    assert {each.data_type for each in kernels} == {onnx.TensorProto.FLOAT16}
    assert Card.read({entry.key: entry.value for entry in model.metadata_props}[KEY]).precision == "float16"


@pytest.mark.parametrize("name", some("fsrcnn"))
def test_torch_export(name, tmp_path):
    export, path = make(name), tmp_path / "a.pt2"
    if name in ("swinir_light", "ninasr"):
        with pytest.raises(UserError, match=r"format: torch_export cannot describe \w+ for images of any size"):
            export_torch(export, path)
        return
    assert worst(export_torch(export, path)) <= TOLERANCE["float32"]
    extra = {EXTRA_FILE: ""}
    with path.open("rb") as file:
        torch.export.load(file, extra_files=extra)
    smallest = 32 if name == "rfdn" else export.card.min_size
    assert Card.read(extra[EXTRA_FILE]) == replace(export.card, min_size=smallest)
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "bicubic"])
def test_safetensors(name, tmp_path):
    export, section = make(name), small(name)
    config = {"model": section, "scale": section.get("scales", [SCALE])}
    proof = export_safetensors(
        export, tmp_path / "a.safetensors", config=config, load=lambda path: load_network(path).net
    )
    assert worst(proof) <= 1e-6  # convolutions of one kernel may sum in another order


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_spandrel(name, tmp_path):
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    export = make(name)
    if name not in ("rrdb", "swinir_light", "span", "rcan"):
        with pytest.raises(UserError, match=f"format: spandrel has no architecture for {export.card.network}, allowed"):
            export_spandrel(export, tmp_path / "a.safetensors")
        return
    proof = export_spandrel(export, tmp_path / "a.safetensors")
    assert max(found.relative for found in proof) <= TOLERANCE["float32"]


def test_spandrel_in_float16(tmp_path):
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    proof = export_spandrel(make("rrdb", "float16"), tmp_path / "a.safetensors")
    assert 1e-5 < max(found.relative for found in proof) <= TOLERANCE["float16"]


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (
            "span",
            {"rgb_mean": [0.5, 0.5, 0.5]},
            r"SPAN with model\.rgb_mean=.*, found \[0\.5, 0\.5, 0\.5\]",
        ),
        ("rrdb", {"growth": 8}, r"RRDBNet with model\.growth=32, found 8"),
        ("span", {"expansion": 3}, r"SPAN with model\.expansion=2, found 3"),
    ],
)
def test_constants_that_spandrel_has_otherwise_are_refused(name, changes, said, tmp_path):
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    with pytest.raises(UserError, match=said):
        export_spandrel(make(name, **changes), tmp_path / "a.safetensors")
