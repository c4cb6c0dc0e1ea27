"""Check that the folders and files named in a config exist, before anything heavy is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sr_lightning.config.containers import as_list
from sr_lightning.config.schema import TrainConfig
from sr_lightning.config.signatures import constant
from sr_lightning.errors import UserError
from sr_lightning.files import walk
from sr_lightning.text import counted
from sr_lightning.weights.location import find_weights_file

_DATA_HINT = "; the data sets' root is paths.data or $SR_DATA, and `python -m sr_lightning.download` fills it"
_DATA_MODULE = "sr_lightning.data.SRDataModule"
_SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def path_findings(config: TrainConfig) -> Iterator[str]:
    """Yields one message per missing folder or file of a train config."""
    data = config.data
    folders: list[tuple[str, Any]] = [("data.train_dir", data.get("train_dir"))]
    folders += [
        ("data.train_lr_dir", folder.replace("{scale}", str(scale)))
        for folder in as_list(data.get("train_lr_dir"))
        for scale in config.scale
    ]
    for split in ("val", "test"):
        folders += set_folders(f"data.{split}", data.get(split) or {}, config.scale)
    yield from missing_folder_findings(folders)
    yield from _shards(data.get("shards"))
    weights = config.model.get("weights")
    if config.model.get("fresh") and weights is None:
        yield f"model.fresh: found {config.model['fresh']}, but model.weights names nothing to start from"
    yield from weights_findings(weights)
    file = (config.loss["perceptual"] or {}).get("weights") if config.loss.get("beta", 0.0) > 0 else None
    if file is not None and not os.path.isfile(file):
        yield f"loss.perceptual.weights: {file} is not there; allowed: a file of weights"


def holdout_findings(data: dict[str, Any]) -> Iterator[str]:
    """Yields one message if `data.val_holdout` would leave no image to train on.

    Files are counted by name, at most one more than are held out. Those that the data module leaves out later, such as
    damaged ones, can only make them fewer. A folder without any image is left to its more specific message.
    """
    count, folders = data.get("val_holdout"), as_list(data.get("train_dir"))
    if data.get("_target_") != _DATA_MODULE or data.get("val") or not isinstance(count, int) or not folders:
        return
    extensions: Any = data.get("extensions") or constant("sr_lightning.data.files", "EXTENSIONS")
    suffixes = {f".{extension.lower().lstrip('.')}" for extension in extensions}
    names = data.get("train_files")
    files: set[tuple[str, str]] = set()
    try:
        for folder in folders:
            for path in walk(Path(folder)) if names is None else (Path(folder, name) for name in names):
                if names is not None or path.suffix.lower() in suffixes:
                    files.add((folder, os.path.realpath(path)))
                if len(files) > count:
                    return
    except UserError:  # a folder that cannot be read
        return
    if files:
        said = str(constant("sr_lightning.data.requirements", "NONE_LEFT"))
        yield said.format(count=count, found=counted(len(files), "image"))


def weights_findings(weights: str | None) -> Iterator[str]:
    """Yields one message if `model.weights` names nothing that exists."""
    try:
        if weights is not None:
            find_weights_file(weights)
    except UserError as error:
        yield f"model.weights: {error}"


def _shards(section: Any) -> Iterator[str]:
    """Yields one message if `data.shards.folder` does not contain packed images, without reading their content."""
    folder = section.get("folder") if isinstance(section, dict) else None
    if not isinstance(folder, str):
        return
    if "://" in folder or folder.startswith("local:"):
        if find_spec("litdata") is None:
            yield f"data.shards.folder: {folder} needs litdata; allowed: pip install 'sr_lightning[streaming]'"
    elif not os.path.isfile(os.path.join(folder, str(constant("sr_lightning.data.shards.index", "INDEX")))):
        yield (
            f"data.shards.folder: {folder} holds no packed images; allowed: what `python -m sr_lightning.pack "
            "input=<images> output=<folder>` has written, or its address"
        )


def set_folders(key: str, entries: dict[str, Any], scales: Iterable[int]) -> list[tuple[str, Any]]:
    """Returns the folders named in entries of `data.val` or `data.test`, each with its key."""
    folders: list[tuple[str, Any]] = []
    for name, entry in entries.items():
        entry = entry if isinstance(entry, dict) else {"hr": entry}
        folders.append((f"{key}.{name}.hr", entry.get("hr")))
        folders += [
            (f"{key}.{name}.lr", str(folder).replace("{scale}", str(scale)))
            for folder in as_list(entry.get("lr"))
            for scale in scales
        ]
    return folders


def missing_folder_findings(folders: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Yields one message per missing folder."""
    for key, value in folders:
        for folder in as_list(value):
            if not os.path.isdir(folder):
                what = "is a file" if os.path.exists(folder) else "is not there"
                hint = _DATA_HINT if key.startswith("data.") else ""
                yield f"{key}: {folder} {what}; allowed: a folder of images{hint}"


def set_findings(key: str, name: str, entry: Any) -> Iterator[str]:
    """Yields one message per malformed part of a set's name or entry."""
    if not _SET_NAME.fullmatch(name):
        yield f"{key}: names of sets hold letters, digits, '_', '-' and '.' only"
    if isinstance(entry, dict):
        unknown = [part for part in entry if part not in ("hr", "lr", "files")]
        if unknown or not isinstance(entry.get("hr"), str):
            yield f"{key}: found {entry!r}, allowed: a folder, or {{hr: folder, lr: folder, files: [names]}}"
    elif not isinstance(entry, str):
        yield f"{key}: found {entry!r}, allowed: a folder, or {{hr: folder, lr: folder, files: [names]}}"
