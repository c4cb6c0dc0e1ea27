"""Both sides of each adversarial loss against torch's losses, the papers' formulas and values known by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sr_lightning.losses.adversarial import (
    HingeGANLoss,
    LeastSquaresGANLoss,
    RelativisticGANLoss,
    VanillaGANLoss,
)


def outputs(*shape):
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("shape", [(4, 1), (2, 1, 5, 6)])
def test_vanilla_is_cross_entropy(shape):
    real, fake = outputs(*shape)
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    entropy = F.binary_cross_entropy_with_logits
    loss = VanillaGANLoss()
    torch.testing.assert_close(loss.discriminator(real, fake), entropy(real, one) + entropy(fake, zero))
    torch.testing.assert_close(loss.generator(real, fake), entropy(fake, one))
    undecided = torch.zeros(3, 1)
    assert loss.discriminator(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert loss.generator(undecided, undecided).item() == pytest.approx(math.log(2))


def test_the_generators_gradient_does_not_vanish_where_the_discriminator_wins():
    fake = torch.full((4, 1), -20.0, requires_grad=True)
    VanillaGANLoss().generator(torch.zeros(4, 1), fake).backward()
    assert fake.grad.numpy() == pytest.approx(-1 / 4)  # of log(1 - D) it would be 5e-10


def test_least_squares():
    real, fake = outputs(4, 1)
    loss = LeastSquaresGANLoss()
    expected = (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake))) / 2
    torch.testing.assert_close(loss.discriminator(real, fake), expected)
    torch.testing.assert_close(loss.generator(real, fake), F.mse_loss(fake, torch.ones_like(fake)) / 2)


def test_relativistic_is_the_formula_of_esrgan():
    """Wang et al. 2018, eq. 1 and 2, with numpy."""
    real, fake = outputs(5, 1)
    r, f = real.numpy(), fake.numpy()

    def judged(a, b):
        return 1 / (1 + np.exp(-(a - b.mean())))

    loss = RelativisticGANLoss()
    expected = -np.log(judged(r, f)).mean() - np.log(1 - judged(f, r)).mean()
    assert loss.discriminator(real, fake).item() == pytest.approx(expected)
    expected = -np.log(1 - judged(r, f)).mean() - np.log(judged(f, r)).mean()
    assert loss.generator(real, fake).item() == pytest.approx(expected)
    # Only the difference of the two counts.
    assert loss.generator(real + 7, fake + 7).item() == pytest.approx(expected)


def test_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.0, 1.0])
    loss = HingeGANLoss()
    assert loss.discriminator(real, fake).item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3)
    assert loss.generator(real, fake).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("make", [VanillaGANLoss, LeastSquaresGANLoss, RelativisticGANLoss, HingeGANLoss])
def test_each_side_goes_its_own_way_and_stays_finite(make):
    """At a draw the generator wants fake higher; the discriminator wants it lower, and real higher."""
    loss = make()
    fake = torch.tensor([[0.5], [0.6]], requires_grad=True)
    real = torch.tensor([[0.5], [0.4]], requires_grad=True)
    loss.generator(real.detach(), fake).backward()
    assert (fake.grad < 0).all()
    fake.grad = None
    loss.discriminator(real, fake).backward()
    assert (fake.grad > 0).all()
    assert (real.grad < 0).all()
    far = torch.tensor([[1e4]])
    assert torch.isfinite(loss.generator(far, -far))
    assert torch.isfinite(loss.discriminator(-far, far))
