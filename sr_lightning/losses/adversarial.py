"""Adversarial losses (Goodfellow et al. 2014), each with a generator and a discriminator part.

`real` and `fake` are a discriminator's raw outputs (logits) for HR and SR images, of any shape, in float32.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class AdversarialLoss(nn.Module):
    """Interface of the adversarial losses below."""

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Returns the generator's loss, a scalar; of the arguments, only `fake` depends on the generator."""
        raise NotImplementedError  # implemented by the subclasses below

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Returns the discriminator's loss, a scalar."""
        raise NotImplementedError  # implemented by the subclasses below


class VanillaGANLoss(AdversarialLoss):
    """Cross-entropy; D = sigmoid(output) is the probability of "real".

    The generator minimises -log D(fake), not log(1 - D(fake)), whose gradient vanishes where the discriminator
    wins (Goodfellow et al. 2014, section 3; Ledig et al. 2017, eq. 6).
    """

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """-E[log D(fake)]."""
        return F.softplus(-fake).mean()

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """-E[log D(real)] - E[log(1 - D(fake))]."""
        return F.softplus(-real).mean() + F.softplus(fake).mean()


class LeastSquaresGANLoss(AdversarialLoss):
    """Squared distance to 1 for real and to 0 for fake (Mao et al. 2017, eq. 9)."""

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """E[(fake - 1)²] / 2."""
        return (fake - 1).square().mean() / 2

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """E[(real - 1)²] / 2 + E[fake²] / 2."""
        return (real - 1).square().mean() / 2 + fake.square().mean() / 2


class RelativisticGANLoss(AdversarialLoss):
    """Relativistic average loss: is real more real than the average fake (Jolicoeur-Martineau 2018; Wang et al. 2018)?

    D(a, b) = sigmoid(a - E[b]) (Wang et al. 2018, eq. 1, 2). Averages are taken over one process's share of the batch.
    The code released with ESRGAN halves both sides; the paper and this implementation do not.
    """

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """-E[log(1 - D(real, fake))] - E[log D(fake, real)]."""
        return self.discriminator(fake, real)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """-E[log D(real, fake)] - E[log(1 - D(fake, real))]."""
        return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()


class HingeGANLoss(AdversarialLoss):
    """Hinge loss with margins of 1 (Lim and Ye 2017; Miyato et al. 2018, eq. 16, 17)."""

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """-E[fake]."""
        return -fake.mean()

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """E[max(0, 1 - real)] + E[max(0, 1 + fake)]."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
