"""Tiles and memory: what they save, and smaller ones where it runs out."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.tiles import enlarged, levels, rgb_network, whole
from sr_lightning.errors import FailedError
from sr_lightning.inference.cost import _cpu_peak
from sr_lightning.inference.upscaler import Upscaler
from sr_lightning.models import EDSR


class Hungry(nn.Module):
    """Has memory for so many LR pixels, and no more."""

    channels, scales = 3, (2,)

    def __init__(self, most, error):
        super().__init__()
        self.inner, self.most, self.error, self.seen = rgb_network(), most, error, []

    def forward(self, x):
        self.seen.append(x.shape[-2:].numel())
        if self.seen[-1] > self.most and x.shape[-2] != 16:  # the strips that measure the receptive field fit
            raise self.error
        return self.inner(x)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_the_tile(image, error, caplog):
    lr, net = levels(image), Hungry(50 * 50, error)
    upscaler = Upscaler(net, 2)
    result = np.concatenate(list(upscaler.rows(lr, np.float32)))
    np.testing.assert_allclose(result, whole(net.inner, lr), atol=1e-6, rtol=0)
    assert "out of memory: tiles of 22 LR pixels from here on" in caplog.text
    assert upscaler.notes == {"memory": "tiles of 22 LR pixels: larger ones did not fit into memory"}
    tried = sum(size > net.most for size in net.seen)
    list(upscaler.rows(lr, np.float32))
    assert sum(size > net.most for size in net.seen) == tried  # it is remembered


def test_out_of_memory_with_the_smallest_tiles(image):
    with pytest.raises(FailedError, match="out of memory with tiles of"):
        enlarged(Hungry(10, MemoryError()), levels(image))
    with pytest.raises(RuntimeError, match="another"):
        enlarged(Hungry(10, RuntimeError("another")), levels(image))


def peak(run, device):
    """Bytes of torch's allocator at most, above what was there."""
    if device.type == "cpu":
        return _cpu_peak(run)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


@pytest.mark.gpu
def test_tiles_take_less_memory_on_a_gpu(image, device):
    lr, net = levels(image, 320, 320), rgb_network()
    small, large = (Upscaler(net, 2, device=device, tile=tile) for tile in (64, None))
    list(small.rows(lr, np.uint8))  # measures the receptive field, once
    memory = [peak(lambda up=up: list(up.rows(lr, np.uint8)), device) for up in (small, large)]
    assert memory[0] < memory[1] / 4


@pytest.mark.gpu
def test_a_gpu_that_is_full_halves_the_tile(image, device):
    """Where the GPU is a CPU, the network says that it is full."""
    torch.manual_seed(0)
    lr, wide = levels(image, 400, 500), EDSR(2, n_feats=64, n_resblocks=1).eval()
    net = wide if device.type == "cuda" else Hungry(160 * 160, torch.OutOfMemoryError("full"))
    upscaler = Upscaler(net, 2, device=device, tile=None)
    if device.type == "cuda":
        expected = np.concatenate(list(upscaler.rows(lr, np.float32)))
        torch.cuda.empty_cache()
        # Features of the whole image, before and after the shuffle: 2 x 4 x 64 x 400 x 500 x 4 bytes, 410 MB.
        limit = torch.cuda.memory_reserved(device) + 200e6
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info(device)[1], device)
    else:
        expected = whole(net.inner, lr)
    result = np.concatenate(list(upscaler.rows(lr, np.float32)))
    assert "tiles of" in upscaler.notes["memory"]
    np.testing.assert_allclose(result, expected, atol=5e-5, rtol=0)
