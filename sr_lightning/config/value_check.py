"""Check that the numbers in a train config are in range."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

from sr_lightning.config.path_check import set_findings
from sr_lightning.config.schema import EMA, TrainConfig

# Section, key, lowest allowed value. Values that are not numbers (null) are ignored.
_AT_LEAST = (
    ("data", "batch_size", 1),
    ("data", "patch_size", 1),
    ("data", "num_workers", 0),
    ("data", "val_crop", 1),
    ("data", "val_holdout", 0),
    ("data", "store_limit_gb", 0),
    ("trainer", "max_steps", 1),
    ("trainer", "val_check_interval", 1),
    ("trainer", "accumulate_grad_batches", 1),
    ("trainer", "log_every_n_steps", 1),
    ("optimizer", "weight_decay", 0),
    ("trainer", "gradient_clip_val", 0),
    ("adversarial", "weight", 0),
    ("loss", "charbonnier_eps", 0),
)


def range_findings(config: TrainConfig) -> Iterator[str]:
    """Yields one message per value that is out of range; values of a wrong type are left to the type check."""
    for section, key, lowest in _AT_LEAST:
        value = _section(config, section).get(key)
        if isinstance(value, int | float) and value < lowest:
            yield f"{section}.{key}: found {value}, allowed: {lowest} and more"
    yield from _sizes(_section(config, "model"))
    learning_rate = _section(config, "optimizer").get("lr")
    if isinstance(learning_rate, int | float) and learning_rate <= 0:
        yield f"optimizer.lr: found {learning_rate}, allowed: above 0"
    yield from _loss_weights(config.loss)
    yield from _schedule(config)
    yield from _averages(config)
    if config.adversarial is not None:
        yield from _adversarial(config, config.adversarial)
    yield from _data(config)


def _sizes(model: dict[str, Any]) -> Iterator[str]:
    """Yields one message per number of channels, blocks, … below 1; most networks would silently build none of them."""
    for key, value in model.items() if str(model.get("_target_")).startswith("sr_lightning.") else ():
        if key.startswith("n_") and isinstance(value, int) and value < 1:
            yield f"model.{key}: found {value}, allowed: 1 and more"


def _schedule(config: TrainConfig) -> Iterator[str]:
    if not isinstance(_section(config, "trainer").get("max_steps"), int):
        yield "trainer.max_steps: must be given"
    if str(_section(config, "scheduler").get("_target_")).endswith(".ReduceLROnPlateau"):
        yield (
            "scheduler: ReduceLROnPlateau follows what validations measure, and schedules here follow the step; "
            "allowed: another of torch.optim.lr_scheduler, or scheduler=one_cycle, cosine, multistep, constant"
        )


def _averages(config: TrainConfig) -> Iterator[str]:
    """Yields one message per weight average that would not start before training ends."""
    steps = _section(config, "trainer").get("max_steps")
    for name, section in config.callbacks.items():
        if not isinstance(section, dict) or section.get("_target_") != EMA:
            continue
        start, every = section.get("start", 0), section.get("every", 1)
        if not all(isinstance(number, int) for number in (steps, start, every)) or every < 1:
            continue
        if (first := (start // every + 1) * every) > steps:
            yield (
                f"callbacks.{name}: found start={start} and every={every}, which first average at step {first}, but "
                f"training ends at step {steps}; allowed: less, or without the average (callbacks=default)"
            )


def _data(config: TrainConfig) -> Iterator[str]:
    workers, most = _section(config, "data").get("num_workers"), 16 * (os.cpu_count() or 1)
    if isinstance(workers, int) and workers > most:
        yield f"data.num_workers: found {workers}, a process each, allowed: 0 to {most}, 16 for each core"
    shards = _section(config, "data").get("shards")
    spread = shards.get("spread") if isinstance(shards, dict) else None
    if isinstance(spread, int) and spread < 1:
        yield f"data.shards.spread: found {spread}, allowed: 1 and more"
    for split in ("val", "test"):
        entries = _section(config, "data").get(split)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            yield from set_findings(f"data.{split}.{name}", str(name), entry)


def _section(config: TrainConfig, name: str) -> dict[str, Any]:
    section = getattr(config, name)
    return section if isinstance(section, dict) else {}


def _loss_weights(loss: dict[str, Any]) -> Iterator[str]:
    weights = {"loss.alpha": loss.get("alpha", 1.0), "loss.beta": loss.get("beta", 0.0)}
    terms = loss.get("terms", {}).items()
    weights |= {f"loss.terms.{name}.weight": term.get("weight") for name, term in terms if isinstance(term, dict)}
    # The type check reports non-finite weights, except those of terms, which no constructor declares.
    type_checked = ("loss.alpha", "loss.beta")
    for key, weight in weights.items():
        is_finite = isinstance(weight, int | float) and math.isfinite(weight)
        if (is_finite and weight < 0) or (not is_finite and key not in type_checked):
            yield f"{key}: found {weight}, allowed: a finite number, 0 and more"
    perceptual = loss.get("perceptual")
    shift = perceptual.get("shift") if isinstance(perceptual, dict) else None
    if isinstance(shift, int) and shift < 0:
        yield f"loss.perceptual.shift: found {shift}, allowed: 0 and more pixels"
    if not any(weights.values()):
        keys = "loss.alpha, loss.beta and the weights of loss.terms"
        yield f"{keys}: all are 0, so there is nothing to train on; allowed: at least one above 0"


def _adversarial(config: TrainConfig, section: dict[str, Any]) -> Iterator[str]:
    optimizer = section.get("optimizer")
    learning_rate = optimizer.get("lr") if isinstance(optimizer, dict) else None
    if isinstance(learning_rate, int | float) and learning_rate <= 0:
        yield f"adversarial.optimizer.lr: found {learning_rate}, allowed: above 0"
    accumulate = _section(config, "trainer").get("accumulate_grad_batches", 1)
    if isinstance(accumulate, int) and accumulate > 1:
        yield (
            f"trainer.accumulate_grad_batches: found {accumulate}, but adversarial training steps at every batch; "
            "allowed: 1, or adversarial=null"
        )
