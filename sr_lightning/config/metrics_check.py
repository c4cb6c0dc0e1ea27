"""Check of `metrics` (evaluation) and `val_metrics` (training): names of built-in metrics, or classes of any others."""

from __future__ import annotations

import re
from typing import Any

from sr_lightning.config.section_check import check_section
from sr_lightning.config.signatures import table_keys
from sr_lightning.text import nearest

_NAME = re.compile(r"(?!bicubic)[A-Za-z_]\w{0,39}", re.ASCII)
# Other columns of results.json, per_image.csv, results.csv and a comparison's table.csv, in which metrics are columns.
_TAKEN = {
    *("set", "scale", "name", "key", "method", "checkpoint", "checkpoint_sha256", "images", "psnr_y", "ssim_y", "gain"),
    *("lowest_gain", "exact_images", "psnr_y_without_exact", "params", "seconds", "seconds_per_image", "seed"),
    *("multiply_adds", "latency_seconds", "peak_memory_bytes", "output_size", "device", "precision", "trained_on"),
    *("predictions", "run", "folder", "status", "reason", "rank", "score", "to_best", "to_best_low", "to_best_high"),
    *("p_holm", "better_than_best", "of_images", "val_gain", "minutes", "steps"),
    *("kind", "source", "psnr_y_std", "ssim_y_std"),
}


def is_metric_name(name: str) -> bool:
    """Whether a metric may have this name: safe in all files and tables, and not used by another column."""
    return _NAME.fullmatch(name) is not None and name not in _TAKEN


def checked_metrics(key: str, value: Any, findings: list[str]) -> dict[str, dict[str, Any]]:
    """Checks a section of metrics.

    Args:
        key: `metrics` or `val_metrics`.
        value: null, the name of a built-in metric, a list of such names, or a mapping from names to `true` (built-in)
            or a section.
        findings: Receives one message per mistake.

    Returns:
        Name -> section, which is empty for built-in metrics.
    """
    ours = table_keys("sr_lightning.metrics.quality", "METRICS")
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        value = dict.fromkeys(names, True)
    if value is not None and not isinstance(value, dict):
        allowed = f"a list of {', '.join(ours)}, or one of your own: +{key}.mine={{_target_: my.Metric}}"
        findings.append(f"{key}: found {value!r}, allowed: {allowed}")
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, section in (value or {}).items():
        if isinstance(section, dict):
            if name in ours:
                findings.append(f"{key}.{name}: is one of ours, allowed for your own: another name")
            elif not is_metric_name(str(name)):
                which = "at most 40 letters, no column of results.json or of a comparison's table, not bicubic…"
                findings.append(f"{key}.{name}: allowed: a name of {which}")
            check_section(section, f"{key}.{name}", findings, extra={"higher_is_better": "bool"})
            found[str(name)] = section
        elif section is True and name in ours:
            found[str(name)] = {}
        elif section is True:
            own = f"one of your own is +{key}.mine={{_target_: my.Metric}}"
            where = key if isinstance(names, list) else f"{key}.{name}"
            findings.append(f"{where}: found {name!r}, {nearest(str(name), ours)}; {own}")
        elif section not in (None, False):
            findings.append(f"{key}.{name}: found {section!r}, allowed: true (one of ours), a section with a _target_")
    return found
