"""What torch cannot export in every way: for one image, for no tiny ones, or not at all, with the reason."""

import pytest
import torch
from torch import nn

from sr_lightning.errors import UserError
from sr_lightning.exporters.card import Card
from sr_lightning.exporters.export_network import Export
from sr_lightning.exporters.onnx import export_onnx
from sr_lightning.exporters.onnx_network import OnnxNetwork
from sr_lightning.exporters.torch_export import export_torch


def enlarged(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


class CountsWindows(nn.Module):
    """As many networks of windows count images: torch takes the number for a constant."""

    def forward(self, x):
        count = int(x.shape[0] / 1.0)
        return enlarged(x.reshape(count, -1, *x.shape[1:]).mean(1))


class Mirrors(nn.Module):
    """Needs more than 8 pixels."""

    def forward(self, x):
        return enlarged(nn.functional.pad(x, (8, 0, 8, 0), mode="reflect")[..., 8:, 8:])


class Chooses(nn.Module):
    def forward(self, x):
        return enlarged(x * 2 if float(x.mean()) > 0.5 else x)


class Sorts(nn.Module):
    def forward(self, x):
        return enlarged(x + x.sort(dim=1, stable=True).values)


def export(net):
    return Export(net.eval(), Card("Net", 2, "float32", 1, None, 1, "a.ckpt", "0" * 64))


def test_a_file_for_one_image_is_run_image_by_image(tmp_path):
    proof = export_onnx(export(CountsWindows()), tmp_path / "a.onnx")
    assert proof[-1].shape[0] == 2
    net = OnnxNetwork.load(tmp_path / "a.onnx")
    x = torch.rand(3, 3, 4, 5)
    torch.testing.assert_close(net(x), torch.cat([enlarged(image[None]) for image in x]))


def test_a_file_for_no_tiny_images_says_from_which_size_on(tmp_path):
    proof = export_onnx(export(Mirrors()), tmp_path / "a.onnx")
    assert min(min(found.shape[2:]) for found in proof) == 16
    net = OnnxNetwork.load(tmp_path / "a.onnx")
    assert net.min_size == 16
    export_torch(export(Mirrors()), tmp_path / "a.pt2")


@pytest.mark.parametrize(
    ("net", "write", "said"),
    [
        (Chooses(), export_onnx, "format: onnx cannot describe Net: the image's content decides which"),
        (Chooses(), export_torch, "format: torch_export cannot describe Net: the image's content decides which"),
        (Sorts(), export_onnx, r"format: onnx cannot describe Net: there is no conversion of its operation aten\.sort"),
        (CountsWindows(), export_torch, "format: torch_export cannot describe Net: it is not the same for images of"),
    ],
)
def test_what_cannot_be_described_is_refused_with_the_reason(net, write, said, tmp_path):
    with pytest.raises(UserError, match=said):
        write(export(net), tmp_path / "a")
    assert not (tmp_path / "a").exists()
