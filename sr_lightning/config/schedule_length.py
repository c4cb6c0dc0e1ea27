"""Name of the argument that sets the total number of steps of a learning-rate schedule."""

from __future__ import annotations

from typing import Any

from sr_lightning.config.signatures import parameters

_NAMES = ("max_steps", "total_steps", "T_max")


def length_argument(section: dict[str, Any]) -> str | None:
    """Returns the argument of a `scheduler` section that is set to `trainer.max_steps`; None if absent or already set.

    Torch's schedules differ: `StepLR` has no such argument, `CosineAnnealingLR` has `T_max`, `OneCycleLR` has
    `total_steps`. A user's own function takes it second, after the optimizer, under any name.
    """
    target = str(section.get("_target_"))
    accepted = parameters(target) or {}
    named = next((name for name in _NAMES if name in accepted), None)
    if named is None and not target.startswith("torch.") and len(accepted) > 1:
        second = list(accepted.values())[1]
        named = second.name if second.required else None
    return named if named is not None and section.get(named) is None else None
