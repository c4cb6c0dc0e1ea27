"""What values of the right type may be: ranges, and the folders and files that have to be there.

Like the rest of the check it imports neither torch nor lightning.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sr_lightning.config.signatures import constant
from sr_lightning.weights.pretrained import find_pretrained, pretrained_names

if TYPE_CHECKING:
    from sr_lightning.config.schema import TrainConfig

_DATA_HINT = "; the data sets' root is paths.data or $SR_DATA, and `python -m sr_lightning.download` fills it"
_SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# Section, key, lowest allowed value. Keys that are not numbers (null, a share of an epoch) are left alone.
_AT_LEAST = (
    ("data", "batch_size", 1),
    ("data", "patch_size", 1),
    ("data", "num_workers", 0),
    ("data", "val_crop", 1),
    ("data", "val_holdout", 0),
    ("data", "store_limit_gb", 0),
    ("trainer", "max_steps", 1),
    ("trainer", "val_check_interval", 1),
    ("trainer", "accumulate_grad_batches", 1),
    ("trainer", "log_every_n_steps", 1),
    ("optimizer", "weight_decay", 0),
    ("trainer", "gradient_clip_val", 0),
    ("adversarial", "weight", 0),
    ("loss", "charbonnier_eps", 0),
    ("model", "n_feats", 1),
)


def range_findings(config: TrainConfig) -> Iterator[str]:
    """One message for each value that is out of range; values of a wrong type have been told already."""
    for section, key, lowest in _AT_LEAST:
        value = _section(config, section).get(key)
        if isinstance(value, int | float) and value < lowest:
            yield f"{section}.{key}: found {value}, allowed: {lowest} and more"
    rate = _section(config, "optimizer").get("lr")
    if isinstance(rate, int | float) and rate <= 0:
        yield f"optimizer.lr: found {rate}, allowed: above 0"
    yield from _loss_weights(config.loss)
    if config.adversarial is not None:
        yield from _adversarial(config, config.adversarial)
    shards = _section(config, "data").get("shards")
    spread = shards.get("spread") if isinstance(shards, dict) else None
    if isinstance(spread, int) and spread < 1:
        yield f"data.shards.spread: found {spread}, allowed: 1 and more"
    for split in ("val", "test"):
        entries = _section(config, "data").get(split)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            yield from set_findings(f"data.{split}.{name}", str(name), entry)


def _section(config: TrainConfig, name: str) -> dict[str, Any]:
    section = getattr(config, name)
    return section if isinstance(section, dict) else {}


def _loss_weights(loss: dict[str, Any]) -> Iterator[str]:
    weights = {"loss.alpha": loss.get("alpha", 1.0), "loss.beta": loss.get("beta", 0.0)}
    terms = loss.get("terms", {}).items()
    weights |= {f"loss.terms.{name}.weight": term.get("weight") for name, term in terms if isinstance(term, dict)}
    told = ("loss.alpha", "loss.beta")  # that they are no numbers; a term's weight is no constructor's argument
    for key, weight in weights.items():
        is_finite = isinstance(weight, int | float) and math.isfinite(weight)
        if (is_finite and weight < 0) or (not is_finite and key not in told):
            yield f"{key}: found {weight}, allowed: a finite number, 0 and more"
    if not any(weights.values()):
        keys = "loss.alpha, loss.beta and the weights of loss.terms"
        yield f"{keys}: all are 0, so there is nothing to train on; allowed: at least one above 0"


def _adversarial(config: TrainConfig, section: dict[str, Any]) -> Iterator[str]:
    optimizer = section.get("optimizer")
    rate = optimizer.get("lr") if isinstance(optimizer, dict) else None
    if isinstance(rate, int | float) and rate <= 0:
        yield f"adversarial.optimizer.lr: found {rate}, allowed: above 0"
    accumulate = _section(config, "trainer").get("accumulate_grad_batches", 1)
    if isinstance(accumulate, int) and accumulate > 1:
        yield (
            f"trainer.accumulate_grad_batches: found {accumulate}, but adversarial training steps at every batch; "
            "allowed: 1, or adversarial=null"
        )


def set_findings(key: str, name: str, entry: Any) -> Iterator[str]:
    """What is wrong with the entry of a set to validate, test or evaluate on."""
    if not _SET_NAME.fullmatch(name):
        yield f"{key}: names of sets hold letters, digits, '_', '-' and '.' only"
    if isinstance(entry, dict):
        unknown = [part for part in entry if part not in ("hr", "lr", "files")]
        if unknown or not isinstance(entry.get("hr"), str):
            yield f"{key}: found {entry!r}, allowed: a folder, or {{hr: folder, lr: folder, files: [names]}}"
    elif not isinstance(entry, str):
        yield f"{key}: found {entry!r}, allowed: a folder, or {{hr: folder, lr: folder, files: [names]}}"


def path_findings(config: TrainConfig) -> Iterator[str]:
    """Folders and files that have to be there before anything heavy is imported."""
    data = config.data
    folders: list[tuple[str, Any]] = [("data.train_dir", data.get("train_dir"))]
    folders += [
        ("data.train_lr_dir", folder.replace("{scale}", str(scale)))
        for folder in _as_list(data.get("train_lr_dir"))
        for scale in config.scale
    ]
    for split in ("val", "test"):
        folders += set_folders(f"data.{split}", data.get(split) or {}, config.scale)
    yield from missing_folders(folders)
    yield from _shards(data.get("shards"))
    weights = config.model.get("weights")
    if config.model.get("fresh") and weights is None:
        yield f"model.fresh: found {config.model['fresh']}, but model.weights names nothing to start from"
    files = {"model.weights": weights and find_pretrained(weights)}
    if config.loss.get("beta", 0.0) > 0:
        files["loss.perceptual.weights"] = (config.loss["perceptual"] or {}).get("weights")
    for key, file in files.items():
        if file is not None and not os.path.isfile(file):
            shipped = f", or one of {', '.join(pretrained_names())}" if key == "model.weights" else ""
            yield f"{key}: {file} is not there; allowed: a file of weights{shipped}"


def _shards(section: Any) -> Iterator[str]:
    """What is wrong with where packed images lie, as far as that can be told without reading them."""
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
    """The folders that the entries of `data.val` or `data.test` name, each with its key."""
    folders: list[tuple[str, Any]] = []
    for name, entry in entries.items():
        entry = entry if isinstance(entry, dict) else {"hr": entry}
        folders.append((f"{key}.{name}.hr", entry.get("hr")))
        folders += [
            (f"{key}.{name}.lr", str(folder).replace("{scale}", str(scale)))
            for folder in _as_list(entry.get("lr"))
            for scale in scales
        ]
    return folders


def missing_folders(folders: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """One message for each folder that is not there."""
    for key, value in folders:
        for folder in _as_list(value):
            if not os.path.isdir(folder):
                what = "is a file" if os.path.exists(folder) else "is not there"
                hint = _DATA_HINT if key.startswith("data.") else ""
                yield f"{key}: {folder} {what}; allowed: a folder of images{hint}"


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
