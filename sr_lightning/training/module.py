"""LightningModule of a network with its loss, metrics and optimizer."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sr_lightning.callbacks.logged_steps import is_logged
from sr_lightning.checkpoints.matching import differences
from sr_lightning.checkpoints.weights import FORMAT
from sr_lightning.data.batch import EvalBatch, NoImage, TrainBatch
from sr_lightning.errors import UserError
from sr_lightning.evaluation.evaluator import bicubic_score, score_output
from sr_lightning.evaluation.predictions import measure_time
from sr_lightning.evaluation.scores import (
    BICUBIC,
    ImageScore,
    MethodId,
    gather_scores,
    logged_values,
    mean_without_nan,
    summarise,
)
from sr_lightning.image.color import replace_luma, rgb_to_y
from sr_lightning.inference.predict import apply_network, super_resolve
from sr_lightning.losses import CompositeLoss
from sr_lightning.metrics.base import QualityMetric
from sr_lightning.models.base import network_traits
from sr_lightning.models.precision import exact_float32
from sr_lightning.text import enumerated, single_line

log = logging.getLogger(__name__)

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[[Optimizer, int], LRScheduler]


class SRModule(pl.LightningModule):
    """Trains and evaluates one super-resolution network.

    Args:
        net: A network as specified by `models.base.SRNetwork`.
        loss: Computes the total and every term.
        optimizer: Builds the optimizer from the parameters.
        scheduler: Builds the schedule from the optimizer and the number of steps; None for a constant learning rate.
        config: The resolved config as plain data; saved in every checkpoint.
        metrics: Metrics for validation and test besides PSNR and SSIM, by name.
        resets_optimizers: When a run is resumed, take learning rates, schedules and other optimizer settings from the
            arguments instead of the checkpoint; the gradient moments are kept.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: CompositeLoss | None = None,
        *,
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        config: dict[str, Any] | None = None,
        metrics: Mapping[str, QualityMetric] | None = None,
        resets_optimizers: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.config = config or {}
        self.metrics = dict(metrics or {})
        self.resets_optimizers = resets_optimizers
        self.channels = network_traits(net).channels
        self.method = MethodId(type(net).__name__)
        """Name in results."""
        self.results: list[ImageScore] = []
        """Scores of the network and of bicubic for each image of the last evaluation, complete on every rank."""
        self.validation: dict[str, float] | None = None
        """Mean PSNR on Y at the last validation, of the network (`psnr_y`) and of bicubic (`bicubic_psnr_y`)."""
        self._exact: list[str] = []
        self._accumulated: list[dict[str, Tensor]] = []
        self._baseline: dict[tuple[object, ...], ImageScore] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets `_current_fx_name`, as Lightning does 40 times per step, without torch's search for submodules."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    # -- training ------------------------------------------------------------------------------------

    def training_step(self, batch: TrainBatch, batch_idx: int) -> dict[str, Any]:
        """Computes the loss, and logs every n steps."""
        assert self.loss is not None
        terms = self.loss(*self.enlarged(batch), self.progress)
        total = terms.pop("total")
        detached = {name: term.detach() for name, term in terms.items()}
        if self.is_logged_step:
            self.log_terms(total.detach(), detached, self.weights_at(self.progress))
        return {"loss": total, "terms": detached}

    @property
    def progress(self) -> float:
        """Completed share of the training, 0 to 1."""
        return min(self.global_step / self.trainer.max_steps, 1.0) if self.trainer.max_steps > 0 else 1.0

    def weights_at(self, progress: float) -> dict[str, float]:
        """Returns the active terms and their weights after a share of the training."""
        return self.loss.weights_at(progress) if self.loss is not None else {}

    def log_terms(self, total: Tensor, terms: dict[str, Tensor], weights: dict[str, float]) -> None:
        """Logs the loss, its unweighted terms, and each weighted term's share of the loss.

        All are means over the batches accumulated in a step.
        """
        self._accumulated.append({"train/loss": total, **{f"train/loss/{name}": term for name, term in terms.items()}})
        if len(self._accumulated) < self.trainer.accumulate_grad_batches:
            return
        parts, self._accumulated = self._accumulated, []
        means = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
        if len(self.weights_at(1.0)) > 1:  # for a single term it is always 1
            loss = means["train/loss"]
            means |= {f"train/share/{name}": w * means[f"train/loss/{name}"] / loss for name, w in weights.items()}
        self.log_dict(means, sync_dist=True)

    def enlarged(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Returns SR and HR of a batch, (N, C, h·s, w·s) each, in the form that the loss needs.

        They are in the network's colour space. If it works on Y and the loss compares colours, SR is the network's luma
        with HR's chroma, so that they differ only in what the network produces.
        """
        lr, hr = batch.lr, batch.hr
        if self.channels == 1:
            lr = rgb_to_y(lr) / 255
        sr = apply_network(self.net, lr.contiguous(memory_format=torch.channels_last), batch.scale)
        if self.channels == 1 and self.needs_rgb:
            return replace_luma(hr, sr.float()), hr
        return sr, rgb_to_y(hr) / 255 if self.channels == 1 else hr

    @property
    def trained_networks(self) -> list[nn.Module]:
        """All networks that are trained."""
        return [self.net]

    @property
    def needs_rgb(self) -> bool:
        """Whether the loss compares colours."""
        return self.loss is not None and self.loss.needs_rgb

    @property
    def is_logged_step(self) -> bool:
        """Whether the upcoming optimizer step is logged: logging costs 2 ms per step."""
        return is_logged(self.trainer, self.global_step + 1)

    def build_optimizers(self) -> list[Optimizer]:
        """Builds one optimizer over the network's weights (the loss has none)."""
        assert self.optimizer is not None
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        if not parameters:
            raise UserError(f"model: {type(self.net).__name__} has no parameters, so there is nothing to train")
        return [self.optimizer(parameters)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns the optimizers, each with its schedule in steps."""
        optimizers = self.build_optimizers()
        for optimizer in optimizers:
            # A fused optimizer offers to undo the scaling of fp16 itself, and Lightning then refuses to clip gradients.
            optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]  # the scaler does it, as for others
        if self.scheduler is None:
            return optimizers
        schedules = [self.scheduler(optimizer, self.trainer.max_steps) for optimizer in optimizers]
        return optimizers, [{"scheduler": schedule, "interval": "step"} for schedule in schedules]  # type: ignore[return-value]  # dicts, not the TypedDict

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the config, as plain data, from which the network can be rebuilt."""
        checkpoint["sr_lightning"] = {"format": FORMAT, "config": self.config, "validation": self.validation}

    def check_state(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint that is not a state of this training, before any of it is restored.

        Raises:
            UserError: The file contains only weights, or a state of another network.
        """
        parts = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step")
        if missing := [part for part in parts if part not in checkpoint]:
            raise UserError(
                f"ckpt_path: the file holds no {', '.join(missing)}, so that there is no training to continue; "
                "allowed: a new run from its weights, model.weights=<the file>"
            )
        if findings := differences(self, checkpoint["state_dict"]):
            raise UserError("\n  ".join(["ckpt_path: does not fit the network of the config", *map(str, findings)]))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the state that Lightning does not restore."""
        self.check_state(checkpoint)
        self.validation = checkpoint.get("sr_lightning", {}).get("validation")
        if self.resets_optimizers:
            self._reset_optimizers(checkpoint)

    def _reset_optimizers(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the gradient moments, and sets every setting as if it had been used from the start."""
        built: Any = self.configure_optimizers()
        optimizers, schedules = built if isinstance(built, tuple) else (built, [])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns because the optimizer has not been stepped
            for schedule, saved in zip(schedules, checkpoint["lr_schedulers"], strict=True):
                try:
                    for _ in range(saved["last_epoch"]):
                        schedule["scheduler"].step()
                except ValueError as error:  # as of torch's OneCycleLR, which has an end
                    raise UserError(
                        f"scheduler: {type(schedule['scheduler']).__name__} cannot be at step {saved['last_epoch']}: "
                        f"{single_line(str(error))}; allowed: trainer.max_steps={saved['last_epoch']} and more"
                    ) from None
        checkpoint["lr_schedulers"] = [schedule["scheduler"].state_dict() for schedule in schedules]
        for optimizer, saved in zip(optimizers, checkpoint["optimizer_states"], strict=True):
            new = optimizer.state_dict()["param_groups"]  # some, such as SOAP, keep their step count in the old ones
            saved["param_groups"] = [before | group for before, group in zip(saved["param_groups"], new, strict=True)]

    # -- evaluation ----------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Clears the scores of the previous evaluation."""
        self.results = []

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: EvalBatch | NoImage, batch_idx: int) -> Tensor | None:
        """Scores one image; returns the SR image for callbacks."""
        if isinstance(batch, NoImage):
            return None
        with exact_float32(batch.lr.device):  # as computed by `evaluate`
            sr, seconds = measure_time(lambda: super_resolve(self.net, batch.lr, batch.scale))
            # Bicubic never changes; an image is validated as a crop, but tested as a whole.
            key = (batch.set, batch.scale, batch.key, batch.hr.shape)
            if key not in self._baseline:
                self._baseline[key] = bicubic_score(batch, self.metrics)
            own = score_output(sr, batch, method=self.method, seconds=seconds, metrics=self.metrics)
        self.results += [own, self._baseline[key]]
        return sr

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Averages over the images of each set, with the same result on every rank.

        Images for which the network or bicubic is exact are left out: an infinite mean PSNR would say nothing about the
        other images, and no later validation could improve on it.

        Raises:
            UserError: Bicubic is exact for all images.
        """
        self.results = gather_scores(self.results)
        if not self.results:
            return
        exact = {score.image: score.name for score in self.results if math.isinf(score.psnr_y)}
        self._name_exact(sorted(set(exact.values())))
        finite = [score for score in self.results if score.image not in exact]
        if not finite and all(math.isinf(score.psnr_y) for score in self.results if score.method == BICUBIC):
            raise UserError(
                f"data.val: bicubic restores every image exactly ({enumerated(list(exact.values()))}), so there is "
                "nothing to gain; allowed: images that are not flat"
            )
        rows = summarise(finite or self.results)
        self.log_dict(logged_values(rows, "val"))
        own = [row for row in rows if row.method == self.method]
        mean, ssim, gain = (sum(getattr(row, name) for row in own) / len(own) for name in ("psnr_y", "ssim_y", "gain"))
        self.log_dict({"val/psnr_y": mean, "val/ssim_y": ssim, "val/gain": gain})
        self.log_dict({f"val/{name}": mean_without_nan(row.more[name] for row in own) for name in self.metrics})
        self.validation = {"psnr_y": mean, "bicubic_psnr_y": mean - gain}

    def _name_exact(self, names: list[str]) -> None:
        """Logs which images are left out of the means, whenever these change."""
        if names != self._exact and self.trainer.is_global_zero:
            log.warning("validation without the images that come out exactly: %s", enumerated(names) or "none any more")
        self._exact = names

    def on_test_epoch_end(self) -> None:
        """Gathers the scores of all ranks; the caller reports them."""
        self.results = gather_scores(self.results)
