"""The total of a loss: its terms, weights, warm-up and precision; pixel losses against torch's own."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.loss_inputs import pair
from sr_lightning.errors import UserError
from sr_lightning.losses import CharbonnierLoss, CompositeLoss, L1Loss, L2Loss, PerceptualLoss


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
