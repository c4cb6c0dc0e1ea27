"""ONNX files as networks: those of other programs, and those that are none."""

import copy
import sys

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from sr_lightning.builders.load_network import load_network
from sr_lightning.errors import UserError
from sr_lightning.exporters.card import KEY
from sr_lightning.exporters.onnx_network import OnnxNetwork


def write(path, *, scale=2, channels=3, kind=TensorProto.FLOAT, metadata=None, node=None):
    """Nearest-neighbour enlargement."""
    sides = ["n", channels, "h", "w"]
    nodes = node or [helper.make_node("Resize", ["lr", "", "scales"], ["sr"], mode="nearest")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("lr", kind, sides)],
        [helper.make_tensor_value_info("sr", kind, None)],
        [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, scale, scale])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("scale", "channels", "kind"), [(2, 3, TensorProto.FLOAT), (3, 1, TensorProto.FLOAT), (4, 3, TensorProto.FLOAT16)]
)
def test_another_programs_file_shows_its_scale(tmp_path, scale, channels, kind):
    net = OnnxNetwork.load(write(tmp_path / "theirs.onnx", scale=scale, channels=channels, kind=kind))
    assert (net.scales, net.channels, net.name) == ((scale,), channels, "theirs")
    x = torch.rand(1, channels, 5, 7)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-3)
    assert net(x).dtype == x.dtype
    assert copy.deepcopy(net)(x).shape == expected.shape
    loaded = load_network(tmp_path / "theirs.onnx")
    assert (loaded.scales, loaded.label, loaded.choose_scale(None)) == ((scale,), "theirs", scale)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": 1}, "is none of ours, and makes"),
        ({"channels": 4}, r"takes lr tensor\(float\) .* allowed: one image"),
        ({"channels": "c"}, "allowed: one image"),
        ({"kind": TensorProto.UINT8}, r"takes lr tensor\(uint8\)"),
        ({"node": [helper.make_node("ReduceMean", ["lr"], ["sr"])]}, "is none of ours, and makes"),
        ({"node": [helper.make_node("ReduceSum", ["lr"], ["sr"], keepdims=0)]}, "is none of ours, and makes"),
        ({"node": [helper.make_node("Steal", ["lr"], ["sr"], domain="evil")]}, "cannot be read as ONNX"),
        ({"metadata": {KEY: "{"}}, "allowed: a file that sr_lightning has exported"),
        ({"metadata": {KEY: "[" * 100_000}}, "allowed: a file that sr_lightning has exported"),
        ({"metadata": {KEY: '{"format": 1}'}}, "allowed: a file that sr_lightning has exported"),
    ],
)
def test_what_is_no_such_network_is_refused(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        OnnxNetwork.load(write(tmp_path / "a.onnx", **options))


def test_damaged_files_and_weights_elsewhere_are_refused(tmp_path):
    path = write(tmp_path / "a.onnx")
    model = onnx.load(path)
    entry = model.graph.initializer[0]
    entry.ClearField("float_data")
    entry.ClearField("raw_data")
    entry.data_location = TensorProto.EXTERNAL
    entry.external_data.add(key="location", value="../../etc/passwd")
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"b\.onnx: keeps its weights in other files; allowed: all in one"):
        OnnxNetwork.load(tmp_path / "b.onnx")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"a\.onnx: cannot be read as ONNX"):
        OnnxNetwork.load(path)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'sr_lightning\[export\]'"):
        OnnxNetwork.load(path)
