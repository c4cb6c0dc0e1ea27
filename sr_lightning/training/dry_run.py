"""Dry run before training: forward, loss, backward and one validation image, on copies and small random images."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from sr_lightning.data import SRDataModule
from sr_lightning.data.batch import EvalImage, TrainBatch, TrainWindows
from sr_lightning.data.degradations.base import Degradation, degraded, to_eval_batch, to_train_batch
from sr_lightning.errors import UserError, one_line, user_place
from sr_lightning.inference.predict import super_resolve
from sr_lightning.models.base import min_size
from sr_lightning.text import nearest, shown
from sr_lightning.training.adversarial import AdversarialModule
from sr_lightning.training.failures import explain
from sr_lightning.training.logged_names import monitorable, validated
from sr_lightning.training.module import SRModule

_EVAL_SIZE = 24  # LR pixels per side of the validation image
T = TypeVar("T")
_OURS = ("sr_lightning", "torch", "lightning")
_DEGRADATION = (
    "; allowed: a class with margin(scale) -> int, describe() -> str, and __call__(hr, scale, keys) of "
    "(N, 3, h·s, w·s) uint8 -> (N, 3, h, w) uint8"
)


def dry_run(module: SRModule, data: SRDataModule, trainer: pl.Trainer) -> None:
    """Finds mistakes in the user's own classes before anything is written.

    Runs one pass over two samples per scale, on the trainer's device. Weights, statistics and random states are left
    unchanged.

    Args:
        module: The module to be trained.
        data: Data module, set up for training.
        trainer: The trainer that will train it.

    Raises:
        UserError: A part fails or breaks its contract; the message names the key, the file and the line. Failures
            within this package alone are raised unchanged, as they are bugs.
    """
    _check_monitors(module, data, trainer)
    _check_degradation(data.degrade)
    with isolate_rng(), warnings.catch_warnings(action="ignore"):
        try:
            probe = copy.deepcopy(module).to(trainer.strategy.root_device)
        except (RuntimeError, TypeError):
            return  # a network that cannot be copied is not tested
        try:
            for scale in data.scales:
                _train_once(probe, data, trainer, scale)
            _build_optimizers(probe, trainer)
            _validate_once(probe, data, data.scales[-1])
        except Exception as error:
            if not explain(error, Path()):  # machine failures are explained where training encounters them
                raise


def _check_monitors(module: SRModule, data: SRDataModule, trainer: pl.Trainer) -> None:
    """Checks what callbacks monitor: Lightning finds an unlogged value only after a validation, a wrong mode never."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    better, known = validated(module, data), monitorable(module, data)
    if not data.val_sets or any(not _is_ours(callback) for callback in callbacks):
        known = set()  # a user's callback may log anything
    for callback in callbacks:
        name, monitor = type(callback).__name__, getattr(callback, "monitor", None)
        if known and isinstance(monitor, str) and monitor not in known:
            raise UserError(f"callbacks: {name} monitors {monitor!r}, which nothing logs; {nearest(monitor, known)}")
        mode = getattr(callback, "mode", None)
        right = "max" if better.get(str(monitor), True) else "min"
        if monitor in better and mode in ("min", "max") and mode != right:
            which = "higher" if right == "max" else "lower"
            raise UserError(
                f"callbacks: {name} monitors {monitor} with mode: {mode}, but {which} is better; allowed: mode: {right}"
            )


def _check_degradation(degrade: Degradation) -> None:
    name = type(degrade).__name__
    missing = [part for part in ("margin", "describe", "__call__") if not callable(getattr(degrade, part, None))]
    if missing:
        raise UserError(f"data.degradation: {name} has no {', '.join(missing)} ({_defined(degrade)}){_DEGRADATION}")
    described = _attempt("data.degradation", [degrade], degrade.describe)
    if not isinstance(described, str):
        raise UserError(f"data.degradation: {name}.describe() gave {described!r} ({_defined(degrade)}){_DEGRADATION}")


def _train_once(probe: SRModule, data: SRDataModule, trainer: pl.Trainer, scale: int) -> None:
    assert probe.loss is not None
    batch = _train_batch(data, scale, trainer.strategy.root_device)
    terms_of = [probe.net, *probe.loss.terms.values()]
    with trainer.precision_plugin.forward_context():
        sr, hr = _attempt("model", [probe.net], lambda: probe.enlarged(batch))
        terms: dict[str, Tensor] = _attempt("loss", terms_of[1:], lambda: probe.loss(sr, hr))  # type: ignore[misc]  # not None
        for name, value in terms.items():
            if name != "total" and (not isinstance(value, Tensor) or value.numel() != 1):
                term = probe.loss.terms[name]
                found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise UserError(f"loss: {name} is {found}, allowed: a scalar ({_defined(term)})")
        total = terms["total"]
        if isinstance(probe, AdversarialModule):
            total = total + _attempt("adversarial", _adversaries(probe), lambda: _play(probe, sr, hr))
    if not total.requires_grad:
        raise UserError(
            f"model: the loss has no gradient with respect to {type(probe.net).__name__}'s weights "
            f"({_defined(probe.net)}); allowed: a forward that is differentiable, and weights to train"
        )
    _attempt("model or loss", terms_of, total.backward)


def _train_batch(data: SRDataModule, scale: int, device: torch.device) -> TrainBatch:
    n, ready = min(2, data.batch_size), data.train_images is not None and data.train_images.lr is not None
    degrade = data.degrade
    m = 0 if ready else _attempt("data.degradation", [degrade], lambda: degrade.margin(scale))
    side = data.patch_size + 2 * m
    hr = torch.randint(0, 256, (n, 3, side * scale, side * scale), dtype=torch.uint8, device=device)
    lr = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, device=device) if ready else None
    windows = TrainWindows(hr, lr, scale, dihedral=(0,) * n, keys=tuple(range(n)), next_k=0)
    if lr is None:
        made = _attempt("data.degradation", [degrade], lambda: degraded(degrade, hr, scale, windows.keys))
        if not isinstance(made, Tensor) or made.shape != (n, 3, side, side) or made.dtype != torch.uint8:
            found = f"{tuple(made.shape)} {made.dtype}" if isinstance(made, Tensor) else type(made).__name__
            raise UserError(
                f"data.degradation: {type(degrade).__name__} made {found} of {tuple(hr.shape)} at x{scale}, expected "
                f"{(n, 3, side, side)} torch.uint8 ({_defined(degrade)})"
            )
    return to_train_batch(windows, degrade)


def _adversaries(probe: AdversarialModule) -> list[object]:
    return [probe.adversary.discriminator, probe.adversary.loss]


def _play(probe: AdversarialModule, sr: Tensor, hr: Tensor) -> Tensor:
    """Returns the sum of both parts of the adversarial loss."""
    adversary = probe.adversary
    real, fake = adversary.judge(hr), adversary.judge(sr)
    return adversary.loss.generator(real, fake) + adversary.loss.discriminator(real, fake)


def _build_optimizers(probe: SRModule, trainer: pl.Trainer) -> None:
    if probe.optimizer is None:
        return
    for optimizer in probe.build_optimizers():
        if probe.scheduler is not None:
            probe.scheduler(optimizer, trainer.max_steps)


def _validate_once(probe: SRModule, data: SRDataModule, scale: int) -> None:
    side = max(_EVAL_SIZE, min_size(probe.net)) * scale
    hr = torch.randint(0, 256, (1, 3, side, side + scale), dtype=torch.uint8, device=probe.device)
    image = EvalImage(hr, None, scale, set="dry run", name="dry run", key=0)
    batch = _attempt("data.degradation", [data.degrade], lambda: to_eval_batch(image, data.degrade))
    with torch.no_grad():
        probe.eval()
        _attempt("model, in validation", [probe.net], lambda: super_resolve(probe.net, batch.lr, scale))


def _attempt(key: str, parts: Iterable[object], step: Callable[[], T]) -> T:
    """Runs a step; errors in the user's own classes are reported in one line with their location."""
    try:
        return step()
    except UserError:
        raise
    except Exception as error:
        if explain(error, Path()):
            raise
        if (place := user_place(error)) is not None:
            raise UserError(f"{key}: {one_line(error)} ({place})") from None
        theirs = [part for part in parts if not _is_ours(part)]
        if not theirs:
            raise
        raise UserError(f"{key}: {one_line(error)} ({', '.join(map(_defined, theirs))})") from None


def _is_ours(part: object) -> bool:
    return type(part).__module__.partition(".")[0] in _OURS


def _defined(part: object) -> str:
    """Returns where a class is defined: `mynet.py:5, class Net`."""
    kind = type(part)
    try:
        return f"{shown(Path(inspect.getfile(kind)))}:{inspect.getsourcelines(kind)[1]}, class {kind.__name__}"
    except (OSError, TypeError):
        return f"class {kind.__module__}.{kind.__name__}"
