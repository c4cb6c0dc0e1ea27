"""Construction of the parts of a training run: loss, optimizers, module, Trainer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from sr_lightning.builders.components import build, build_parts, check_kind, factory
from sr_lightning.builders.metrics import build_validation_metrics
from sr_lightning.config.schedule_length import length_argument
from sr_lightning.config.schema import LOSS, PERCEPTUAL, TrainConfig
from sr_lightning.config.signatures import parameters
from sr_lightning.distributed.environment import ranks
from sr_lightning.errors import UserError
from sr_lightning.models.base import min_size, network_traits
from sr_lightning.models.precision import is_fast_in_bf16

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import Logger

    from sr_lightning.loggers.metrics_csv import MetricsCsv
    from sr_lightning.losses import CompositeLoss
    from sr_lightning.runs.run import Run
    from sr_lightning.training.adversarial import Adversary
    from sr_lightning.training.module import SRModule


def build_module(config: TrainConfig, net: nn.Module, *, resets_optimizers: bool = False) -> SRModule:
    """Builds the LightningModule that trains the network, adversarially if the config names a discriminator.

    Args:
        config: The checked config.
        net: The network.
        resets_optimizers: As in `SRModule`.

    Raises:
        UserError: A part cannot be built, or two parts are incompatible.
    """
    from sr_lightning.training.adversarial import AdversarialModule
    from sr_lightning.training.module import SRModule

    _check_scales(config, net)
    _check_patch(config, net, scale=1, unit="LR pixels")
    loss = build_loss(config.loss)
    metrics = build_validation_metrics(config.val_metrics or {})
    optimizer, scheduler = build_optimizer(config.optimizer, "optimizer"), build_scheduler(config.scheduler)
    if config.adversarial is None:
        return SRModule(
            net,
            loss,
            optimizer=optimizer,
            scheduler=scheduler,
            config=asdict(config),
            metrics=metrics,
            resets_optimizers=resets_optimizers,
        )
    return AdversarialModule(
        net,
        loss,
        adversary=_adversary(config, config.adversarial),
        optimizer=optimizer,
        scheduler=scheduler,
        config=asdict(config),
        metrics=metrics,
        resets_optimizers=resets_optimizers,
        gradient_clip_val=config.trainer.get("gradient_clip_val"),
    )


def build_loss(section: dict[str, Any]) -> CompositeLoss:
    """Builds the composite loss; terms of weight 0 are not built."""
    from sr_lightning.losses import composite

    section = {"_target_": LOSS} | section
    perceptual, terms = section.pop("perceptual", None), section.pop("terms", None) or {}
    given: dict[str, Any] = {}
    if perceptual is not None and section.get("beta", 0.0) > 0:
        given["perceptual"] = build({"_target_": PERCEPTUAL} | perceptual, "loss.perceptual")
    built = {
        name: (term["weight"], build({k: v for k, v in term.items() if k != "weight"}, f"loss.terms.{name}"))
        for name, term in terms.items()
        if term["weight"] > 0
    }
    try:
        loss = build(section | {"_partial_": True}, "loss")(**given, terms=built)
    except (TypeError, ValueError) as error:
        raise UserError(f"loss: {section['_target_']} refuses its arguments: {error}") from None
    check_kind(loss, composite.CompositeLoss, section, "loss")
    return cast("CompositeLoss", loss)


def build_optimizer(section: dict[str, Any], path: str) -> Callable[..., Any]:
    """Like `factory`, with a fused step over all weights if supported, unless the config chooses an implementation."""
    ways = ("fused", "foreach", "differentiable")
    if "fused" in (parameters(section["_target_"]) or {}) and not any(way in section for way in ways):
        section = section | {"fused": True}
    return factory(section, path)


def build_scheduler(section: dict[str, Any]) -> Callable[..., Any]:
    """Returns a function that builds the schedule from an optimizer and the number of steps, passed only if needed."""
    make, length = factory(section, "scheduler"), length_argument(section)
    return lambda optimizer, max_steps: make(optimizer, **({length: max_steps} if length else {}))


def _adversary(config: TrainConfig, section: dict[str, Any]) -> Adversary:
    from sr_lightning.losses.adversarial import AdversarialLoss
    from sr_lightning.training.adversarial import Adversary

    discriminator = build(section["discriminator"], "adversarial.discriminator")
    loss = build(section["loss"], "adversarial.loss")
    check_kind(discriminator, nn.Module, section["discriminator"], "adversarial.discriminator")
    check_kind(loss, AdversarialLoss, section["loss"], "adversarial.loss")
    scale = min(config.scale)
    _check_patch(config, discriminator, scale=scale, unit=f"HR pixels at x{scale}")
    optimizer = build_optimizer(section["optimizer"], "adversarial.optimizer")
    return Adversary(discriminator, loss, optimizer, weight=section["weight"], warmup=section.get("warmup"))


def _check_scales(config: TrainConfig, net: nn.Module) -> None:
    name, own = type(net).__name__, network_traits(net).scales
    if own and not set(config.scale) <= set(own):
        raise UserError(f"scale: found {_listed(config.scale)}, but {name} is for {_listed(own)}")
    if len(config.scale) > 1 and len(own) < 2:
        raise UserError(
            f"scale: found {_listed(config.scale)}, but {name} names no scales; allowed: one scale, or a network "
            "with an attribute scales and forward(x, scale)"
        )


def _listed(scales: Sequence[int]) -> str:
    return ", ".join(f"x{scale}" for scale in scales)


def _check_patch(config: TrainConfig, module: nn.Module, *, scale: int, unit: str) -> None:
    """Raises UserError if training patches are smaller than a network or discriminator supports."""
    patch, needed = config.data.get("patch_size"), min_size(module)
    if isinstance(patch, int) and patch * scale < needed:
        raise UserError(
            f"data.patch_size: found {patch}, {patch * scale} {unit}, but {type(module).__name__} needs {needed}; "
            f"allowed: {-(-needed // scale)} and more"
        )


def build_callbacks(config: TrainConfig, run: Run, *, csv: MetricsCsv, started: float) -> list[pl.Callback]:
    """Builds the callbacks of the config and those required for resuming, in order.

    Args:
        config: The checked config.
        run: The run.
        csv: The logger of `metrics.csv`.
        started: Start time of the run, from `time.perf_counter`.
    """
    import lightning.pytorch as pl

    from sr_lightning.callbacks import Elapsed, ExactResume, PendingValidation, in_order

    folder = str(run.folder)
    callbacks = build_parts(
        config.callbacks,
        "callbacks",
        pl.Callback,
        folder=folder,
        dirpath=str(run.folder / "checkpoints"),  # for Lightning's own ModelCheckpoint
        resets_best=run.policy.resets_best,
    )
    exact_resume = ExactResume(folder=folder, count_rows=csv.flush)
    return in_order([*callbacks, Elapsed(started=started), exact_resume, PendingValidation(exact_resume)])


def build_trainer(
    config: TrainConfig, folder: Path, *, callbacks: list[pl.Callback], loggers: list[Logger]
) -> pl.Trainer:
    """Builds the Trainer for step-based training, with the arguments that no config sets."""
    from sr_lightning.callbacks import StepConnector
    from sr_lightning.checkpoints.lightning_io import SafeCheckpointIO
    from sr_lightning.training.profiler import NoProfiler

    section = dict(config.trainer)
    if config.adversarial is not None:
        section["gradient_clip_val"] = None  # the module clips, as Lightning refuses to under manual optimization
    section["precision"] = resolve_precision(section.get("precision"), str(section.get("accelerator", "auto")))
    if len(config.scale) > 1 and section.get("strategy") in ("auto", "ddp") and ranks().world_size > 1:
        section["strategy"] = "ddp_find_unused_parameters_true"  # a batch uses only the heads of its own scale
    accumulate = section.get("accumulate_grad_batches", 1)
    if isinstance(interval := section.get("val_check_interval"), int):
        # Lightning counts batches here, whereas the config counts optimizer steps.
        section["val_check_interval"] = min(interval, section["max_steps"]) * accumulate
    if not torch.cuda.is_available():
        # Lightning sets it, which makes torch's optimizers look for a driver library at every step (0.3 ms).
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    _check_gpus(section)
    profiler = section.pop("profiler", None) or NoProfiler()
    trainer: pl.Trainer = build(
        section,
        "trainer",
        callbacks=callbacks,
        logger=loggers,
        profiler=build(profiler, "trainer.profiler") if isinstance(profiler, dict) else profiler,
        default_root_dir=str(folder),
        plugins=[SafeCheckpointIO()],
        max_epochs=-1,
        check_val_every_n_epoch=None,  # there are no epochs
        use_distributed_sampler=False,  # the samplers know their ranks; Lightning's would repeat images
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
    trainer._logger_connector = StepConnector(trainer)
    return trainer


def _check_gpus(section: dict[str, Any]) -> None:
    """Checks that the GPUs exist, as Lightning's own error would come with a traceback.

    Raises:
        UserError: There are fewer than the config requests.
    """
    if section.get("accelerator") not in ("gpu", "cuda"):
        return
    devices, found = section.get("devices", 1), torch.cuda.device_count()
    needed = max(devices, default=0) + 1 if isinstance(devices, list) else devices if isinstance(devices, int) else 1
    if max(needed, 1) > found:
        raise UserError(
            f"trainer.accelerator, trainer.devices: found {section['accelerator']} and {devices}, but torch sees "
            f"{found} GPUs here; allowed: trainer.accelerator=cpu, or devices that are there"
        )


def resolve_precision(precision: str | int | None, accelerator: str) -> str | int | None:
    """Resolves `auto` to bf16-mixed if the hardware computes in bf16 natively, else to 32."""
    if precision != "auto":
        return precision
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        return "32-true"
    device = torch.device("cuda" if torch.cuda.is_available() and accelerator != "cpu" else "cpu")
    return "bf16-mixed" if is_fast_in_bf16(device) else "32-true"
