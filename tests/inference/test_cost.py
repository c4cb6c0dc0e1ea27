"""Counts against sums made by hand and published figures; memory against what is known to be held."""

import pytest
import torch
from torch import nn

from sr_lightning.inference.cost import measure_cost, multiply_adds
from sr_lightning.models import EDSR, IMDN, SRCNN, Bicubic, SwinIR


def test_multiply_adds_of_a_stack_of_convolutions():
    net = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2))
    by_hand = (30 * 50) * (3 * 16 * 25 + 16 * 12 * 9)
    assert multiply_adds(net, 2, output_size=(60, 100)) == by_hand
    assert multiply_adds(net, 2, output_size=(61, 101)) == by_hand  # what is no multiple is cut


@pytest.mark.parametrize(
    ("net", "scale", "published"),
    [
        (EDSR(2), 2, 316.3),  # the tables of CARN, IMDN, SwinIR, …
        (EDSR(3), 3, 160.2),
        (EDSR(4), 4, 114.0),
        (IMDN(2), 2, 158.8),
        (IMDN(3), 3, 71.5),
        (IMDN(4), 4, 40.9),
    ],
)
def test_multiply_adds_of_the_papers(net, scale, published):
    assert multiply_adds(net, scale) / 1e9 == pytest.approx(published, rel=4e-3)


def test_multiply_adds_of_attention():
    # As the authors' test program does it, 180 rows are filled up to 184 and 320 columns to 328.
    pixels, c, hidden, window, layers = 184 * 328, 60, 120, 64, 24
    linear = 3 * c * c + c * c + 2 * c * hidden
    products = 2 * window * c
    convolutions = 9 * (3 * c + 4 * c * c + c * c + c * 48)
    assert multiply_adds(SwinIR(4), 4) == pixels * (layers * (linear + products) + convolutions)


class LooksAtValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x):
        factor = x.mean().item()  # no answer on the meta device
        return nn.functional.pixel_shuffle(self.conv(x) * factor, 2)


def test_what_cannot_run_on_meta_is_counted_for_real():
    assert multiply_adds(LooksAtValues(), 2, output_size=(20, 20)) == 100 * 3 * 12 * 9


def test_interpolation_is_not_seen():
    assert multiply_adds(Bicubic([4]), 4) is None


class Doubled(nn.Module):
    """Holds its input, one enlarged image and another at once: 1, 4 and 4 parts."""

    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=2) * 2


def test_memory_and_time_on_the_cpu():
    net = Doubled()
    cost = measure_cost(net, 2, repeats=2, output_size=(200, 300))
    large = 3 * 200 * 300 * 4  # bytes
    assert cost.peak_memory_bytes == pytest.approx(large / 4 + 2 * large, rel=0.01)
    assert cost.latency_seconds > 0
    assert cost.output_size == (200, 300)
    assert cost.params == 0
    assert cost.precision == "float32"
    n = torch.get_num_threads()
    assert cost.device.startswith("1 CPU thread (" if n == 1 else f"{n} CPU threads (")


def test_weights_belong_to_the_memory():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 12, 101, padding=50), nn.PixelShuffle(2))
    cost = measure_cost(net, 2, repeats=1, output_size=(8, 8))
    assert cost.params == 12 + 3 * 12 * 101**2 + 12
    assert cost.peak_memory_bytes > 4 * cost.params


def test_the_network_is_left_as_it_is_and_nothing_runs_unasked():
    net = SRCNN(3).double().train()  # works on Y
    cost = measure_cost(net, 3, latency=False, output_size=(61, 101))
    assert (cost.latency_seconds, cost.peak_memory_bytes) == (None, None)
    assert cost.output_size == (60, 99)
    assert cost.multiply_adds == 60 * 99 * (9 * 9 * 64 + 64 * 32 + 5 * 5 * 32)
    measure_cost(net, 3, repeats=1, output_size=(33, 33))
    assert net.training
    assert all(p.dtype == torch.float64 and p.device.type == "cpu" for p in net.parameters())


@pytest.mark.gpu
def test_memory_on_the_gpu(device):
    ballast = torch.empty(10**7, device=device)
    cost = measure_cost(Doubled(), 2, device=device, repeats=2, output_size=(800, 1200))
    large = 3 * 800 * 1200 * 4
    assert cost.peak_memory_bytes == pytest.approx(large / 4 + 2 * large, rel=0.05)
    del ballast
