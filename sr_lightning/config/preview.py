"""The schema of `conf/preview.yaml` and its check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from sr_lightning.config.findings import refuse, unknown_keys
from sr_lightning.config.schema import TrainConfig
from sr_lightning.config.train import check_train, take_section


@dataclass
class PreviewConfig:
    """What a training run would be, and the image that shows its samples."""

    train: TrainConfig
    output: Path
    """The PNG file that is written."""
    n: int
    """Number of samples shown."""


def check_preview(config: DictConfig) -> PreviewConfig:
    """Checks a composed `preview` config.

    Args:
        config: As composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists the findings, one per line.
    """
    train, section = take_section(config, "preview")
    output, n = section.get("output"), section.get("n")
    findings = unknown_keys(section, ("output", "n"), "preview")
    if not isinstance(output, str) or not output.endswith(".png"):
        findings.append(f"preview.output: found {output!r}, allowed: a file name with the suffix .png")
    if type(n) is not int or n < 1:
        findings.append(f"preview.n: found {n!r}, allowed: 1 and more")
    refuse(findings)
    return PreviewConfig(check_train(train), Path(str(output)), int(str(n)))
