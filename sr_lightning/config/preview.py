"""Schema and check of `conf/preview.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sr_lightning.config.findings import fill_schema, refuse
from sr_lightning.config.schema import TrainConfig
from sr_lightning.config.train import check_train, take_section


@dataclass
class PreviewConfig:
    """Config of the training run to preview, and of the image with its samples."""

    train: TrainConfig
    output: Path | None
    """The PNG file that is written; None for a new folder below `<paths.runs>/preview`."""
    n: int
    """Number of samples shown."""


def check_preview(config: DictConfig) -> PreviewConfig:
    """Checks a composed `preview` config.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists the findings, one per line.
    """
    train, section = take_section(config, "preview")
    findings: list[str] = []
    found = fill_schema(PreviewConfig, section, findings, "preview", train=None)
    output: Any = found.output
    if isinstance(output, str) and output.endswith(".png"):
        found.output = Path(output)
    elif output is not None:
        findings.append(f"preview.output: found {output!r}, allowed: a file name with the suffix .png, or null")
    if type(found.n) is not int or found.n < 1:
        findings.append(f"preview.n: found {found.n!r}, allowed: 1 and more")
    refuse(findings)
    found.train = check_train(train)
    return found
