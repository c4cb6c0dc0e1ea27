"""Stopping of a training at the first NaN or infinity, before it is saved."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from sr_lightning.errors import TrainingFailedError, UserError

_WAYS_OUT = "Usual ways out: a lower optimizer.lr, trainer.gradient_clip_val=0.5, trainer.precision=32"


class NonFiniteGuard(pl.Callback):
    """Raises if a loss term, a gradient or a validation output becomes NaN or infinite; saved checkpoints are kept.

    On a GPU, losses and gradients are checked every `every` steps and before each validation and save, so that not
    every step has to synchronise with the device.

    Args:
        every: Steps between checks on a GPU; on a CPU every step is checked.

    Raises:
        UserError: `every` is not positive.
    """

    def __init__(self, *, every: int = 50) -> None:
        if every < 1:
            raise UserError(f"callbacks.non_finite.every: found {every}, allowed: 1 and more steps")
        self.every = every
        self._bad: dict[str, Tensor | bool] = {}
        """Findings since the last check: name -> whether the value was not finite."""
        self._loss_is_bad: Tensor | bool = False

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Notes whether the loss is finite: if not, its terms are more informative than the gradient."""
        self._loss_is_bad = _is_bad(loss.detach())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Notes a non-finite gradient, which may come with a finite loss; the fp16 scaler skips such steps itself."""
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self._loss_is_bad is True:  # reported after the step: until then, no optimizer may see these gradients
            optimizer.zero_grad(set_to_none=True)
        elif gradients:
            bad = _is_bad(torch.nn.utils.get_total_norm(gradients))
            self._note(trainer, {"gradient": bad & (True ^ self._loss_is_bad)})

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Notes which loss terms are not finite."""
        terms: dict[str, Tensor] = {"total": outputs["loss"].detach(), **outputs["terms"]}
        self._note(trainer, {name: _is_bad(term) for name, term in terms.items()})

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks before validation and saving."""
        self._check(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Checks the output image: rounded to 8 bits it holds no NaN, so PSNR would not reveal it."""
        if isinstance(outputs, Tensor) and not bool(torch.isfinite(outputs).all()):
            self._bad[f"image {batch.name} of {batch.set} at x{batch.scale}"] = True
            self._check(trainer)

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Checks before anything is written."""
        self._check(trainer)

    def _note(self, trainer: pl.Trainer, found: dict[str, Tensor | bool]) -> None:
        for name, bad in found.items():
            self._bad[name] = self._bad.get(name, False) | bad
        is_known = not any(isinstance(bad, Tensor) for bad in found.values())
        if is_known or trainer.global_step % self.every == 0:
            self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        names = [name for name, bad in self._bad.items() if bool(bad)]
        if not names:
            self._bad = {}
            return
        culprits = [name for name in names if name != "total"] or names
        what = "the network's output" if culprits[0].startswith("image") else "the loss"
        what = "the loss is finite, but a gradient" if culprits == ["gradient"] else what
        kept = getattr(trainer.checkpoint_callback, "last_model_path", "") or "none was written yet"
        raise TrainingFailedError(
            f"{what} is not finite at step {trainer.global_step}: {', '.join(culprits)}. The last finite checkpoint: "
            f"{kept}. {_WAYS_OUT}"
        )


def _is_bad(value: Tensor) -> Tensor | bool:
    """Returns whether a scalar is not finite: evaluated at once on a CPU, where another tensor op would take longer."""
    return not math.isfinite(value) if value.device.type == "cpu" else ~torch.isfinite(value)
