"""Measured quality of an exported network, from the table of pretrained weights or its run's final test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr_lightning.metrics.psnr_ssim import PROTOCOL
from sr_lightning.runs.record import as_number, read_run
from sr_lightning.text import single_line
from sr_lightning.weights.pretrained import pretrained_figures, pretrained_file

_MOST = 100  # maximum number of sets
_LONGEST = 100  # maximum characters of a set's name


def known_figures(checkpoint: Path, sha256: str, scale: int) -> dict[str, str]:
    """Returns PSNR / SSIM on Y by test set.

    Args:
        checkpoint: The weights file.
        sha256: SHA-256 of that file: a run's results count only if they were measured with this very file.
        scale: The exported scale.

    Returns:
        Empty if nothing is known, as for a run that was not tested or has been trained further since.
    """
    if checkpoint == pretrained_file(checkpoint.stem):
        return pretrained_figures(checkpoint.stem)
    if checkpoint.parent.name != "checkpoints":
        return {}
    results = read_run(checkpoint.absolute().parents[1]).results
    if not results or results.get("split") == "validation":
        return {}
    found = (_figure(row) for row in results["rows"] if _is_of(row, sha256, scale))
    kernel = _lr_kernel(results)
    return dict([(f"{name}{kernel}", text) for name, text in filter(None, found)][:_MOST])


def _is_of(row: dict[str, Any], sha256: str, scale: int) -> bool:
    return row.get("checkpoint_sha256") == sha256 and as_number(row.get("scale")) == scale


def _figure(row: dict[str, Any]) -> tuple[str, str] | None:
    """Returns (set, text); None if figures are missing or infinite."""
    name, psnr, ssim = row.get("set"), as_number(row.get("psnr_y")), as_number(row.get("ssim_y"))
    if not isinstance(name, str) or psnr is None or ssim is None or not (abs(psnr) < 1000 and abs(ssim) <= 1):
        return None
    return single_line(name)[:_LONGEST], f"{psnr:.2f} / {ssim:.4f}".replace("/ 0.", "/ .")


def _lr_kernel(results: dict[str, Any]) -> str:
    """Returns a suffix that names the LR kernel if it is not the protocol's."""
    protocol = results.get("protocol")
    kernel = protocol.get("lr_kernel") if isinstance(protocol, dict) else None
    is_usual = kernel in (None, PROTOCOL["lr_kernel"])
    return "" if is_usual else f" (LR: {single_line(str(kernel)[:_LONGEST])})"
