"""Execution order of the callbacks."""

from __future__ import annotations

from collections.abc import Sequence

import lightning.pytorch as pl

from sr_lightning.callbacks.exact_resume import ExactResume, PendingValidation
from sr_lightning.callbacks.safe_stop import SafeStop

# Positions in order, each with its reason. Lightning runs callbacks in list order, except that it moves subclasses of
# `Checkpoint` to the end, which suits us: they save what all others have recorded.
_PLACES: tuple[tuple[type[pl.Callback] | None, str], ...] = (
    (None, "everything else: averages, checks and logs of a step belong to it, so they come before it is noted"),
    (ExactResume, "notes where the run stands once all others are done with the step"),
    (SafeStop, "saves a step that has been noted; installs the handlers of signals when training starts"),
    (PendingValidation, "validates when training starts, after the handlers are there, so that it can be interrupted"),
)


def in_order(callbacks: Sequence[pl.Callback]) -> list[pl.Callback]:
    """Sorts the callbacks by position; those of the same position keep their order."""
    kinds = [kind for kind, _ in _PLACES]

    def place(callback: pl.Callback) -> int:
        found = (at for at, kind in enumerate(kinds) if kind is not None and isinstance(callback, kind))
        return next(found, kinds.index(None))

    return sorted(callbacks, key=place)
