"""Schema and check of `conf/export.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from sr_lightning.config.conf_files import resolved
from sr_lightning.config.findings import fill_schema, refuse
from sr_lightning.config.schema import EXTRA_KEYS, SCALES
from sr_lightning.config.section_check import check_section
from sr_lightning.config.signatures import constant, table_keys
from sr_lightning.errors import UserError
from sr_lightning.text import nearest
from sr_lightning.weights.location import find_weights_file
from sr_lightning.weights.saved_target import saved_target

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors", "spandrel": ".safetensors"}
"""File suffix of each format."""
_PRECISIONS = ("float32", "float16")


@dataclass
class ExportConfig:
    """The keys of `conf/export.yaml`, as plain containers with every interpolation resolved."""

    checkpoint: str
    """A file, a run's folder, or the name of pretrained weights."""
    model: dict[str, Any] | None
    """Network section for a checkpoint that does not contain one."""
    scale: int | None
    """None for the largest scale of the checkpoint."""
    format: Literal["onnx", "torch_export", "safetensors", "spandrel"]
    precision: Literal["float32", "float16"]
    output: str | None
    runner: bool
    overwrite: bool


def check_export(config: DictConfig) -> ExportConfig:
    """Checks a composed `export` config, without importing torch.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    findings: list[str] = []
    found = fill_schema(ExportConfig, resolved(config, "export"), findings)
    _check_checkpoint(found, findings)
    if found.scale is not None and found.scale not in SCALES:
        findings.append(f"scale: found {found.scale!r}, allowed: one of {', '.join(map(str, SCALES))}, or null")
    for key, allowed in (("format", tuple(SUFFIXES)), ("precision", _PRECISIONS)):
        if (value := getattr(found, key)) not in allowed:
            findings.append(f"{key}: found {value!r}, {nearest(str(value), allowed)}")
    for key in ("runner", "overwrite"):
        if not isinstance(value := getattr(found, key), bool):
            findings.append(f"{key}: found {value!r}, allowed: true or false")
    if found.runner is True and found.format in SUFFIXES and found.format != "onnx":
        findings.append(f"runner: found true with format={found.format}, allowed: with onnx")
    _check_output(found, findings)
    if not findings and found.format == "spandrel":
        findings += _spandrel_findings(found)
    refuse(findings)
    return found


def _check_checkpoint(config: ExportConfig, findings: list[str]) -> None:
    if isinstance(config.model, dict):
        check_section(config.model, "model", findings, extra=EXTRA_KEYS["model"])
    elif config.model is not None:
        findings.append(f"model: found {config.model!r}, allowed: a section with a _target_, as in model=edsr")
    given: Any = config.checkpoint
    if not isinstance(given, str) or not given:
        findings.append(f"checkpoint: found {given!r}, allowed: a file, a run's folder, or pretrained weights")
        return
    try:
        if find_weights_file(given).suffix.lower() == ".onnx":
            findings.append(f"checkpoint: {given} has been exported; allowed: the checkpoint that it was made from")
    except UserError as error:
        findings.append(f"checkpoint: {error}")


def _spandrel_findings(config: ExportConfig) -> Iterator[str]:
    """Yields one message if the network is known to be one of ours that spandrel lacks."""
    target = str((config.model or {}).get("_target_") or saved_target(find_weights_file(config.checkpoint)))
    package, _, name = target.rpartition(".")
    allowed = table_keys("sr_lightning.exporters.spandrel", "MAKERS")
    if package == "sr_lightning.models" and name not in allowed:
        said = str(constant("sr_lightning.exporters.spandrel", "NO_ARCHITECTURE"))
        yield said.format(name=name, allowed=", ".join(allowed))


def _check_output(config: ExportConfig, findings: list[str]) -> None:
    output: Any = config.output
    suffix = SUFFIXES.get(config.format)
    if output is None or suffix is None:
        return
    if not isinstance(output, str) or not output:
        findings.append(f"output: found {output!r}, allowed: a file, a folder, or null")
    elif not (output.endswith((suffix, "/")) or Path(output).is_dir()):
        findings.append(f"output: found {output}, allowed: a name that ends in {suffix}, or a folder")
