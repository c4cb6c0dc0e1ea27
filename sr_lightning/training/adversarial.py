"""LightningModule for adversarial training: a network against a discriminator, each with its own optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sr_lightning.data.batch import TrainBatch
from sr_lightning.errors import UserError
from sr_lightning.losses import CompositeLoss
from sr_lightning.losses.adversarial import AdversarialLoss
from sr_lightning.losses.warmup import Span, checked_span, warmup_factor
from sr_lightning.metrics.base import QualityMetric
from sr_lightning.training.module import OptimizerFactory, SchedulerFactory, SRModule


class Adversary:
    """A discriminator with its loss and its optimizer.

    Args:
        discriminator: Maps (N, 3, H, W) in [0, 1] -> raw outputs of any shape, high for images judged real. Its
            attribute `min_size`, if present, is the minimum H and W.
        loss: Adversarial loss, with its parts for the discriminator and for the network.
        optimizer: Builds the discriminator's optimizer from its parameters.
        weight: Weight of the generator loss relative to the other terms.
        warmup: [from, to], shares of the training between which the weight rises from 0; None for no warm-up. The
            discriminator learns from the first step on.

    Raises:
        UserError: The weight is negative or not finite, or the warm-up is invalid.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        loss: AdversarialLoss,
        optimizer: OptimizerFactory,
        *,
        weight: float,
        warmup: Span | None = None,
    ) -> None:
        if not math.isfinite(weight) or weight < 0:
            raise UserError(f"adversarial.weight: found {weight}, allowed: a finite number, 0 and more")
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.loss = loss
        self.optimizer = optimizer
        self.weight = weight
        self._warmup = None if warmup is None else checked_span(warmup, "adversarial.warmup")

    def weight_at(self, progress: float) -> float:
        """Returns the weight after a share of the training, 0 to 1."""
        return self.weight * warmup_factor(self._warmup, progress)

    def judge(self, image: Tensor) -> Tensor:
        """Returns the discriminator's raw outputs in float32."""
        output: Tensor = self.discriminator(image)
        return output.float()


class AdversarialModule(SRModule):
    """`SRModule` that also trains against a discriminator (Goodfellow et al. 2014; Ledig et al. 2017).

    total = composite loss + weight x generator loss. Each step first updates the network, then the discriminator, which
    sees the same SR images; both together count as one `global_step`. Besides the terms, the discriminator's loss is
    logged, and its mean raw outputs for HR and SR as `train/discriminator/real` and `fake`. Everything else is as in
    `SRModule`.

    The discriminator is not registered as a submodule: it does not appear in `parameters()`, `state_dict()`, weight
    averages or exports. A checkpoint holds it separately, as `discriminator`.

    Args:
        net: As in `SRModule`.
        loss: As in `SRModule`.
        adversary: The discriminator with its loss and its optimizer.
        optimizer: Builds the network's optimizer.
        scheduler: Builds the schedule of each of the two optimizers.
        config: As in `SRModule`.
        metrics: As in `SRModule`.
        resets_optimizers: As in `SRModule`.
        gradient_clip_val: Norm to which the gradients of each of the two are clipped; None for no clipping. (The
            Trainer rejects its own argument of this name with manual optimization.)
    """

    needs_rgb = True
    """The discriminator judges colours."""

    def __init__(
        self,
        net: nn.Module,
        loss: CompositeLoss | None = None,
        *,
        adversary: Adversary,
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        config: dict[str, Any] | None = None,
        metrics: Mapping[str, QualityMetric] | None = None,
        resets_optimizers: bool = False,
        gradient_clip_val: float | None = None,
    ) -> None:
        super().__init__(
            net,
            loss,
            optimizer=optimizer,
            scheduler=scheduler,
            config=config,
            metrics=metrics,
            resets_optimizers=resets_optimizers,
        )
        self.automatic_optimization = False
        self.adversary = adversary
        self.gradient_clip_val = gradient_clip_val

    @property
    def trained_networks(self) -> list[nn.Module]:
        """The network and the discriminator."""
        return [self.net, self.adversary.discriminator]

    def setup(self, stage: str) -> None:
        """Applies `trainer.sync_batchnorm` to the discriminator too: Lightning converts only submodules."""
        layer_sync = getattr(self.trainer.strategy, "_layer_sync", None)  # private: not to be had otherwise
        if stage == "fit" and layer_sync is not None:
            self.adversary.discriminator = layer_sync.apply(self.adversary.discriminator)

    def training_step(self, batch: TrainBatch, batch_idx: int) -> dict[str, Any]:
        """Updates the network, then the discriminator, and logs every n steps."""
        is_logged, progress = self.is_logged_step, self.progress  # read before the step, which changes them
        sr, hr = self.enlarged(batch)
        real = self.adversary.judge(hr)  # used for both: the discriminator does not change before its own step
        total, terms = self._step_network(sr, hr, real.detach(), progress)
        fake = self.adversary.judge(sr.detach())
        terms["discriminator"] = self._step_discriminator(real, fake)
        for schedule in self.trainer.lr_scheduler_configs:
            schedule.scheduler.step()  # type: ignore[call-arg]  # none of ours waits for a metric
        if is_logged:
            self.log_terms(total, terms, self.weights_at(progress))
            outputs = {"real": real.detach().mean(), "fake": fake.detach().mean()}
            self.log_dict({f"train/discriminator/{name}": x for name, x in outputs.items()}, sync_dist=True)
        return {"loss": total, "terms": terms}

    def _step_network(self, sr: Tensor, hr: Tensor, real: Tensor, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Updates the network; returns total and terms, detached."""
        assert self.loss is not None
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        terms = self.loss(sr, hr, progress)
        total = terms.pop("total")
        self.adversary.discriminator.requires_grad_(False)
        if weight := self.adversary.weight_at(progress):
            terms["adversarial"] = self.adversary.loss.generator(real, self.adversary.judge(sr))
            total = total + weight * terms["adversarial"]
        optimizers[0].zero_grad()
        self.manual_backward(total)
        optimizers[0].step()  # counts as the global step
        self.adversary.discriminator.requires_grad_(True)
        return total.detach(), {name: term.detach() for name, term in terms.items()}

    def _step_discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Updates the discriminator; returns its loss, detached. Bypasses Lightning so that the step is not counted."""
        strategy, precision = self.trainer.strategy, self.trainer.precision_plugin
        optimizer = self.trainer.optimizers[1]
        loss = self.adversary.loss.discriminator(real, fake)
        optimizer.zero_grad()
        # Not `manual_backward`: the strategy would wait for gradients of the network.
        precision.backward(precision.pre_backward(loss, self), self, None)
        self._share_gradients()
        strategy.optimizer_step(optimizer, closure=lambda: None)
        return loss.detach()

    def _share_gradients(self) -> None:
        """Averages the discriminator's gradients over the processes."""
        if self.trainer.world_size == 1:
            return
        gradients = [p.grad for p in self.adversary.discriminator.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        flat = self.trainer.strategy.reduce(flat, reduce_op="mean")
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the gradients of either optimizer, which are unscaled by now."""
        if self.gradient_clip_val:
            self.clip_gradients(optimizer, self.gradient_clip_val)

    def weights_at(self, progress: float) -> dict[str, float]:
        """Adds the adversarial term to the weights."""
        weight = self.adversary.weight_at(progress)
        return super().weights_at(progress) | ({"adversarial": weight} if weight else {})

    def build_optimizers(self) -> list[Optimizer]:
        """Builds the network's optimizer, then the discriminator's."""
        return [*super().build_optimizers(), self.adversary.optimizer(self.adversary.discriminator.parameters())]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the discriminator."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["discriminator"] = self.adversary.discriminator.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the discriminator; Lightning restores its optimizer."""
        super().on_load_checkpoint(checkpoint)
        self.adversary.discriminator.load_state_dict(checkpoint["discriminator"])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves the discriminator as well; called by `.to()`, `.cuda()` and the like."""
        result: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.adversary.discriminator._apply(fn)  # type: ignore[no-untyped-call]  # likewise
        return result
