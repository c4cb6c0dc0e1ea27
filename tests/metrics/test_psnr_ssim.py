"""PSNR and SSIM against scikit-image, against a saved file, and against the published protocol."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sr_lightning.image.color import read_rgb
from sr_lightning.image.resize import resize
from sr_lightning.metrics.psnr_ssim import psnr, psnr_and_ssim, similarity, ssim

# DESIGN 4: bicubic PSNR / SSIM, measured with an independent implementation.
BICUBIC = {
    ("Set5", 2): (33.673, 0.9303),
    ("Set5", 3): (30.403, 0.8689),
    ("Set5", 4): (28.429, 0.8111),
    ("Set14", 2): (30.325, 0.8699),
    ("Set14", 3): (27.631, 0.7759),
    ("Set14", 4): (26.088, 0.7048),
}


def pair(image, seed=0):
    hr = image(48, 53, seed)
    noise = np.random.default_rng(seed).normal(0, 6, hr.shape)
    return (hr + noise).clip(0, 255).astype(np.uint8), hr


def tensor(*images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("border", [0, 2, 4])
def test_psnr_equals_scikit_images(image, border):
    sr, hr = pair(image)
    cut = (slice(border, 48 - border), slice(border, 53 - border))
    ya, yb = rgb2ycbcr(sr)[..., 0][cut], rgb2ycbcr(hr)[..., 0][cut]
    expected = peak_signal_noise_ratio(yb, ya, data_range=255)
    assert psnr(tensor(sr), tensor(hr), shave=border).item() == pytest.approx(expected, abs=1e-9)
    expected = peak_signal_noise_ratio(hr[cut], sr[cut], data_range=255)
    assert psnr(tensor(sr), tensor(hr), shave=border, channel="RGB").item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("border", [0, 3])
def test_ssim_equals_scikit_images_in_the_valid_region(image, border):
    sr, hr = pair(image)
    cut = (slice(border, 48 - border), slice(border, 53 - border))
    ya, yb = rgb2ycbcr(sr)[..., 0][cut], rgb2ycbcr(hr)[..., 0][cut]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    # scikit-image crops its map by the window's radius (truncate 3.5 · 1.5 rounds to 5) before the mean.
    expected = structural_similarity(yb, ya, **settings)
    assert ssim(tensor(sr), tensor(hr), shave=border).item() == pytest.approx(expected, abs=1e-9)


def test_ssim_of_an_image_that_is_worked_on_in_bands(image):
    sr, hr = (image(300, 40, seed) for seed in (0, 1))
    ya, yb = rgb2ycbcr(sr)[..., 0], rgb2ycbcr(hr)[..., 0]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = structural_similarity(yb, ya, **settings)
    assert ssim(tensor(sr), tensor(hr), shave=0).item() == pytest.approx(expected, abs=1e-9)
    a, b = (torch.from_numpy(y)[None, None] for y in (ya, yb))
    with_gradients = similarity(a.requires_grad_(), b, data_range=255)  # by torch's convolution
    with torch.no_grad():
        without = similarity(a, b, data_range=255)  # by sums of shifted images, band by band
    for one, other in zip(with_gradients, without, strict=True):
        assert one.item() == pytest.approx(other.item(), abs=1e-12)


def test_both_at_once_are_each_alone(image):
    sr, hr = (tensor(p) for p in pair(image))
    both = [found.tolist() for found in psnr_and_ssim(sr, hr, shave=2)]
    assert both == [metric(sr, hr, shave=2).tolist() for metric in (psnr, ssim)]


def test_each_image_of_a_batch_for_itself(image):
    pairs = [pair(image, seed) for seed in range(3)]
    sr, hr = tensor(*(p[0] for p in pairs)), tensor(*(p[1] for p in pairs))
    for metric in (psnr, ssim):
        alone = [metric(tensor(a), tensor(b), shave=2).item() for a, b in pairs]
        assert metric(sr, hr, shave=2).tolist() == pytest.approx(alone, abs=1e-12)


def test_a_tensor_scores_like_the_png_saved_from_it(tmp_path, image):
    generator = torch.Generator().manual_seed(0)
    sr = torch.rand(1, 3, 40, 44, generator=generator) * 1.4 - 0.2  # out of range too
    hr = tensor(image(40, 44, 0))
    levels = np.floor(sr[0].double().clamp(0, 1).permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "sr.png")
    reloaded = tensor(read_rgb(tmp_path / "sr.png"))
    for metric in (psnr, ssim):
        assert metric(sr, hr, shave=4).item() == metric(reloaded, hr, shave=4).item()


def test_equal_images(image):
    hr = tensor(image(40, 40, 0))
    assert psnr(hr, hr, shave=2).item() == float("inf")
    assert ssim(hr, hr, shave=2).item() == pytest.approx(1)


def test_what_cannot_be_compared_is_refused(image):
    hr = tensor(image(40, 40, 0))
    with pytest.raises(ValueError, match="40"):
        psnr(hr[..., :-1], hr, shave=2)
    with pytest.raises(ValueError, match="shav"):
        psnr(hr, hr, shave=20)
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(hr, hr, shave=15)


@pytest.mark.parametrize(("name", "scale"), list(BICUBIC))
def test_bicubic_rows_of_the_protocol(sr_data, name, scale):
    values = []
    for path in sorted((sr_data / "test" / name).glob("*.png")):
        hr = read_rgb(path)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        hr = torch.from_numpy(np.ascontiguousarray(hr.transpose(2, 0, 1)))[None]
        sr = resize(resize(hr, Fraction(1, scale)), Fraction(scale))
        values.append((psnr(sr, hr, shave=scale).item(), ssim(sr, hr, shave=scale).item()))
    found = np.mean(values, axis=0)
    assert found[0] == pytest.approx(BICUBIC[name, scale][0], abs=1e-3)
    assert found[1] == pytest.approx(BICUBIC[name, scale][1], abs=1e-4)


def test_figures_do_not_depend_on_the_order_in_memory():
    """A saved image that is read again has another order than a network's output, and must have the same last digit."""
    generator = torch.Generator().manual_seed(0)
    hr, sr = (torch.randint(0, 256, (1, 3, 48, 52), generator=generator, dtype=torch.uint8) for _ in range(2))
    other = sr.contiguous(memory_format=torch.channels_last)
    assert psnr(other, hr, shave=2).item() == psnr(sr, hr, shave=2).item()
    assert ssim(other, hr, shave=2).item() == ssim(sr, hr, shave=2).item()


def test_ssim_has_gradients_after_an_evaluation():
    """The window is kept: one made in inference mode could not be used in training."""
    from sr_lightning.metrics import psnr_ssim

    psnr_ssim._gaussian.cache_clear()
    a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        psnr_ssim.similarity(a, b, data_range=1)
    whole, _ = psnr_ssim.similarity(a.requires_grad_(), b, data_range=1)
    whole.sum().backward()
    assert a.grad.abs().sum() > 0
