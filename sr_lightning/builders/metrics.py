"""Builds the metrics beside PSNR and SSIM: ours by their names, others by their classes."""

from __future__ import annotations

from typing import Any

from torch import nn

from sr_lightning.builders.components import build
from sr_lightning.errors import UserError
from sr_lightning.metrics.base import QualityMetric
from sr_lightning.metrics.own import OwnMetric
from sr_lightning.metrics.quality import UnavailableMetric, build_metrics


def build_quality_metrics(
    sections: dict[str, dict[str, Any]], key: str
) -> dict[str, QualityMetric | UnavailableMetric]:
    """The metrics in their order.

    Args:
        sections: Name -> section, as `config.metrics_check` gives them; empty for ours.
        key: The sections' key, for messages.

    Returns:
        For each name the metric, or the reason why one of ours is unavailable.

    Raises:
        UserError: One cannot be built, or is no metric.
    """
    return {
        name: _own(section, f"{key}.{name}", name) if section else build_metrics([name])[name]
        for name, section in sections.items()
    }


def build_validation_metrics(sections: dict[str, dict[str, Any]]) -> dict[str, QualityMetric]:
    """As `build_quality_metrics`; one that is unavailable is refused: a checkpoint may be chosen by it."""
    found: dict[str, QualityMetric] = {}
    for name, metric in build_quality_metrics(sections, "val_metrics").items():
        if isinstance(metric, UnavailableMetric):
            raise UserError(f"val_metrics.{name}: {metric.reason}")
        found[name] = metric
    return found


def _own(section: dict[str, Any], key: str, name: str) -> QualityMetric:
    metric = build({k: value for k, value in section.items() if k != "higher_is_better"}, key)
    if not callable(metric):
        raise UserError(f"{key}: {section['_target_']} cannot be called, allowed: metric(sr, hr) -> a number")
    if all(hasattr(metric, part) for part in ("higher_is_better", "protocol", "smallest")):
        if isinstance(metric, nn.Module):
            metric.eval().requires_grad_(False)
        return metric  # type: ignore[no-any-return]  # it follows our protocol
    return OwnMetric(key, metric, higher_is_better=section.get("higher_is_better"))
