"""Check of run names and tags against the rules of Weights & Biases, before any images are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

WANDB = "sr_lightning.loggers.wandb_logger"
"""`_target_` of a W&B section."""
_FORBIDDEN = "/\\#?%:"
_LONGEST = {"project": 128, "entity": 128, "name": 128, "group": 128, "job_type": 64}
LONGEST_TAG = 64


def wandb_findings(loggers: dict[str, Any]) -> Iterator[str]:
    """Yields one message per value of a W&B section that W&B would reject.

    Args:
        loggers: The section `logger`; values of a wrong type are left to the type check.
    """
    for key, section in loggers.items():
        if isinstance(section, dict) and section.get("_target_") == WANDB and section.get("mode") != "disabled":
            yield from _section_findings(f"logger.{key}", section)


def _section_findings(key: str, section: dict[str, Any]) -> Iterator[str]:
    for name, longest in _LONGEST.items():
        value = section.get(name)
        if isinstance(value, str) and (len(value) > longest or (not value.strip() and name != "entity")):
            yield f"{key}.{name}: found {_short(value)}, {len(value)} characters, allowed: 1 to {longest}"
    for name in ("project", "entity"):
        value = section.get(name)
        if isinstance(value, str) and (found := [sign for sign in _FORBIDDEN if sign in value]):
            allowed = f"no {' '.join(_FORBIDDEN)}"
            if name == "project" and value.count("/") == 1 and found == ["/"]:
                entity, _, project = value.partition("/")
                allowed += f"; a team is logger.wandb.entity={entity} logger.wandb.project={project}"
            yield f"{key}.{name}: found {_short(value)}, allowed: {allowed}"
    tags = section.get("tags")
    tags = tags if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) else []
    for tag in dict.fromkeys(tags):
        if not 1 <= len(tag) <= LONGEST_TAG:
            yield f"{key}.tags: found {_short(tag)}, {len(tag)} characters, allowed: 1 to {LONGEST_TAG}"
        if tags.count(tag) > 1:
            yield f"{key}.tags: found {_short(tag)} {tags.count(tag)} times, allowed: each tag once"


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:20]}…{value[-19:]}")
