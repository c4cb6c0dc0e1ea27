"""The further terms against other libraries and closed forms."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import total_variation

from sr_lightning.errors import UserError
from sr_lightning.losses import (
    FocalFrequencyLoss,
    FrequencyLoss,
    GradientLoss,
    LPIPSLoss,
    MSSSIMLoss,
    SSIMLoss,
    StyleLoss,
    TotalVariationLoss,
)
from sr_lightning.metrics.psnr_ssim import multiscale_similarity


def pair(channels=3, size=(48, 56), n=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hr = torch.rand(n, channels, *size, generator=generator)
    hr = torch.nn.functional.avg_pool2d(hr, 5, stride=1, padding=2)
    return (hr + 0.05 * torch.randn(hr.shape, generator=generator)).clamp(0, 1), hr


def test_ssim():
    sr, hr = pair()
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    values = [
        structural_similarity(h.numpy(), s.numpy(), channel_axis=0, **settings) for s, h in zip(sr, hr, strict=True)
    ]
    assert SSIMLoss()(sr, hr).item() == pytest.approx(1 - np.mean(values), abs=1e-5)


def independent_ms_ssim(a, b, exponents):
    """Wang et al. 2003 with scipy's Gaussian (radius 5), cut to the valid region; (H, W) each."""
    result = 1.0
    for level, exponent in enumerate(exponents):

        def blur(x):
            return gaussian_filter(x, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        contrast = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
        luminance = (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        value = (contrast * luminance).mean() if level == len(exponents) - 1 else contrast.mean()
        result *= value**exponent
        # The authors' imfilter(x, ones(2) / 4, 'symmetric'), then every second pixel.
        a, b = (correlate(x, np.ones((2, 2)) / 4, mode="reflect", origin=-1)[::2, ::2] for x in (a, b))
    return result


@pytest.mark.parametrize("levels", [1, 3, 5])
def test_ms_ssim(levels):
    sr, hr = pair(channels=1, size=(181, 208), n=1)
    exponents = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:levels])
    expected = independent_ms_ssim(*(x[0, 0].double().numpy() for x in (sr, hr)), exponents / exponents.sum())
    assert MSSSIMLoss(levels)(sr, hr).item() == pytest.approx(1 - expected, abs=1e-5)


def test_ms_ssim_of_opposite_images_has_a_finite_gradient():
    hr = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    sr = (1 - hr).requires_grad_()
    MSSSIMLoss(2)(sr, hr).backward()
    assert torch.isfinite(sr.grad).all()


def test_ms_ssim_says_how_large_images_must_be():
    sr, hr = pair(size=(64, 40))
    with pytest.raises(ValueError, match="3 levels needs 44 pixels"):
        multiscale_similarity(sr, hr, data_range=1, levels=3)
    with pytest.raises(UserError, match="found 6, allowed: 1 to 5"):
        MSSSIMLoss(6)


def test_total_variation_and_gradient():
    sr, hr = pair(n=1)
    c, h, w = sr.shape[1:]
    whole = sr.diff(dim=-1).abs().sum() / (c * h * (w - 1)) + sr.diff(dim=-2).abs().sum() / (c * (h - 1) * w)
    assert TotalVariationLoss()(sr, hr).item() == pytest.approx(whole.item(), rel=1e-5)
    square = sr[..., :48, :48]  # both means have the same number of terms, so that torchmetrics' sum serves
    expected = total_variation(square, reduction="sum") / (c * 48 * 47)
    assert TotalVariationLoss()(square, square).item() == pytest.approx(expected.item(), rel=1e-5)
    assert GradientLoss()(sr, hr).item() == pytest.approx(TotalVariationLoss()(sr - hr, hr).item(), rel=1e-5)
    assert GradientLoss()(hr + 0.3, hr).item() == pytest.approx(0, abs=1e-6)  # brightness has no gradient


def test_frequency_of_a_wave_is_one_frequency():
    y, x = torch.meshgrid(torch.arange(16), torch.arange(32), indexing="ij")
    wave = 0.1 * torch.cos(2 * torch.pi * (3 * x / 32 + 2 * y / 16))
    hr = torch.full((1, 1, 16, 32), 0.5)
    # The orthonormal transform of a cos has two peaks of a · sqrt(HW) / 2; the other 2·HW - 2 parts are 0.
    expected = 2 * (0.1 * (16 * 32) ** 0.5 / 2) / (2 * 16 * 32)
    assert FrequencyLoss()(hr + wave, hr).item() == pytest.approx(expected, rel=1e-3)


def test_frequency_equals_numpys_transform():
    sr, hr = pair(channels=1, n=1)
    error = np.fft.fft2((sr - hr)[0, 0].double().numpy(), norm="ortho")
    expected = (np.abs(error.real).mean() + np.abs(error.imag).mean()) / 2
    assert FrequencyLoss()(sr, hr).item() == pytest.approx(expected, rel=1e-4)
    square = np.abs(error) ** 2
    weight = np.abs(error) / np.abs(error).max()
    assert FocalFrequencyLoss()(sr, hr).item() == pytest.approx((weight * square).mean(), rel=1e-4)
    # Without focus it is the mean square of the pixels (Parseval).
    assert FocalFrequencyLoss(0.0)(sr, hr).item() == pytest.approx((sr - hr).square().mean().item(), rel=1e-4)
    with pytest.raises(UserError, match="focus"):
        FocalFrequencyLoss(-1)


@pytest.mark.parametrize("make", [SSIMLoss, MSSSIMLoss, GradientLoss, FrequencyLoss, FocalFrequencyLoss])
def test_equal_images_have_no_loss_and_a_finite_gradient(make):
    hr = pair()[1]
    sr = hr.clone().requires_grad_()
    loss = make()(sr, hr)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert torch.isfinite(sr.grad).all()


class Features(torch.nn.Module):
    def forward(self, x):
        return {"plain": x * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)}


def test_style_is_the_distance_of_gram_matrices():
    sr, hr = pair(n=1)
    weights = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)

    def distance(a, b):
        def gram(x):
            f = (x[0] * weights).flatten(1).double().numpy()
            return f @ f.T / f.shape[1]

        return np.abs(gram(a) - gram(b)).mean()

    loss = StyleLoss(Features())
    other = pair(n=1, seed=5)
    ratio = (loss(sr, hr) / loss(*other)).item()
    assert ratio == pytest.approx(distance(sr, hr) / distance(*other), rel=1e-3)
    moved = sr[..., torch.randperm(56)]
    assert loss(moved, sr).item() == pytest.approx(0, abs=1e-5)  # where features stand plays no part


def test_lpips_without_its_weights_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(UserError, match=r"the weights of alex are neither in .*efficientnet_lite0"):
        LPIPSLoss("alex")


def test_lpips_is_torchmetrics_and_keeps_its_network_outside(tmp_path, monkeypatch):
    """With random weights in the place of torchvision's, whose checksum is not asked for by torchmetrics."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(squeezenet1_1(weights=None).state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    loss, metric = LPIPSLoss("squeeze"), LearnedPerceptualImagePatchSimilarity("squeeze", normalize=True)
    sr, hr = pair(size=(64, 64))
    assert loss(sr, hr).item() == pytest.approx(metric(sr, hr).item(), rel=1e-5)
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    sr.requires_grad_()
    loss(sr, hr).backward()
    assert sr.grad.abs().sum() > 0
