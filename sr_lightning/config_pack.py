"""The check of `conf/pack.yaml`: its keys are the arguments of `data.packing.pack_pictures`."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.checks import missing_folders
from sr_lightning.errors import UserError
from sr_lightning.schema import check_target

_PACK = "sr_lightning.data.packing.pack_pictures"


def check_pack(config: DictConfig) -> dict[str, Any]:
    """Checks a composed `pack` config, without importing torch.

    Args:
        config: As composed by Hydra, without its `hydra` section.

    Returns:
        The arguments of `pack_pictures`.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError("\n".join(f"{key}: must be given" for key in missing))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}") from None
    assert isinstance(plain, dict)
    node = {"_target_": _PACK} | {str(key): value for key, value in plain.items()}
    findings: list[str] = []
    check_target(node, "", findings)
    findings = [finding.removeprefix(".") for finding in findings]
    if not findings:
        findings += missing_folders([("input", node["input"])])
    if findings:
        raise UserError("\n".join(findings))
    return {key: value for key, value in node.items() if key != "_target_"}
