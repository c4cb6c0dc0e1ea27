"""Degradations of photographs against Pillow, scipy and closed forms; and that (seed, k) decides them."""

import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, special

from sr_lightning.data.batch import EvalImage
from sr_lightning.data.datasets import TrainSamples
from sr_lightning.data.degradations.base import Downscale, to_eval_batch
from sr_lightning.data.degradations.jpeg import jpeg
from sr_lightning.data.degradations.realworld import Classical, SecondOrder, filtered, gaussian, sinc
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.errors import UserError


def photo(size=96):
    from skimage.data import astronaut

    return astronaut()[60 : 60 + size, 180 : 180 + size + 5].copy()


def batch(n=4, size=64):
    images = torch.from_numpy(photo(256)).permute(2, 0, 1)
    return torch.stack([images[:, 8 * i : 8 * i + size, 4 * i : 4 * i + size] for i in range(n)])


def psnr(a, b):
    return -10 * math.log10(np.mean((a.astype(float) - b) ** 2) / 255**2)


@pytest.mark.parametrize("quality", [10, 30, 60, 90])
def test_jpeg_is_pillows(quality):
    image = photo()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling="4:2:0")
    theirs = np.asarray(Image.open(buffer))
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    ours = (jpeg(x, quality)[0].permute(1, 2, 0) * 255).round().numpy()
    assert ours.shape == image.shape
    # The same loss, and nearer to Pillow's result than to the image.
    assert psnr(ours, image) == pytest.approx(psnr(theirs, image), abs=0.35)
    assert psnr(ours, theirs) > psnr(theirs, image) + 5


def test_a_gaussians_moments():
    place = torch.arange(21.0) - 10
    y, x = torch.meshgrid(place, place, indexing="ij")
    kernel = gaussian(2.5, 1.2, 0.7)
    along, across = x * math.cos(0.7) + y * math.sin(0.7), y * math.cos(0.7) - x * math.sin(0.7)
    assert kernel.sum().item() == pytest.approx(1)
    assert (kernel * along**2).sum().item() == pytest.approx(2.5**2, rel=0.01)
    assert (kernel * across**2).sum().item() == pytest.approx(1.2**2, rel=0.01)
    assert (kernel * along * across).sum().item() == pytest.approx(0, abs=0.01)


def test_filtering_is_scipys():
    x = torch.rand(1, 3, 30, 26, dtype=torch.float64)
    kernel = gaussian(3.0, 1.0, 1.0).double()
    expected = [ndimage.correlate(channel.numpy(), kernel.numpy(), mode="reflect") for channel in x[0]]
    np.testing.assert_allclose(filtered(x, kernel)[0], expected, atol=1e-9)
    blurred = ndimage.gaussian_filter(x[0, 0].numpy(), 1.5, mode="reflect", radius=10)
    np.testing.assert_allclose(filtered(x, gaussian(1.5, 1.5, 0.3))[0, 0], blurred, atol=1e-5)


def test_sinc_is_the_transform_of_a_disc():
    place = np.arange(21) - 10
    distance = np.hypot(place[:, None], place)
    distance[10, 10] = 1e-6
    expected = 2.0 * special.j1(2.0 * distance) / (2 * np.pi * distance)
    np.testing.assert_allclose(sinc(2.0), expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("make", [Classical, SecondOrder])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_seed_and_number_decide_whatever_the_batch(make, scale):
    hr = batch(size=48)
    degrade = make(seed=7)
    lr = degrade(hr, scale, (10, 11, 12, 13))
    assert lr.shape == (4, 3, 48 // scale, 48 // scale)
    assert lr.dtype == torch.uint8
    assert torch.equal(degrade(hr[2:3], scale, (12,)), lr[2:3])
    assert torch.equal(make(seed=7)(hr, scale, (10, 11, 12, 13)), lr)
    assert not torch.equal(make(seed=8)(hr, scale, (10, 11, 12, 13)), lr)
    same = degrade(hr[:1].repeat(3, 1, 1, 1), scale, (1, 2, 3))
    assert not torch.equal(same[0], same[1])
    assert not torch.equal(same[1], same[2])


class Photo:
    """One image of a source of one's own."""

    sizes, grouping = [(64, 69)], None

    def __getitem__(self, index):
        return photo(64)


def test_workers_make_lr_so_that_it_is_the_same_on_every_device():
    """Of a degradation that runs on the CPU; the trainer's device makes that of all others."""
    degrade, request = SecondOrder(seed=3), BatchRequest(range(4, 8), scale=2, next_k=8)
    images = SimpleNamespace(hr=Photo(), lr=None)
    windows, plain = (
        TrainSamples(images, patch_size=16, seed=0, augment=True, degrade=each)[request]
        for each in (degrade, Downscale("nearest"))
    )
    assert plain.lr is None
    assert torch.equal(windows.hr, plain.hr)
    assert torch.equal(windows.lr, degrade(plain.hr, 2, request.samples))


@pytest.mark.gpu
def test_evaluation_makes_lr_on_the_cpu(device):
    image = EvalImage(batch(1).to(device), None, 2, set="a", name="b", key=5)
    made = to_eval_batch(image, SecondOrder())
    assert made.lr.device.type == device.type
    assert torch.equal(made.lr.cpu(), to_eval_batch(image._replace(hr=batch(1)), SecondOrder()).lr)


def test_without_blur_noise_and_jpeg_it_is_matlabs_bicubic():
    hr = batch()
    lr = Classical(blur=(0, 0), noise=(0, 0), jpeg=None)(hr, 4, range(4))
    difference = (lr.int() - Downscale("bicubic_double")(hr, 4).int()).abs()
    assert difference.max() <= 1  # a half may round either way in float32
    assert (difference > 0).float().mean() < 0.01


def test_noise_has_the_deviation_asked_for():
    hr = torch.full((1, 3, 256, 256), 128, dtype=torch.uint8)
    lr = Classical(blur=(0, 0), noise=(10, 10), jpeg=None)(hr, 2, (3,)).float()
    assert lr.mean().item() == pytest.approx(128, abs=0.3)
    assert lr.std().item() == pytest.approx((10**2 + 1 / 12) ** 0.5, rel=0.02)


def test_the_second_order_degrades_more_than_bicubic_but_keeps_the_image():
    hr = torch.from_numpy(photo(256)[:, :256]).permute(2, 0, 1)[None].repeat(6, 1, 1, 1)
    lr = SecondOrder()(hr, 4, range(6)).float()
    plain = Downscale()(hr[:1], 4).float()
    errors = (lr - plain).square().mean((1, 2, 3)).sqrt()
    assert (errors > 1).all()
    for image in lr:
        assert np.corrcoef(image.flatten(), plain.flatten())[0, 1] > 0.7
    assert errors.std() > 0.5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Classical(blur=(3, 1)), r"data\.degradation\.blur: found \[3, 1\], allowed: \[a, b\]"),
        (lambda: Classical(noise=(-1, 1)), r"data\.degradation\.noise"),
        (lambda: Classical(jpeg=(0, 90)), r"data\.degradation\.jpeg"),
        (lambda: SecondOrder(blur=((0.2, 3),)), r"data\.degradation\.blur: found 1 ranges, allowed: two"),
        (lambda: SecondOrder(resize=((0.15, 1.5), (0.3, 9))), r"data\.degradation\.resize"),
    ],
)
def test_what_is_no_range_is_refused(make, said):
    with pytest.raises(UserError, match=said):
        make()
