"""Every network of conf/model in every format: the file computes the same, or is refused with the reason.

With random weights and in small sizes; what takes seconds for each network runs for one, for the others with `-m slow`.
"""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from omegaconf import OmegaConf

from helpers.small_networks import OURS, THEIRS
from sr_lightning.builders.load_network import load_network
from sr_lightning.builders.network import build_network
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.export import SUFFIXES
from sr_lightning.errors import UserError
from sr_lightning.exporters import parity
from sr_lightning.exporters.card import KEY, Card
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.onnx import export_onnx
from sr_lightning.exporters.onnx_network import OnnxNetwork
from sr_lightning.exporters.parity import TOLERANCE
from sr_lightning.exporters.safetensors import export_safetensors
from sr_lightning.exporters.spandrel import export_spandrel
from sr_lightning.exporters.torch_export import EXTRA_FILE, export_torch
from sr_lightning.inference.tiling import super_resolve_tiled
from sr_lightning.models.base import network_traits

NAMES = sorted(path.stem for path in Path(conf_dir(), "model").glob("*.yaml"))
SCALE = 4
THIRD_PARTY = pytest.mark.filterwarnings(
    "ignore:torch.meshgrid:UserWarning", "ignore:'saved_variables':DeprecationWarning"
)


def documented():
    """The table of `models/README.md`: name -> format -> what it says."""
    text = Path(conf_dir(), "..", "sr_lightning", "models", "README.md").read_text("utf-8").partition("## Formats")[2]
    head, _, *rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|"))
    formats = [name.strip("`") for name in head[1:]]
    named = ((name.strip("`"), cells) for names, *cells in rows for name in names.split(", "))
    return [(name, dict(zip(formats, cells, strict=True))) for name, cells in named]


TABLE = dict(documented())


def test_the_table_has_every_network_once_in_every_format():
    assert sorted(name for name, _ in documented()) == NAMES
    for cells in TABLE.values():
        assert list(cells) == list(SUFFIXES)


def some(*quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def small(name, **changes):
    """The section of a config, in small."""
    config = OmegaConf.load(Path(conf_dir(), "model", f"{name}.yaml"))
    config = OmegaConf.merge({"model": config}, {"scale": [2, 3, SCALE] if "scales" in config else SCALE})
    section = OmegaConf.to_container(config, resolve=True)["model"]
    return section | (OURS | THEIRS)[section["_target_"].rpartition(".")[2]] | changes


def make(name, precision="float32", **changes):
    torch.manual_seed(0)
    section = small(name, **changes)
    if is_theirs(section):
        pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    net = build_network(section).eval()
    if not is_theirs(section):
        for value in net.parameters():  # none of the zeros that some layers start from
            torch.nn.init.normal_(value, std=(value[0].numel() or 1) ** -0.5 / 2 if value.dim() > 1 else 0.1)
    min_size = network_traits(net).min_size
    return Export(net, Card(type(net).__name__, SCALE, precision, min_size, None, 1, "a.ckpt", "0" * 64))


def is_theirs(section):
    return ".others." in section["_target_"]


def make_measured(name):
    """One whose card also says how far tiles of our networks overlap, which takes long to measure."""
    export = make(name)
    if is_theirs(small(name)):
        return export
    kind = export.card.network
    return replace(export, card=Card.of(export.net, SCALE, network=kind, weights="a.ckpt", sha256="0" * 64))


@pytest.fixture
def _few_sizes(name, monkeypatch):
    """All seven sizes are compared for one network, which works in windows; two of them for the others."""
    if name != "swinir_light":
        monkeypatch.setattr(parity, "_SIZES", ((1, 1), (17, 23)))


def is_refused(write, name, form, path):
    """Whether the table says so; then it is, with the reason."""
    says, _, why = TABLE[name][form].partition(": ")
    if says != "no":
        return False
    with pytest.raises(UserError, match=f"format: .*{_REASONS.get(why, '')}"):
        write(make(name), path)
    return True


_REASONS = {
    "sizes": "not the same for images of all sizes",
    "content": "the image's content decides",
    "sorting": r"no conversion of its operation aten\.sort",
    "not recognised": "does not recognise",
}


def worst(proof):
    return max(found.relative for found in proof)


@THIRD_PARTY
@pytest.mark.parametrize("name", some("espcn"))
def test_onnx(name, tmp_path):
    if is_refused(export_onnx, name, "onnx", tmp_path / "a.onnx"):
        return
    export = make_measured(name)
    assert worst(export_onnx(export, tmp_path / "a.onnx")) <= TOLERANCE["float32"]
    loaded = OnnxNetwork.load(tmp_path / "a.onnx")
    assert onnx_kind(tmp_path / "a.onnx") == TABLE[name]["onnx"]
    assert (loaded.scales, loaded.channels, loaded.name) == ((SCALE,), 3, export.card.network)
    if export.card.tile_margin is not None:  # tiles as wide as the file says give the whole image's result
        lr = torch.rand(1, 3, 40, 40 + 2 * export.card.tile_margin)
        with torch.no_grad():
            tiled = super_resolve_tiled(loaded, lr, SCALE, tile=24)
            torch.testing.assert_close(tiled, export.expected(lr), rtol=1e-4, atol=1e-4)
    assert str(Path(__file__).parents[2]).encode() not in (tmp_path / "a.onnx").read_bytes()


def onnx_kind(path):
    model = onnx.load(path)
    card = Card.read({entry.key: entry.value for entry in model.metadata_props}[KEY])
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    assert ("(1, 3, h, w)" in card.input) == (batch == 1)
    words = [str(card.min_size)] * (card.min_size > 1) + ["one"] * (batch == 1)
    return ", ".join(words) or "yes"


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


@THIRD_PARTY
@pytest.mark.parametrize("name", some("fsrcnn"))
def test_torch_export(name, tmp_path):
    path = tmp_path / "a.pt2"
    if is_refused(export_torch, name, "torch_export", path):
        return
    export = make_measured(name)
    assert worst(export_torch(export, path)) <= TOLERANCE["float32"]
    extra = {EXTRA_FILE: ""}
    with path.open("rb") as file:
        torch.export.load(file, extra_files=extra)
    says = TABLE[name]["torch_export"]
    smallest = export.card.min_size if says == "yes" else int(says)
    assert Card.read(extra[EXTRA_FILE]) == replace(export.card, min_size=smallest)
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()


@THIRD_PARTY
@pytest.mark.usefixtures("_few_sizes")
@pytest.mark.parametrize("name", [name for name in NAMES if TABLE[name]["safetensors"] == "yes"])
def test_safetensors(name, tmp_path):
    export, section = make(name), small(name)
    config = {"model": section, "scale": section.get("scales", [SCALE])}
    proof = export_safetensors(
        export, tmp_path / "a.safetensors", config=config, load=lambda path: load_network(path).net
    )
    assert worst(proof) <= 1e-6  # convolutions of one kernel may sum in another order


@THIRD_PARTY
@pytest.mark.usefixtures("_few_sizes")
@pytest.mark.parametrize("name", NAMES)
def test_spandrel(name, tmp_path):
    pytest.importorskip("spandrel", reason="needs the optional extra spandrel")
    if is_refused(export_spandrel, name, "spandrel", tmp_path / "a.safetensors"):
        return
    proof = export_spandrel(make(name), tmp_path / "a.safetensors")
    assert (proof[0].shape[2] > 1) == (TABLE[name]["spandrel"] == "multiples")
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
