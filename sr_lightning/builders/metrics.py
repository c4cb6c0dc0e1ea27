"""Construction of metrics other than PSNR and SSIM: built-in ones by name, others by class."""

from __future__ import annotations

from typing import Any

from torch import nn

from sr_lightning.builders.components import build
from sr_lightning.errors import UserError
from sr_lightning.metrics.base import QualityMetric
from sr_lightning.metrics.custom import CustomMetric
from sr_lightning.metrics.quality import UnavailableMetric, build_metrics


def build_quality_metrics(
    sections: dict[str, dict[str, Any]], key: str
) -> dict[str, QualityMetric | UnavailableMetric]:
    """Builds metrics, in the order of their sections.

    Args:
        sections: Name -> section, as returned by `config.metrics_check`; empty for built-in metrics.
        key: Key of the sections, for messages.

    Returns:
        Name -> metric, or the reason why a built-in metric is unavailable.

    Raises:
        UserError: A metric cannot be built, or is not a metric.
    """
    return {
        name: _own(section, f"{key}.{name}", name) if section else build_metrics([name])[name]
        for name, section in sections.items()
    }


def build_validation_metrics(sections: dict[str, dict[str, Any]]) -> dict[str, QualityMetric]:
    """Like `build_quality_metrics`, but refuses unavailable metrics, as checkpoints may be selected by them."""
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
        return metric  # type: ignore[no-any-return]  # it implements our protocol
    return CustomMetric(key, metric, higher_is_better=section.get("higher_is_better"))
