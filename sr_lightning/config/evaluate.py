"""Check of `conf/evaluate.yaml`, reporting all findings at once, without importing torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.config.findings import fill_schema, refuse, unknown_keys, without_copies
from sr_lightning.config.metrics_check import checked_metrics
from sr_lightning.config.packages_check import package_findings
from sr_lightning.config.path_check import missing_folder_findings, set_findings, set_folders, weights_findings
from sr_lightning.config.schema import BICUBIC, EXTRA_KEYS, SCALES, EvaluateConfig
from sr_lightning.config.section_check import check_section, check_value
from sr_lightning.config.signatures import parameters
from sr_lightning.config.train import checked_parts, checked_paths
from sr_lightning.config.trainer_check import device_findings
from sr_lightning.config.wandb_check import wandb_findings
from sr_lightning.errors import UserError
from sr_lightning.text import nearest, unique_length
from sr_lightning.weights.location import find_weights_file

FORMATS = ("markdown", "latex", "csv")
_DATA = "sr_lightning.data.SRDataModule"
_USED = ("test", "kernel", "degradation", "extensions")  # the rest of a `data` preset is for training
_SWITCHES = ("self_ensemble", "cost", "published", "self_check", "save_pictures")


def check_evaluate(config: DictConfig) -> EvaluateConfig:
    """Checks a composed `evaluate` config.

    Args:
        config: The config as composed by Hydra, without its `hydra` section.

    Returns:
        The resolved config.

    Raises:
        UserError: Something is wrong; the message lists every finding, one per line.
    """
    findings: list[str] = []
    found = fill_schema(EvaluateConfig, {"logger": {}} | _resolved(config), findings)  # logger=csv has no keys
    found.paths = checked_paths(found.paths, findings)
    _check_values(found, findings)
    found.logger = checked_parts("logger", found.logger, findings)
    findings += [*wandb_findings(found.logger), *package_findings("logger", found.logger)]
    _check_methods(found, findings)
    _check_sets(found, findings)
    refuse(without_copies(findings, config))
    return found


def _resolved(config: DictConfig) -> dict[str, Any]:
    """Converts to plain containers, without the training keys of a `data` preset, whose folders may be missing."""
    config = config.copy()
    OmegaConf.set_struct(config, False)
    scale, data = config.get("scale"), config.get("data")
    if isinstance(scale, ListConfig) and len(scale) == 1:
        config.scale = scale[0]  # interpolations of it expect the number
    for key in {*(parameters(_DATA) or {}), "_target_"} - set(_USED):
        if isinstance(data, DictConfig) and key in data.keys():  # noqa: SIM118  # `in data` is false if a key is ???
            del data[key]
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}") from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _check_values(config: EvaluateConfig, findings: list[str]) -> None:
    scales = config.scale if isinstance(config.scale, list) else [] if config.scale is None else [config.scale]
    if any(type(s) is not int or s not in SCALES for s in scales) or len(set(scales)) != len(scales):
        allowed = f"one of {', '.join(map(str, SCALES))}, a list of them, or null for the checkpoints' own"
        findings.append(f"scale: found {config.scale!r}, allowed: {allowed}")
    config.scale = sorted(s for s in scales if type(s) is int)
    for name in _SWITCHES:
        if not isinstance(value := getattr(config, name), bool):
            findings.append(f"{name}: found {value!r}, allowed: true or false")
    if type(config.seed) is not int or not 0 <= config.seed < 2**32:
        findings.append(f"seed: found {config.seed!r}, allowed: a whole number from 0 to 4294967295")
    if config.tile is not None and (type(config.tile) is not int or config.tile < 16):
        findings.append(f"tile: found {config.tile!r}, allowed: null, or a whole number of at least 16 (LR pixels)")
    config.metrics = checked_metrics("metrics", config.metrics, findings)
    config.format = _names("format", config.format, FORMATS, findings)
    findings += device_findings("", config.accelerator, config.devices)


def _names(key: str, value: Any, allowed: tuple[str, ...], findings: list[str]) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        findings.append(f"{key}: found {value!r}, allowed: a list of {', '.join(allowed)}")
        return []
    findings += [f"{key}: found {name!r}, {nearest(str(name), allowed)}" for name in names if name not in allowed]
    return list(dict.fromkeys(map(str, names)))


def _check_methods(config: EvaluateConfig, findings: list[str]) -> None:
    """Checks `checkpoint` and `model`, which determine what is evaluated."""
    model = config.model
    unscaled = [key for key in ("scale", "scales") if isinstance(model, dict) and model.get(key, 0) is None]
    if isinstance(model, dict):
        # A missing scale is reported only once, below.
        known = model | {key: list(SCALES) if key == "scales" else SCALES[0] for key in unscaled}
        check_section(known, "model", findings, extra=EXTRA_KEYS["model"])
        model |= {key: value for key, value in known.items() if key not in unscaled}
        findings += weights_findings(model.get("weights"))
        if model.get("fresh"):
            findings.append(
                f"model.fresh: found {model['fresh']}, allowed: nothing; that part would hold random weights"
            )
    elif model is not None:
        findings.append(f"model: found {model!r}, allowed: a section with a _target_, as in model=bicubic")
    given: Any = config.checkpoint  # as typed: null, a path, a list, or names and paths
    config.checkpoint = _checkpoints(given, findings)
    images: Any = config.predictions
    lacks_scale = not config.scale and not any(finding.startswith("scale:") for finding in findings)
    config.predictions = _predictions(images, findings)
    if given is None and model is None and images is None:
        findings.append(
            "checkpoint: null, and no model; allowed: checkpoint=<file or run folder>, predictions=<folder of images>, "
            "or model=bicubic"
        )
    elif images is not None and lacks_scale:
        findings.append("scale: must be given for the images of another program, e.g. predictions=results scale=4")
    elif given is None and model is None:
        wrong = [key for key in ("self_ensemble", "tile") if getattr(config, key)]
        findings += [
            f"{key}: found {getattr(config, key)}, allowed: nothing; images are scored as they are" for key in wrong
        ]
    elif lacks_scale and (given is None or unscaled):
        findings.append("scale: must be given for a model that is typed, e.g. scale=4 or scale=[2,3,4]")
    elif given is not None and isinstance(model, dict) and model.get("_target_") == BICUBIC:
        findings.append("model: bicubic stands in every table; allowed: checkpoint=… without model=bicubic")


def _checkpoints(given: Any, findings: list[str]) -> dict[str, str]:
    """Maps each file to the name given by the user, or to an empty string."""
    named = given if isinstance(given, dict) else {}
    paths = list(named.values()) if named else given if isinstance(given, list) else [given]
    if given is None:
        return {}
    found: dict[str, str] = {}
    for name, path in zip(named or [""] * len(paths), paths, strict=True):
        key = f"checkpoint.{name}" if name else "checkpoint"
        file = _checkpoint_file(path, key, findings) if isinstance(path, str) and path else None
        if not isinstance(path, str) or not path:
            findings.append(f"{key}: found {path!r}, allowed: a file, a run's folder, a list, or {{name: file}}")
        elif name == "bicubic":
            findings.append(f"{key}: bicubic stands in every table; allowed: another name")
        elif file in found:
            findings.append(f"{key}: {path} is named twice")
        elif file is not None:
            found[file] = str(name) or ("" if os.path.exists(path) else path)
    if not paths:
        findings.append("checkpoint: found an empty list, allowed: a file, a run's folder, a list")
    return found


def _predictions(given: Any, findings: list[str]) -> dict[str, str]:
    """Maps each folder of images to a name for its program: the user's, else the shortest unique end of its path."""
    named = given if isinstance(given, dict) else {}
    folders = list(named.values()) if named else given if isinstance(given, list) else [given]
    if given is None:
        return {}
    found: dict[str, str] = {}
    for name, folder in zip(named or [""] * len(folders), folders, strict=True):
        key = f"predictions.{name}" if name else "predictions"
        if not isinstance(folder, str) or not folder:
            findings.append(f"{key}: found {folder!r}, allowed: a folder of images, a list, or {{name: folder}}")
        elif name == "bicubic":
            findings.append(f"{key}: bicubic stands in every table; allowed: another name")
        elif "{" not in folder and not os.path.isdir(folder):
            what = "is a file" if os.path.exists(folder) else "is not there"
            findings.append(f"{key}: {folder} {what}; allowed: a folder of images")
        elif folder in found:
            findings.append(f"{key}: {folder} is named twice")
        else:
            found[folder] = str(name)
    if not folders:
        findings.append("predictions: found an empty list, allowed: a folder of images, a list, or {name: folder}")
    return {folder: name or _unique_end(folder, list(found)) for folder, name in found.items()}


def _unique_end(folder: str, others: Sequence[str]) -> str:
    """Returns `theirs`, or `a/theirs` if another folder has the same name."""
    path, others = os.path.abspath(folder), [os.path.abspath(other) for other in others]
    return "/".join(path.split(os.sep)[-unique_length(path, others) :])


def _checkpoint_file(path: str, key: str, findings: list[str]) -> str | None:
    """Returns the file that a path refers to; names of pretrained weights are kept, for the tables."""
    try:
        file = find_weights_file(path)
    except UserError as error:
        findings.append(f"{key}: {error}")
        return None
    return str(file) if os.path.exists(path) else path


def _check_sets(config: EvaluateConfig, findings: list[str]) -> None:
    """Checks the section `data`, including the sets to evaluate on."""
    data = config.data
    if not isinstance(data, dict) or not isinstance(data.get("test") or {}, dict):
        findings.append(f"data: found {data!r}, allowed: a section with test: {{name: folder}}, as in data=benchmarks")
        return
    accepted = parameters(_DATA) or {}
    findings += unknown_keys(data, _USED, "data")
    for key in data:
        if key in ("kernel", "extensions"):
            data[key] = check_value(data[key], accepted[key], f"data.{key}", findings)
    degradation = data.get("degradation")
    if isinstance(degradation, dict):
        check_section(degradation, "data.degradation", findings)
    elif degradation is not None:
        findings.append(f"data.degradation: found {degradation!r}, allowed: a section with a _target_, or null")
    data["test"] = _chosen_sets(config, data.get("test") or {}, findings)
    wrong = [f for name, entry in data["test"].items() for f in set_findings(f"data.test.{name}", name, entry)]
    if not wrong and (wrong := list(missing_folder_findings(set_folders("data.test", data["test"], config.scale)))):
        wrong.append("without the benchmarks: data=sample, or sets=[Mine] +data.test.Mine=<folder>")
    findings += wrong


def _chosen_sets(config: EvaluateConfig, entries: dict[str, Any], findings: list[str]) -> dict[str, Any]:
    """Returns all of `data.test`, or the sets named in `sets`, looked up there or below the data root."""
    names = [config.sets] if isinstance(config.sets, str) else config.sets
    if names is None:
        if not entries:
            findings.append("data.test: no set to evaluate on; allowed: data=benchmarks, +data.test.Mine=<folder>")
        return entries
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        findings.append(f"sets: found {names!r}, allowed: a list of names such as [Set5,Set14], or null")
        return {}
    return {name: entries.get(name, f"{config.paths.data}/test/{name}") for name in names}
