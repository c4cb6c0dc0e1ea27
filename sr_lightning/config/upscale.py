"""Schema and check of `conf/upscale.yaml`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from sr_lightning.config.conf_files import resolved
from sr_lightning.config.findings import fill_schema, refuse
from sr_lightning.config.schema import EXTRA_KEYS, SCALES
from sr_lightning.config.section_check import check_section
from sr_lightning.errors import UserError
from sr_lightning.text import nearest
from sr_lightning.weights.location import find_weights_file
from sr_lightning.weights.pretrained import (
    DEFAULT_SCALES,
    DEFAULT_WEIGHTS,
    pretrained_file,
    pretrained_names,
    pretrained_scale,
)

FORMATS = ("png", "jpeg", "webp", "tiff", "avif")
MOST_PASSES = 2
"""Maximum number of times that a network upscales an image."""
_SWITCHES = ("overwrite", "self_ensemble", "compile")
_LENGTHS = ("width", "height", "longest", "shortest")
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


@dataclass
class UpscaleConfig:
    """The keys of `conf/upscale.yaml`, as plain containers with every interpolation resolved."""

    input: list[str]
    output: str | None
    checkpoint: str
    """A file, a run's folder, or the name of pretrained weights."""
    model: dict[str, Any] | None
    """Network section for a checkpoint that does not contain one."""
    scale: int | None
    """None for the scale of the checkpoint."""
    outscale: float | None
    width: int | None
    height: int | None
    longest: int | None
    shortest: int | None
    skip_larger: int | None
    format: Literal["png", "jpeg", "webp", "tiff", "avif"] | None
    quality: int | Literal["lossless"] | None
    metadata: str
    overwrite: bool
    tile: int | Literal["auto"] | None
    overlap: int | None
    self_ensemble: bool
    back_projection: int
    precision: Literal["float32", "bf16", "auto"]
    device: list[str]
    """Only `auto`, or a list of devices."""
    compile: bool


def check_upscale(config: DictConfig) -> UpscaleConfig:
    """Checks a composed `upscale` config, without importing torch.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    findings: list[str] = []
    found = fill_schema(UpscaleConfig, resolved(config, "upscale"), findings)
    _check_files(found, findings)
    _check_size(found, findings)
    _check_writing(found, findings)
    _check_network(found, findings)
    _check_checkpoint(found, findings)
    refuse(findings)
    return found


def _check_files(config: UpscaleConfig, findings: list[str]) -> None:
    inputs: Any = [config.input] if isinstance(config.input, str) else config.input
    if not isinstance(inputs, list) or not inputs or not all(isinstance(entry, str) and entry for entry in inputs):
        findings.append(f"input: found {config.input!r}, allowed: a file, a folder, a glob, or a list of them")
    config.input = inputs
    if config.output is not None and (not isinstance(config.output, str) or not config.output):
        findings.append(f"output: found {config.output!r}, allowed: a file, a folder, or null")


def _check_size(config: UpscaleConfig, findings: list[str]) -> None:
    for key in (*_LENGTHS, "skip_larger"):
        _check_count(key, getattr(config, key), 1, findings, unit="pixels")
    factor = config.outscale
    is_number = isinstance(factor, int | float) and not isinstance(factor, bool) and math.isfinite(factor)
    if factor is not None and not (is_number and factor > 0):
        findings.append(f"outscale: found {factor!r}, allowed: a number above 0")
        config.outscale = None
    given = [key for key in ("outscale", *_LENGTHS) if getattr(config, key) is not None]
    if len(given) > 1 and given != ["width", "height"]:
        findings.append(f"{', '.join(given)}: allowed: one of them, or width and height")
    if config.scale is not None and config.scale not in SCALES:
        number: Any = config.scale
        is_number = isinstance(number, int | float) and not isinstance(number, bool) and 0 < number < math.inf
        hint = f" (of the network); outscale={number:g} sets any factor" if is_number else ""
        findings.append(f"scale: found {number!r}, allowed: one of {', '.join(map(str, SCALES))}, or null{hint}")
        config.scale = None  # as if it had not been typed


def _check_writing(config: UpscaleConfig, findings: list[str]) -> None:
    if config.format is not None and str(config.format) == "jpg":
        config.format = "jpeg"
    if config.format is not None and config.format not in FORMATS:
        findings.append(f"format: found {config.format!r}, {nearest(str(config.format), FORMATS)}")
    quality = config.quality
    if quality == "lossless":
        if config.format not in (None, "webp"):
            findings.append(f"quality: found lossless with format={config.format}, allowed: with webp")
    elif quality is not None and not (type(quality) is int and 1 <= quality <= 100):
        findings.append(f"quality: found {quality!r}, allowed: 1 to 100, lossless, or null")
    _check_choice("metadata", config.metadata, ("keep", "drop"), findings)
    for key in _SWITCHES:
        if not isinstance(value := getattr(config, key), bool):
            findings.append(f"{key}: found {value!r}, allowed: true or false")


def _check_network(config: UpscaleConfig, findings: list[str]) -> None:
    if config.tile != "auto":
        _check_count("tile", config.tile, 16, findings, unit="LR pixels", others="auto, ")
    _check_count("overlap", config.overlap, 0, findings, unit="LR pixels")
    steps = config.back_projection
    if type(steps) is not int or not 0 <= steps <= 20:
        findings.append(f"back_projection: found {steps!r}, allowed: 0 to 20 steps")
    _check_choice("precision", config.precision, ("float32", "bf16", "auto"), findings)
    devices: Any = config.device if isinstance(config.device, list) else [config.device]
    if devices != ["auto"] and not (devices and all(isinstance(d, str) and _DEVICE.fullmatch(d) for d in devices)):
        findings.append(f"device: found {config.device!r}, allowed: auto, cpu, cuda, cuda:1, or a list of devices")
    config.device = devices


def _check_checkpoint(config: UpscaleConfig, findings: list[str]) -> None:
    """Checks the checkpoint; if none is given, selects pretrained weights for the scale."""
    given: Any = config.checkpoint
    if isinstance(config.model, dict):
        if given is None:
            findings.append("checkpoint: must be given for a model that is typed")
        check_section(config.model, "model", findings, extra=EXTRA_KEYS["model"])
    elif config.model is not None:
        findings.append(f"model: found {config.model!r}, allowed: a section with a _target_, as in model=edsr")
    if given is None:
        if config.scale is None:
            factor = config.outscale or max(DEFAULT_SCALES)
            config.scale = next((s for s in DEFAULT_SCALES if s >= factor), max(DEFAULT_SCALES))
        config.checkpoint = f"{DEFAULT_WEIGHTS}_x{config.scale}"
        if config.scale not in DEFAULT_SCALES:
            scales = ", ".join(map(str, DEFAULT_SCALES))
            findings.append(f"scale: found {config.scale} without a checkpoint, allowed: {scales}, or checkpoint=…")
    elif not isinstance(given, str) or not given:
        findings.append(f"checkpoint: found {given!r}, allowed: a file, a run's folder, or pretrained weights")
    else:
        try:
            file = find_weights_file(given)
        except UserError as error:
            findings.append(f"checkpoint: {error}")
        else:
            _check_pretrained(config, file, findings)
    _check_factor(config, findings)


def _check_pretrained(config: UpscaleConfig, file: Path, findings: list[str]) -> None:
    """Checks the scale of pretrained weights, which is part of their names."""
    if file.stem not in pretrained_names() or file != pretrained_file(file.stem):
        return
    scale = pretrained_scale(file.stem)
    if config.scale not in (None, scale):
        findings.append(f"scale: found {config.scale}: {file.stem} is for x{scale}")
    config.scale = scale


def _check_factor(config: UpscaleConfig, findings: list[str]) -> None:
    """Checks that the factor can be reached, as a network upscales at most twice."""
    most = (config.scale or max(SCALES)) ** MOST_PASSES
    if config.outscale is not None and config.outscale > most:
        network = f"a network for x{config.scale}, twice" if config.scale else "the largest network, twice"
        findings.append(f"outscale: found {config.outscale:g}, allowed: up to {most} ({network})")


def _check_count(key: str, value: Any, lowest: int, findings: list[str], *, unit: str, others: str = "") -> None:
    if value is not None and (type(value) is not int or value < lowest):
        findings.append(
            f"{key}: found {value!r}, allowed: {others}null, or a whole number of at least {lowest} ({unit})"
        )


def _check_choice(key: str, value: Any, allowed: tuple[str, ...], findings: list[str]) -> None:
    if value not in allowed:
        findings.append(f"{key}: found {value!r}, {nearest(str(value), allowed)}")
