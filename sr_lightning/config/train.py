"""Check of `conf/train.yaml`, reporting all findings at once, without importing torch."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, ListConfig, open_dict

from sr_lightning.config.callbacks_check import callback_findings
from sr_lightning.config.conf_files import resolved
from sr_lightning.config.findings import fill_schema, refuse, unknown_keys, without_copies
from sr_lightning.config.metrics_check import checked_metrics
from sr_lightning.config.packages_check import package_findings
from sr_lightning.config.path_check import holdout_findings, path_findings
from sr_lightning.config.schedule_length import length_argument
from sr_lightning.config.schema import (
    ADVERSARY,
    EXTRA_KEYS,
    LOSS,
    PERCEPTUAL,
    RUN_ARGUMENTS,
    SCALES,
    PathsConfig,
    TrainConfig,
)
from sr_lightning.config.secrets import secret_findings
from sr_lightning.config.section_check import check_section
from sr_lightning.config.trainer_check import trainer_findings
from sr_lightning.config.value_check import range_findings
from sr_lightning.config.wandb_check import wandb_findings


def check_train(config: DictConfig, *, counts_images: bool = True) -> TrainConfig:
    """Checks a composed `train` config.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.
        counts_images: Whether `data.train_dir` must have more image files than are held out.

    Returns:
        The resolved config, with values converted to the types of the constructors' arguments (`1e5` to an int).

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    scale = config.get("scale")
    if isinstance(scale, ListConfig) and len(scale) == 1:
        config = config.copy()
        config.scale = scale[0]  # interpolations of it expect the number
    plain = {"callbacks": {}, "logger": {}} | resolved(config)  # for callbacks=null and logger=null
    refuse(list(secret_findings(plain)))  # first, so that no message can repeat one
    findings: list[str] = []
    checked = fill_schema(TrainConfig, plain, findings)
    _check_sections(checked, findings)
    of_wrong_type = {finding.partition(":")[0] for finding in findings}
    values = [*range_findings(checked), *trainer_findings(checked.trainer), *wandb_findings(checked.logger)]
    values += callback_findings(checked.callbacks)
    on_gpu = isinstance(checked.trainer, dict) and checked.trainer.get("accelerator") in ("gpu", "cuda")
    values += package_findings("callbacks", checked.callbacks, on_gpu=on_gpu)
    values += package_findings("logger", checked.logger)
    findings += [finding for finding in values if finding.partition(":")[0] not in of_wrong_type]
    if not findings:  # paths of a wrong type cannot be looked up
        findings += path_findings(checked)
    if not findings and counts_images:
        findings += holdout_findings(checked.data)
    refuse(without_copies(findings, config))
    return checked


def take_section(config: DictConfig, name: str) -> tuple[DictConfig, dict[str, Any]]:
    """Splits a command's own section off a config that is based on `train`.

    Returns:
        The train config, and the section as plain containers.

    Raises:
        UserError: The section cannot be resolved, or is not a section.
    """
    config = config.copy()
    with open_dict(config):
        section = config.pop(name)
    if not isinstance(section, DictConfig):
        refuse([f"{name}: found {section!r}, allowed: a section"])
    return config, resolved(section)


def _check_sections(config: TrainConfig, findings: list[str]) -> None:
    """Checks names of keys and types of values."""
    _check_scale(config, findings)
    if type(config.seed) is not int or not 0 <= config.seed < 2**32:
        findings.append(f"seed: found {config.seed!r}, allowed: a whole number from 0 to 4294967295")
    _check_resume(config, findings)
    if not isinstance(config.compile, bool):
        findings.append(f"compile: found {config.compile!r}, allowed: true or false")
    if not isinstance(config.paths, PathsConfig):
        config.paths = checked_paths(config.paths, findings)
    for name in ("data", "model", "optimizer", "scheduler", "trainer"):
        section = getattr(config, name)
        if isinstance(section, dict):
            given = _known_when_built(name, section)
            check_section(section, name, findings, extra=EXTRA_KEYS.get(name), given=given)
        else:
            findings.append(f"{name}: found {section!r}, allowed: a section with a _target_")
    config.val_metrics = checked_metrics("val_metrics", config.val_metrics, findings) or None
    config.loss = _checked_loss(config.loss, findings)
    config.adversarial = _checked_adversarial(config.adversarial, findings)
    for name in ("callbacks", "logger"):
        setattr(config, name, checked_parts(name, getattr(config, name), findings))


def checked_parts(name: str, section: Any, findings: list[str]) -> dict[str, dict[str, Any]]:
    """Checks callbacks or loggers, and drops those that are switched off with null."""
    if not isinstance(section, dict | None):
        findings.append(f"{name}: found {section!r}, allowed: a section, or null")
        return {}
    kept = {key: node for key, node in (section or {}).items() if node is not None}
    for key, node in kept.items():
        if isinstance(node, dict):
            check_section(node, f"{name}.{key}", findings, given=RUN_ARGUMENTS)
        else:
            findings.append(f"{name}.{key}: found {node!r}, allowed: a section with a _target_, or null")
    return kept


def _known_when_built(name: str, section: dict[str, Any]) -> tuple[str, ...]:
    """Returns arguments that are passed to a section's class when it is built."""
    if name == "optimizer":
        return ("params",)
    return ("optimizer", str(length_argument(section))) if name == "scheduler" else ()


def _check_resume(config: TrainConfig, findings: list[str]) -> None:
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
        model["scale"] = scales[0]  # otherwise the type check would report it again


def _scale_of(section: Any) -> Any:
    """Returns the section's scale, or its list of scales; None if it has neither."""
    found = section.get("scale", section.get("scales")) if isinstance(section, dict) else None
    parts = found if isinstance(found, list) else [found]
    return found if parts and all(type(part) is int for part in parts) else None


def checked_paths(section: Any, findings: list[str]) -> PathsConfig:
    """Checks the section `paths`, shared by train and evaluate."""
    names = [field.name for field in fields(PathsConfig)]
    section = section if isinstance(section, dict) else {}
    findings += unknown_keys(section, names, "paths")
    for name in names:
        if not isinstance(section.get(name), str):
            findings.append(f"paths.{name}: found {section.get(name)!r}, allowed: a folder")
    return PathsConfig(**{name: str(section.get(name)) for name in names})


def _checked_loss(loss: Any, findings: list[str]) -> dict[str, Any]:
    """Checks `loss` and `loss.perceptual`, which name no class, as their classes are fixed."""
    if not isinstance(loss, dict):
        findings.append(f"loss: found {loss!r}, allowed: a section")
        return {}
    loss = {"_target_": LOSS} | loss
    perceptual, terms = loss.pop("perceptual", None), loss.pop("terms", None) or {}
    check_section(loss, "loss", findings)
    if isinstance(perceptual, dict):
        perceptual = {"_target_": PERCEPTUAL} | perceptual
        check_section(perceptual, "loss.perceptual", findings)
    elif perceptual is not None:
        findings.append(f"loss.perceptual: found {perceptual!r}, allowed: a section, or null")
    for name, term in terms.items():
        if not isinstance(term, dict) or not isinstance(term.get("weight"), int | float):
            findings.append(f"loss.terms.{name}: found {term!r}, allowed: {{weight: 0.1, _target_: …}}")
            continue
        check_section({key: value for key, value in term.items() if key != "weight"}, f"loss.terms.{name}", findings)
    return {**loss, "perceptual": perceptual, "terms": terms}


def _checked_adversarial(section: Any, findings: list[str]) -> dict[str, Any] | None:
    """Checks `adversarial`, which names no class either; a weight of 0 builds nothing."""
    if section is None:
        return None
    if not isinstance(section, dict):
        findings.append(f"adversarial: found {section!r}, allowed: a section as in adversarial=srgan, or null")
        return None
    section = {"_target_": ADVERSARY} | section
    check_section(section, "adversarial", findings)
    return section if section.get("weight") != 0 else None
