"""Schema and check of `conf/demo.yaml`."""

from __future__ import annotations

import math
import re
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig

from sr_lightning.config.conf_files import resolved
from sr_lightning.config.findings import fill_schema, refuse
from sr_lightning.config.schema import SCALES
from sr_lightning.errors import UserError
from sr_lightning.weights.location import find_weights_file

HOST = "127.0.0.1"
"""Address of the page, which is reachable from this machine only."""
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass
class DemoConfig:
    """The keys of `conf/demo.yaml`."""

    checkpoint: str | None
    scale: int | None
    """The scale that is selected initially."""
    device: str
    port: int | None
    browser: bool
    max_megapixels: float


def check_demo(config: DictConfig) -> DemoConfig:
    """Checks a composed `demo` config, without importing torch or gradio.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    findings: list[str] = []
    found = fill_schema(DemoConfig, resolved(config, "demo"), findings)
    findings += [*_checkpoint_findings(found.checkpoint), *_findings(found)]
    if find_spec("gradio") is None:
        findings.append("the page needs gradio; allowed: pip install 'sr_lightning[demo]'")
    refuse(findings)
    return found


def _checkpoint_findings(given: Any) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, str) or not given:
        return [f"checkpoint: found {given!r}, allowed: a file, a run's folder, pretrained weights, or null"]
    try:
        find_weights_file(given)
    except UserError as error:
        return [f"checkpoint: {error}"]
    return []


def _findings(config: DemoConfig) -> list[str]:
    findings = []
    if config.scale is not None and config.scale not in SCALES:
        findings.append(f"scale: found {config.scale!r}, allowed: one of {', '.join(map(str, SCALES))}, or null")
    if not isinstance(config.device, str) or not _DEVICE.fullmatch(config.device):
        findings.append(f"device: found {config.device!r}, allowed: auto, cpu, cuda, cuda:1")
    if config.port is not None and not (type(config.port) is int and 1 <= config.port <= 65_535):
        findings.append(f"port: found {config.port!r}, allowed: 1 to 65535, or null")
    elif config.port is not None and (reason := _taken(config.port)):
        findings.append(f"port: {config.port}: {reason}; allowed: another, or null for the first that is free")
    if not isinstance(config.browser, bool):
        findings.append(f"browser: found {config.browser!r}, allowed: true or false")
    most: Any = config.max_megapixels
    is_number = isinstance(most, int | float) and not isinstance(most, bool) and math.isfinite(most)
    if not is_number or not 0 < most <= 100:
        findings.append(f"max_megapixels: found {most!r}, allowed: a number above 0, up to 100")
    return findings


def _taken(port: int) -> str | None:
    """Returns why the port is unavailable; None if it is free."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            return str(error.strerror)
    return None
