"""Checks a composed `conf/train.yaml`, and reports every finding at once."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from omegaconf import DictConfig, ListConfig

from sr_lightning.config.conf_files import resolved
from sr_lightning.config.schema import ADVERSARY, EXTRA, LOSS, OFFERED, PERCEPTUAL, SCALES, PathsConfig, TrainConfig
from sr_lightning.config.secrets import secret_findings
from sr_lightning.config.type_check import check_target
from sr_lightning.config.value_check import path_findings, range_findings
from sr_lightning.errors import UserError
from sr_lightning.text import nearest


def check_train(config: DictConfig) -> TrainConfig:
    """Checks a composed `train` config.

    Args:
        config: As composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config; values are converted to what the constructors ask for (`1e5` to an int).

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    findings: list[str] = []
    scale = config.get("scale")
    if isinstance(scale, ListConfig) and len(scale) == 1:
        config = config.copy()
        config.scale = scale[0]  # what refers to it wants the number
    plain = resolved(config)
    known = {field.name for field in fields(TrainConfig)}
    needed = {field.name for field in fields(TrainConfig) if field.default is field.default_factory is MISSING}
    findings += [f"{key}: no such key; {nearest(str(key), known)}" for key in map(str, plain) if key not in known]
    if missing := [f"{key}: must be given" for key in sorted(needed - {str(key) for key in plain})]:
        raise UserError("\n".join(findings + missing))
    findings += secret_findings(plain)
    checked = TrainConfig(**{str(key): value for key, value in plain.items() if key in known})
    _check_sections(checked, findings)
    findings += range_findings(checked)
    if not findings:  # what is not a path cannot be looked for
        findings += path_findings(checked)
    if findings:
        raise UserError("\n".join(findings))
    return checked


def _check_sections(config: TrainConfig, findings: list[str]) -> None:
    """Types and names: what a value is."""
    _check_scale(config, findings)
    if type(config.seed) is not int or not 0 <= config.seed < 2**32:
        findings.append(f"seed: found {config.seed!r}, allowed: a whole number from 0 to 4294967295")
    _check_continuing(config, findings)
    if not isinstance(config.compile, bool):
        findings.append(f"compile: found {config.compile!r}, allowed: true or false")
    if not isinstance(config.paths, PathsConfig):
        config.paths = checked_paths(config.paths, findings)
    for name in ("data", "model", "optimizer", "scheduler", "trainer"):
        section = getattr(config, name)
        if isinstance(section, dict):
            check_target(section, name, findings, extra=EXTRA.get(name))
        else:
            findings.append(f"{name}: found {section!r}, allowed: a section with a _target_")
    config.loss = _checked_loss(config.loss, findings)
    config.adversarial = _checked_adversarial(config.adversarial, findings)
    for name in ("callbacks", "logger"):
        section = getattr(config, name) or {}
        kept = {key: node for key, node in section.items() if node is not None}  # null switches one off
        setattr(config, name, kept)
        for key, node in kept.items():
            if isinstance(node, dict):
                check_target(node, f"{name}.{key}", findings, given=OFFERED)
            else:
                findings.append(f"{name}.{key}: found {node!r}, allowed: a section with a _target_, or null")


def _check_continuing(config: TrainConfig, findings: list[str]) -> None:
    if not isinstance(config.ckpt_path, str | None):
        findings.append(f"ckpt_path: found {config.ckpt_path!r}, allowed: a run's folder, a checkpoint, last, null")
    if not isinstance(config.allow_change, list) or any(not isinstance(key, str) for key in config.allow_change):
        findings.append(f"allow_change: found {config.allow_change!r}, allowed: a list of keys or sections")


def _check_scale(config: TrainConfig, findings: list[str]) -> None:
    scales = config.scale if isinstance(config.scale, list) else [config.scale]
    if not scales or any(type(s) is not int or s not in SCALES for s in scales) or len(set(scales)) != len(scales):
        allowed = f"one of {', '.join(map(str, SCALES))}, or a list of them such as [2,3,4]"
        findings.append(f"scale: found {config.scale!r}, allowed: {allowed}")
    config.scale = scales
    model = config.model
    findings += [
        f"{key}: found {found}, but scale is {scales[0] if len(scales) == 1 else scales}; allowed: the same (it is "
        "where nobody sets it)"
        for key, found in (("data.scale", _scale_of(config.data)), ("model.scale", _scale_of(model)))
        if found is not None
        and sorted(found if isinstance(found, list) else [found], key=str) != sorted(scales, key=str)
    ]
    if len(scales) > 1 and isinstance(model, dict) and model.get("scale") == scales:
        network = str(model.get("_target_")).rpartition(".")[2]
        findings.append(
            f"scale: found {scales}, but {network} is built for one scale; allowed: one scale, or a multi-scale "
            "network such as model=mdsr_baseline"
        )
        model["scale"] = scales[0]  # said already


def _scale_of(section: Any) -> Any:
    """What a section says, where that can be a scale or several."""
    found = section.get("scale", section.get("scales")) if isinstance(section, dict) else None
    parts = found if isinstance(found, list) else [found]
    return found if parts and all(type(part) is int for part in parts) else None


def checked_paths(section: Any, findings: list[str]) -> PathsConfig:
    """The section `paths`, which every command has."""
    names = [field.name for field in fields(PathsConfig)]
    section = section if isinstance(section, dict) else {}
    findings += [f"paths.{key}: no such key; {nearest(key, names)}" for key in section if key not in names]
    for name in names:
        if not isinstance(section.get(name), str):
            findings.append(f"paths.{name}: found {section.get(name)!r}, allowed: a folder")
    return PathsConfig(**{name: str(section.get(name)) for name in names})


def _checked_loss(loss: Any, findings: list[str]) -> dict[str, Any]:
    """`loss` and `loss.perceptual` name no class: the project builds them, so their schema is known."""
    if not isinstance(loss, dict):
        findings.append(f"loss: found {loss!r}, allowed: a section")
        return {}
    loss = {"_target_": LOSS} | loss
    perceptual, terms = loss.pop("perceptual", None), loss.pop("terms", None) or {}
    check_target(loss, "loss", findings)
    if isinstance(perceptual, dict):
        perceptual = {"_target_": PERCEPTUAL} | perceptual
        check_target(perceptual, "loss.perceptual", findings)
    elif perceptual is not None:
        findings.append(f"loss.perceptual: found {perceptual!r}, allowed: a section, or null")
    for name, term in terms.items():
        if not isinstance(term, dict) or not isinstance(term.get("weight"), int | float):
            findings.append(f"loss.terms.{name}: found {term!r}, allowed: {{weight: 0.1, _target_: …}}")
            continue
        check_target({key: value for key, value in term.items() if key != "weight"}, f"loss.terms.{name}", findings)
    return {**loss, "perceptual": perceptual, "terms": terms}


def _checked_adversarial(section: Any, findings: list[str]) -> dict[str, Any] | None:
    """Names no class either; a weight of 0 builds nothing."""
    if section is None:
        return None
    if not isinstance(section, dict):
        findings.append(f"adversarial: found {section!r}, allowed: a section as in adversarial=srgan, or null")
        return None
    section = {"_target_": ADVERSARY} | section
    check_target(section, "adversarial", findings)
    return section if section.get("weight") != 0 else None
