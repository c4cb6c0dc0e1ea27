"""Schema and check of `conf/compare.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from sr_lightning.config.conf_files import resolved
from sr_lightning.config.findings import fill_schema, refuse
from sr_lightning.config.metrics_check import is_metric_name
from sr_lightning.config.schema import PathsConfig
from sr_lightning.config.signatures import table_keys
from sr_lightning.config.train import checked_parts, checked_paths
from sr_lightning.config.wandb_check import WANDB, wandb_findings
from sr_lightning.text import nearest

_SWITCHES = ("plots", "page", "images")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass
class CompareConfig:
    """The keys of `conf/compare.yaml`, as plain containers with every interpolation resolved."""

    runs: list[str]
    output: str | None
    rank_by: str
    plots: bool
    page: bool
    images: bool
    max_images: int
    page_mb: float
    device: str
    seed: int
    logger: dict[str, dict[str, Any]]
    paths: PathsConfig


def check_compare(config: DictConfig) -> CompareConfig:
    """Checks a composed `compare` config, without importing torch.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    findings: list[str] = []
    found = fill_schema(CompareConfig, {"logger": {}} | resolved(config, "compare"), findings)  # logger=csv has no keys
    found.logger = checked_parts("logger", found.logger, findings)
    findings += wandb_findings(found.logger)
    findings += [
        f"logger.{name}: found {section.get('_target_')}, allowed: logger=wandb, which keeps the files; logger=csv"
        for name, section in found.logger.items()
        if isinstance(section, dict) and section.get("_target_") != WANDB
    ]
    found.paths = checked_paths(found.paths, findings)
    runs: Any = [found.runs] if isinstance(found.runs, str) else found.runs
    if not isinstance(runs, list) or not runs or not all(isinstance(entry, str) and entry for entry in runs):
        findings.append(f"runs: found {found.runs!r}, allowed: a folder, a glob, or a list of them")
    found.runs = runs
    if found.output is not None and (not isinstance(found.output, str) or not found.output):
        findings.append(f"output: found {found.output!r}, allowed: a folder, or null")
    metrics = ("psnr_y", "ssim_y", *table_keys("sr_lightning.metrics.quality", "METRICS"))
    if found.rank_by not in metrics and not (isinstance(found.rank_by, str) and is_metric_name(found.rank_by)):
        findings.append(f"rank_by: found {found.rank_by!r}, {nearest(str(found.rank_by), metrics)}")
    for key in _SWITCHES:
        if not isinstance(value := getattr(found, key), bool):
            findings.append(f"{key}: found {value!r}, allowed: true or false")
    if type(found.max_images) is not int or not 1 <= found.max_images <= 1000:
        findings.append(f"max_images: found {found.max_images!r}, allowed: 1 to 1000")
    size = found.page_mb
    if isinstance(size, bool) or not isinstance(size, int | float) or not 1 <= size <= 2000:
        findings.append(f"page_mb: found {size!r}, allowed: 1 to 2000 megabytes")
    if not isinstance(found.device, str) or not _DEVICE.fullmatch(found.device):
        findings.append(f"device: found {found.device!r}, allowed: auto, cpu, cuda, cuda:1")
    if type(found.seed) is not int or not 0 <= found.seed < 2**32:
        findings.append(f"seed: found {found.seed!r}, allowed: a whole number from 0 to 4294967295")
    refuse(findings)
    return found
