"""From windows to batches: LR patches equal to the whole image's, and the eight turns."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from sr_lightning.data.batch import TrainWindows
from sr_lightning.data.cache.store import ImageStore
from sr_lightning.data.datasets import TrainSamples
from sr_lightning.data.degradations.base import Downscale, to_train_batch
from sr_lightning.data.files import find_images
from sr_lightning.data.images import Images
from sr_lightning.data.sampling.sampler import BatchRequest
from sr_lightning.image.color import dihedral
from sr_lightning.image.resize import resize


def samples(folder, tmp_path, kernel, **settings):
    images = Images("train", ImageStore(find_images(folder), tmp_path / "cache"))
    defaults = {"patch_size": 9, "seed": 5, "augment": False, "degrade": Downscale(kernel)}
    return TrainSamples(images, **(defaults | settings))


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "nearest", "box", "lanczos3"])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_lr_patches_are_cut_from_the_whole_images_lr_bit_for_bit(folder, tmp_path, scale, kernel):
    data = samples(folder, tmp_path, kernel)
    batch = to_train_batch(data[BatchRequest(range(60), scale, 60)], data.degrade)
    assert batch.lr.shape == (60, 3, 9, 9)
    assert batch.hr.shape == (60, 3, 9 * scale, 9 * scale)
    wholes = []
    for hr in (data.images.hr[i] for i in range(6)):
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        lr = resize(torch.from_numpy(hr.transpose(2, 0, 1).copy()), Fraction(1, scale), kernel=kernel)
        wholes.append((hr, lr))
    at_border = 0
    for k, crop in enumerate(data.plan.crops(range(60), scale)):
        hr, whole = wholes[crop.image]
        top, left = crop.top, crop.left
        assert torch.equal(batch.lr[k] * 255, whole[:, top : top + 9, left : left + 9].float())
        expected = hr[top * scale : (top + 9) * scale, left * scale : (left + 9) * scale]
        assert torch.equal(batch.hr[k] * 255, torch.from_numpy(expected.transpose(2, 0, 1).copy()).float())
        at_border += top in (0, whole.shape[1] - 9) or left in (0, whole.shape[2] - 9)
    assert at_border > 3


def test_images_smaller_than_the_patch_are_mirrored(folder, tmp_path):
    data = samples(folder, tmp_path, "bicubic", patch_size=40)  # 160 pixels at x4; the images have 96 to 130
    batch = to_train_batch(data[BatchRequest(range(6), 4, 6)], data.degrade)
    for k in range(6):
        hr = data.images.hr[data.plan.crop(k, 4).image]
        hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
        padded = np.pad(
            hr, ((0, 160 - hr.shape[0] if hr.shape[0] < 160 else 0), (0, 160 - hr.shape[1]), (0, 0)), "symmetric"
        )
        assert torch.equal(batch.hr[k] * 255, torch.from_numpy(padded.transpose(2, 0, 1).copy()).float())


def test_the_eight_turns_are_different_and_alike_for_both_sides():
    lr = torch.arange(4, dtype=torch.uint8).view(1, 1, 2, 2).repeat(8, 3, 1, 1)
    hr = lr.repeat_interleave(3, -1).repeat_interleave(3, -2)
    batch = to_train_batch(TrainWindows(hr, lr, 3, tuple(range(8)), tuple(range(8)), 8), Downscale())
    assert len({tuple(sample.flatten().tolist()) for sample in batch.lr}) == 8
    assert torch.equal(batch.lr.repeat_interleave(3, -1).repeat_interleave(3, -2), batch.hr)


def test_turns_are_numpys():
    x = torch.arange(6).view(1, 2, 3)
    array = x[0].numpy()
    expected = [array, np.fliplr(array), np.flipud(array), np.rot90(array, 2), array.T, np.fliplr(array).T]
    for code, wanted in enumerate(expected):
        np.testing.assert_array_equal(dihedral(x, code)[0].numpy(), wanted)


def test_turning_commutes_with_the_degradation(folder, tmp_path):
    """MATLAB's bicubic is symmetric, so turning after shrinking is shrinking after turning."""
    plain, turning = samples(folder, tmp_path, "bicubic"), samples(folder, tmp_path, "bicubic", augment=True)
    request = BatchRequest(range(16), 4, 16)
    a, b = (to_train_batch(data[request], data.degrade) for data in (plain, turning))
    codes = turning[request].dihedral
    assert len(set(codes)) > 3
    for k, code in enumerate(codes):
        assert torch.equal(dihedral(a.hr[k], code), b.hr[k])
        assert torch.equal(dihedral(a.lr[k], code), b.lr[k])


def test_orders_of_the_channels_are_those_of_the_plan_on_both_sides(folder, tmp_path):
    """Each channel is shrunk for itself, so the order of the two does not matter."""
    plain = samples(folder, tmp_path, "bicubic")
    permuting = samples(folder, tmp_path, "bicubic", permute_channels=True)
    request = BatchRequest(range(30), 4, 30)
    a, b = (to_train_batch(data[request], data.degrade) for data in (plain, permuting))
    orders = [permuting.plan.crop(k, 4).colours for k in range(30)]
    assert len(set(orders)) == 6
    for k, order in enumerate(orders):
        assert torch.equal(a.hr[k][list(order)], b.hr[k])
        assert torch.equal(a.lr[k][list(order)], b.lr[k])
