"""Check for Lightning callbacks that are incompatible with step-based training, with what to type instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_REFUSED = {
    "StochasticWeightAveraging": "begins and ends with epochs, which there are none of; allowed: callbacks=ema",
    "GradientAccumulationScheduler": "changes with epochs, which there are none of; allowed: "
    "trainer.accumulate_grad_batches",
    "BatchSizeFinder": "changes data.batch_size, and with it which samples a step sees; allowed: data.batch_size",
    "LearningRateFinder": "trains before the training, which could not be resumed; allowed: a sweep, "
    "-m optimizer.lr=1e-4,1e-3",
    "BackboneFinetuning": "begins with epochs, which there are none of; allowed: model.weights and model.fresh",
}


def callback_findings(callbacks: dict[str, Any]) -> Iterator[str]:
    """Yields one message per callback that cannot work.

    Args:
        callbacks: The section; values of a wrong type are left to the type check.
    """
    for key, section in callbacks.items():
        package, _, name = str(section.get("_target_") if isinstance(section, dict) else "").rpartition(".")
        if package.startswith(("lightning.", "pytorch_lightning.")) and name in _REFUSED:
            yield f"callbacks.{key}: {name} {_REFUSED[name]}"
