"""Check of `conf/pack.yaml`, whose keys are the arguments of `data.shards.writer.pack_images`."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from sr_lightning.config.conf_files import resolved
from sr_lightning.config.findings import refuse
from sr_lightning.config.path_check import missing_folder_findings
from sr_lightning.config.section_check import check_section

_PACK = "sr_lightning.data.shards.writer.pack_images"


def check_pack(config: DictConfig) -> dict[str, Any]:
    """Checks a composed `pack` config, without importing torch.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The arguments of `pack_images`.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    node = {"_target_": _PACK} | resolved(config, "pack")
    findings: list[str] = []
    check_section(node, "", findings)
    findings = [finding.removeprefix(".") for finding in findings]
    if not findings:
        findings += missing_folder_findings([("input", node["input"])])
    refuse(findings)
    return {key: value for key, value in node.items() if key != "_target_"}
