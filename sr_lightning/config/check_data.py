"""Schema and check of `conf/check_data.yaml`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from sr_lightning.config.findings import fill_schema, refuse
from sr_lightning.config.schema import TrainConfig
from sr_lightning.config.train import check_train, take_section


@dataclass
class CheckDataConfig:
    """The data of a training run, or folders to check instead, and the report about them."""

    train: TrainConfig
    output: Path
    """The JSON file that is written."""
    folders: list[str] | None
    """Folders to check instead of the sets of `train.data`."""


def check_check_data(config: DictConfig) -> CheckDataConfig:
    """Checks a composed `check_data` config.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: The config is invalid or the output cannot be written; the message has one line per finding.
    """
    train, section = take_section(config, "check_data")
    findings: list[str] = []
    found = fill_schema(CheckDataConfig, section, findings, "check_data", train=None)
    output, folders = str(found.output), found.folders
    if not output.endswith(".json"):
        findings.append(f"check_data.output: found {found.output!r}, allowed: a file name with the suffix .json")
    chosen = [folders] if isinstance(folders, str) else folders
    if chosen is not None and not (
        isinstance(chosen, list) and chosen and all(isinstance(folder, str) for folder in chosen)
    ):
        findings.append(f"check_data.folders: found {folders!r}, allowed: a folder, or a list of folders")
    refuse(findings)
    found.train = check_train(train, counts_images=False)  # too few are one finding among those about the images
    found.output, found.folders = Path(output), chosen
    refuse(_output_findings(found.output))
    return found


def _output_findings(path: Path) -> list[str]:
    """Tests that the output can be written before work begins, without touching an earlier report."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        return [f"check_data.output: cannot write {path}: {error.strerror}"]
    return []
