"""The files `results.json` and `per_image.csv`."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sr_lightning.evaluation.scores import BICUBIC, ImageScore, MethodId, SetScore, bicubic_scores, gain, summarise
from sr_lightning.files import replacing
from sr_lightning.metrics.psnr_ssim import PROTOCOL
from sr_lightning.metrics.quality import QualityMetric, UnavailableMetric
from sr_lightning.text import spreadsheet_cell


def write_results(
    folder: Path,
    scores: Sequence[ImageScore],
    *,
    facts: Mapping[MethodId, Mapping[str, Any]],
    protocol: Mapping[str, Any],
    costs: Mapping[tuple[MethodId, int], Mapping[str, Any]] | None = None,
    metrics: Mapping[str, QualityMetric | UnavailableMetric] | None = None,
    extra: Mapping[str, Any],
) -> None:
    """Writes `per_image.csv`, then `results.json`, whose presence marks the run as finished.

    Args:
        folder: The run's folder.
        scores: One score per image and method, including bicubic.
        facts: Further entries of each method's rows, such as its `checkpoint` and `params`. `per_image.csv` holds rows
            of these methods only; each also lists the figures of bicubic.
        protocol: Changes and additions to `PROTOCOL`.
        costs: Cost of each method at each scale.
        metrics: Metrics besides PSNR and SSIM; whether higher is better is recorded for readers that do not know them.
        extra: Further top-level entries, e.g. the objective.
    """
    document = {
        "protocol": {**PROTOCOL, **protocol},
        "rows": [
            _row(row) | {**facts.get(row.method, {}), **(costs or {}).get((row.method, row.scale), {})}
            for row in summarise(scores)
        ],
        "higher_is_better": {
            name: metric.higher_is_better
            for name, metric in (metrics or {}).items()
            if not isinstance(metric, UnavailableMetric)
        },
        **extra,
    }
    with replacing(folder / "results.json") as json_part, replacing(folder / "per_image.csv") as csv_part:
        # Both are complete before one of them replaces an earlier file.
        json_part.write_text(json.dumps(_json_value(document), indent=1, ensure_ascii=False), encoding="utf-8")
        _write_per_image(csv_part, scores, facts)


def _row(row: SetScore) -> dict[str, Any]:
    gains = {} if row.method == BICUBIC else {"gain": row.gain, "lowest_gain": row.lowest_gain}
    return {
        "set": row.set,
        "scale": row.scale,
        "images": row.images,
        "method": row.method.label,
        "checkpoint": row.method.source,
        "psnr_y": row.psnr_y,
        "ssim_y": row.ssim_y,
        **({"exact_images": list(row.exact), "psnr_y_without_exact": row.finite_psnr_y} if row.exact else {}),
        **gains,
        **row.more,
        "params": 0,
        "seconds_per_image": row.seconds,
    }


def _write_per_image(path: Path, scores: Sequence[ImageScore], facts: Mapping[MethodId, Mapping[str, Any]]) -> None:
    bicubic = bicubic_scores(scores)
    rows = []
    for score in scores:
        if score.method not in facts:
            continue
        base = bicubic[score.image]
        rows.append(
            {
                "set": score.set,
                "scale": score.scale,
                "name": score.name,
                "key": score.key,
                "method": score.method.label,
                "checkpoint": facts[score.method].get("checkpoint", score.method.source),
                "psnr_y": score.psnr_y,
                "ssim_y": score.ssim_y,
                "bicubic_psnr_y": base.psnr_y,
                "bicubic_ssim_y": base.ssim_y,
                "seconds": score.seconds,
                "bicubic_seconds": base.seconds,
                "gain": gain(score.psnr_y, base.psnr_y),
                **score.more,
            }
        )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows({name: spreadsheet_cell(value) for name, value in row.items()} for row in rows)


def _json_value(value: Any) -> Any:
    """Makes a value valid JSON: infinity and NaN become null, undecodable bytes of a path become escapes."""
    if isinstance(value, Mapping):
        return {_json_value(key): _json_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(entry) for entry in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value
