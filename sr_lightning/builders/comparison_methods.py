"""Reconstruction of a comparison's methods: networks from checkpoints, or images saved by an evaluation."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.builders.load_network import load_network
from sr_lightning.checkpoints.network_config import BESIDE_THE_NETWORK
from sr_lightning.config.overrides import as_typed_value
from sr_lightning.data.datasets import EvalImages
from sr_lightning.data.images import Images
from sr_lightning.data.sources import HELD_OUT
from sr_lightning.errors import UserError
from sr_lightning.evaluation.method import Method, folder_name, network_method
from sr_lightning.evaluation.saved_predictions import match_saved_images
from sr_lightning.files import inside
from sr_lightning.report.entries import Entry
from sr_lightning.runs.saved_config import own_targets, read_saved_config

_EVALUATE = ("python", "-m", "sr_lightning.evaluate")


def comparison_method(run: Entry, scale: int, images: EvalImages) -> Method:
    """Returns the network of a run, or the images saved by an evaluation.

    Args:
        run: Entry of the method.
        scale: The scale of the comparison.
        images: The test images.

    Raises:
        UserError: Neither is available.
    """
    if run.predictions is not None:
        return match_saved_images(run.method, run.predictions, images)
    if not run.is_training and (saved := _saved_pictures(run)) is not None:
        return match_saved_images(run.method, str(saved), images)
    if run.is_training:
        _check_own_class(run, images)
        checkpoint = str(inside(run.folder, run.checkpoint or "checkpoints/last.ckpt"))
    else:
        checkpoint = run.checkpoint or ""
    if not checkpoint or (not run.is_training and os.sep in checkpoint and not os.path.exists(checkpoint)):
        raise UserError(f"{checkpoint or 'its checkpoint'} is not there any more")
    model = None if run.is_training else _evaluated_section(run)
    network = load_network(checkpoint, model=model)
    method = network_method(run.method, network.net, (scale,), checkpoint, network.training)
    tile = run.protocol.get("tile", "None")
    ensemble = run.protocol.get("self_ensemble") == "True"
    return replace(method, self_ensemble=ensemble, tile=int(tile) if tile.isdecimal() else None)


def saved_section(run: Entry, key: str, *, beside: str = "") -> dict[str, Any]:
    """Returns a section of the saved config as plain containers; empty if it does not exist.

    Args:
        run: The run.
        key: Name of the section.
        beside: Another section to which it refers.

    Raises:
        UserError: The config cannot be read, or names something that would execute untrusted code.
    """
    try:
        config = read_saved_config(inside(run.folder, ".hydra/config.yaml"), [], sections=(key, beside))
    except UserError as error:  # which says how to resume the run
        raise UserError(str(error).partition("; if you trust them")[0].removeprefix("ckpt_path: ")) from None
    section = config.get(key)
    if not isinstance(section, DictConfig):
        return {}
    try:
        found = OmegaConf.to_container(section, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {str(error).splitlines()[0]}") from None
    return {str(name): entry for name, entry in found.items()} if isinstance(found, dict) else {}


def _evaluated_section(run: Entry) -> dict[str, Any] | None:
    """Returns the section of the network that an evaluation was given; None if its checkpoint names it.

    Raises:
        UserError: It names a class that is not ours.
    """
    try:
        return saved_section(run, "model") or None
    except UserError as error:
        way = "its images are shown if that evaluation is repeated with save_pictures=true"
        raise UserError(f"{str(error).splitlines()[0]}; {way}") from None


def _saved_pictures(run: Entry) -> Path | None:
    """Returns the folder of a method's images saved by an evaluation with `save_pictures=true`, if there is one."""
    folder = inside(run.folder, f"pictures/{folder_name(run.method)}")
    is_one_of_several = folder.with_name(f"{folder.name} 2").exists()
    return folder if folder.is_dir() and not is_one_of_several else None


def _check_own_class(run: Entry, images: EvalImages) -> None:
    """Refuses a network of the user's own, which a file must not name, and explains how to get its images on the page.

    Raises:
        UserError: The network is the user's own class.
    """
    target = run.settings.get("model._target_")
    if not isinstance(target, str) or target in own_targets():
        return
    found, _, _ = images.items[0]
    typed = [
        f"+{key}={as_typed_value(_referred(value, run.settings))}"
        for key, value in run.settings.items()
        if key.startswith("model.") and key.partition(".")[2] not in BESIDE_THE_NETWORK
    ]
    given = [f"checkpoint={run.folder}", *typed, *_set_overrides(found), "save_pictures=true"]
    raise UserError(
        f"its network {target} is a class of your own, which is not run because a file names it; its images come from "
        f"an evaluation, whose folder is then named in runs, too: {shlex.join([*_EVALUATE, *given])}"
    )


def _set_overrides(images: Images) -> list[str]:
    """Returns the overrides that let `evaluate` find a set that a run has scored."""
    chosen = f"sets=[{images.name}]"
    folder = os.path.commonpath([path.parent for path in images.hr.paths])
    if images.name != HELD_OUT and folder.split(os.sep)[-2:] == ["test", images.name]:
        return [chosen]
    entry: dict[str, Any] = {"hr": folder}
    if images.lr:
        entry["lr"] = os.path.commonpath([path.parent for lr in images.lr.values() for path in lr.paths])
    if images.name == HELD_OUT:
        entry["files"] = [os.path.relpath(path, folder) for path in images.hr.paths]
    return [chosen, f"++data.test.{images.name}={as_typed_value(entry)}"]


def _referred(value: Any, settings: Mapping[str, Any]) -> Any:
    """Resolves a reference such as `${scale}`."""
    match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return settings.get(match[1], value) if match else value
