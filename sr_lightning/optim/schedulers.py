"""Learning-rate schedules in optimizer steps, with the length of the training, `trainer.max_steps`.

Each takes the optimizer and the number of steps, and scales the optimizer's `lr`, the peak learning rate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from sr_lightning.errors import UserError


def constant(optimizer: Optimizer, max_steps: int, *, warmup_steps: int = 0) -> LambdaLR:
    """Constant learning rate.

    Args:
        optimizer: The optimizer, whose `lr` is the learning rate.
        max_steps: Length of the training.
        warmup_steps: Steps over which the learning rate first rises linearly.
    """
    _check_warmup(warmup_steps, max_steps)
    return LambdaLR(optimizer, functools.partial(_constant, warmup=warmup_steps))


def cosine(optimizer: Optimizer, max_steps: int, *, warmup_steps: int = 0, final: float = 0.0) -> LambdaLR:
    """Half a cosine from `lr` down to `final * lr` (Loshchilov and Hutter 2017, SGDR, eq. 5, one period).

    Args:
        optimizer: The optimizer, whose `lr` is the peak learning rate.
        max_steps: Length of the training.
        warmup_steps: Steps over which the learning rate first rises linearly.
        final: Final learning rate as a share of `lr`.
    """
    _check_warmup(warmup_steps, max_steps)
    return LambdaLR(optimizer, functools.partial(_cosine, warmup=warmup_steps, steps=max_steps, final=final))


def one_cycle(
    optimizer: Optimizer, max_steps: int, *, rise: float = 0.3, initial: float = 0.04, final: float = 4e-6
) -> LambdaLR:
    """Rise and fall in two half cosines (Smith and Topin 2018, super-convergence; torch's OneCycleLR).

    Args:
        optimizer: The optimizer, whose `lr` is the peak learning rate.
        max_steps: Length of the training.
        rise: Share of the steps in which the learning rate rises.
        initial: Initial learning rate as a share of `lr`.
        final: Final learning rate as a share of `lr`.
    """
    if not 0 < rise < 1:
        raise UserError(f"scheduler.rise: found {rise}, allowed: between 0 and 1")
    up = max(rise * max_steps - 1, 0.0)
    shape = functools.partial(_one_cycle, up=up, steps=max_steps, initial=initial, final=final)
    return LambdaLR(optimizer, shape)


def multistep(
    optimizer: Optimizer,
    max_steps: int,
    *,
    milestones: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    gamma: float = 0.5,
    warmup_steps: int = 0,
) -> LambdaLR:
    """Learning rate that is multiplied by `gamma` at each milestone.

    Args:
        optimizer: The optimizer, whose `lr` is the initial learning rate.
        max_steps: Length of the training.
        milestones: Shares of the training, so that a longer run needs no new numbers.
        gamma: Factor at each milestone.
        warmup_steps: Steps over which the learning rate first rises linearly.
    """
    _check_warmup(warmup_steps, max_steps)
    if any(not 0 < share < 1 for share in milestones):
        raise UserError(f"scheduler.milestones: found {list(milestones)}, allowed: shares between 0 and 1")
    steps = tuple(round(share * max_steps) for share in milestones)
    return LambdaLR(optimizer, functools.partial(_multistep, milestones=steps, gamma=gamma, warmup=warmup_steps))


# LambdaLR does not save plain functions in a checkpoint, so a resumed run's schedule follows from its config alone.


def _warmed(step: int, warmup: int) -> float:
    return min((step + 1) / warmup, 1.0) if warmup else 1.0


def _constant(step: int, *, warmup: int) -> float:
    return _warmed(step, warmup)


def _cosine(step: int, *, warmup: int, steps: int, final: float) -> float:
    if step < warmup:
        return _warmed(step, warmup)
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def _one_cycle(step: int, *, up: float, steps: int, initial: float, final: float) -> float:
    def between(start: float, end: float, share: float) -> float:
        return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))

    if step <= up:
        return between(initial, 1.0, step / up if up else 1.0)
    return between(1.0, final, min((step - up) / max(steps - 1 - up, 1e-9), 1.0))


def _multistep(step: int, *, milestones: tuple[int, ...], gamma: float, warmup: int) -> float:
    return _warmed(step, warmup) * gamma ** sum(step >= milestone for milestone in milestones)


def _check_warmup(warmup_steps: int, max_steps: int) -> None:
    if not 0 <= warmup_steps < max_steps:
        raise UserError(
            f"scheduler.warmup_steps: found {warmup_steps}, allowed: 0 to trainer.max_steps - 1 ({max_steps - 1})"
        )
