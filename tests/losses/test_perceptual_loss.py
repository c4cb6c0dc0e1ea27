"""The perceptual loss against closed forms: layers, distances, windows, and what becomes of its backbone."""

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn import functional as F

from helpers.loss_inputs import Features, pair
from sr_lightning.errors import UserError
from sr_lightning.losses import CompositeLoss, PerceptualLoss, StyleLoss


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
    with pytest.raises(UserError, match=r"shift: found -1, allowed: 0 and more pixels"):
        PerceptualLoss(features, shift=-1)
