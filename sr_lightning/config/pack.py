"""The check of `conf/pack.yaml`: its keys are the arguments of `data.packing.pack_images`."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from sr_lightning.config.conf_files import resolved
from sr_lightning.config.type_check import check_target
from sr_lightning.config.value_check import missing_folders
from sr_lightning.errors import UserError

_PACK = "sr_lightning.data.shards.writer.pack_images"


def check_pack(config: DictConfig) -> dict[str, Any]:
    """Checks a composed `pack` config, without importing torch.

    Args:
        config: As composed by Hydra, without its `hydra` section.

    Returns:
        The arguments of `pack_images`.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    node = {"_target_": _PACK} | resolved(config)
    findings: list[str] = []
    check_target(node, "", findings)
    findings = [finding.removeprefix(".") for finding in findings]
    if not findings:
        findings += missing_folders([("input", node["input"])])
    if findings:
        raise UserError("\n".join(findings))
    return {key: value for key, value in node.items() if key != "_target_"}
