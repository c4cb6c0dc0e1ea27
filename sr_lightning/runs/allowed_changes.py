"""Config keys that may change when a run is resumed, and the effect of each change on its state."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from sr_lightning.config.compose import only_sets
from sr_lightning.config.containers import flattened
from sr_lightning.config.suggestions import suggest_key
from sr_lightning.config.train import check_train
from sr_lightning.errors import UserError

# Keys that may change freely: length, logging, hardware. Every other key affects the meaning of the figures, and an
# optimizer restored from a checkpoint would silently keep its old settings.
_TRAINER = (
    *("max_steps", "val_check_interval", "log_every_n_steps", "limit_val_batches", "limit_test_batches"),
    *("accelerator", "devices", "num_nodes", "strategy", "accumulate_grad_batches", "deterministic", "detect_anomaly"),
    *("max_time", "profiler"),
)
CHANGEABLE = (
    *(f"trainer.{key}" for key in _TRAINER),
    *("callbacks", "logger", "paths", "data.test", "data.num_workers", "data.worker_timeout", "data.store_limit_gb"),
    *("data.shards.max_cache_gb", "compile"),
)
# Exceptions within `CHANGEABLE`, which affect what is validated and which checkpoint is best.
_DECIDING = ("callbacks.ema", "callbacks.checkpoints")
# Locations, which differ between machines. What counts is the content of the images, whose fingerprint is in the
# checkpoint; weights files do not count, because the checkpoint holds its own weights.
_PLACES = (
    *("data.train_dir", "data.train_lr_dir", "data.cache_dir", "data.shards.folder", "data.shards.cache_dir"),
    *("model.weights", "loss.perceptual.weights"),
)
_STATELESS = ("callbacks.gradient_norm",)  # newer than some runs, and without state that could mismatch
_LOGGING = ("logger", *_STATELESS)
OWN = ("ckpt_path", "allow_change")
# Keys that are newer than some runs, with the values that reproduce the earlier behaviour; null for all others.
_AS_BEFORE: dict[str, tuple[Any, ...]] = {
    f"loss.{section}.{key}": (value, f"${{loss.perceptual.{key}}}")
    for section in ("perceptual", "terms.style")
    for key, value in (("unit_norm", False), ("window", None), ("shift", 0), ("precision", "float32"))
}
# The checkpoint's state does not fit any other network or class.
_NEVER = ("scale", "model", "adversarial.discriminator")
# Prefixes of the keys that define `best`, of those that configure the optimizers and their schedules, and of those that
# determine which samples are drawn.
_BEST = ("callbacks.checkpoints", "data.val", "data.kernel", "data.degradation")
_OPTIMIZERS = ("optimizer", "scheduler", "adversarial.optimizer", "trainer.max_steps")
_SAMPLES = ("data", "seed")
_IMPLIED = "._partial_"  # implied by the builder
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class ResumePolicy:
    """Parts of a checkpoint's state that the config overrides when a run is resumed; none by default."""

    resets_best: bool = False
    """The best score was measured differently and does not count."""
    resets_optimizers: bool = False
    """Learning rates, schedules and other settings come from the config; the gradient moments are kept."""
    accepts_other_data: bool = False
    """Other images, or other crops of them, are accepted."""

    @classmethod
    def of(cls, differing: Iterable[str], allowed: Iterable[str]) -> ResumePolicy:
        """Derives the policy from the changed keys.

        Args:
            differing: Keys in which the run differs from its checkpoint.
            allowed: Keys and sections that the user permits to differ.
        """
        return cls(
            resets_best=any(key.startswith(_BEST) for key in differing),
            resets_optimizers=any(key.startswith(_OPTIMIZERS) for key in differing),
            accepts_other_data=any(key.startswith(_SAMPLES) for key in allowed),
        )


def apply_changes(config: DictConfig, typed: list[str], allowed: Sequence[str]) -> list[str]:
    """Applies overrides to a run's saved config.

    Args:
        config: The saved config, modified in place.
        typed: Overrides from the command line.
        allowed: Keys and sections that may change in addition to `CHANGEABLE`.

    Returns:
        Descriptions of the changes, for the log.

    Raises:
        UserError: A key may not change; the message lists all such keys and what to do instead.
    """
    changes: list[str] = []
    findings: list[str] = []
    refused: dict[str, str] = {}
    OmegaConf.set_struct(config, True)
    for override in OverridesParser.create().parse_overrides(typed):
        key = override.key_or_group
        try:
            old = OmegaConf.select(config, key)
        except OmegaConfBaseException:
            old = None
        if isinstance(override.value(), str) and OmegaConf.is_config(old):
            findings.append(
                f"{key}: a whole section cannot be swapped when a run continues; allowed: single keys of it"
            )
        elif override.is_delete():
            findings.append(f"{override.input_line}: nothing can be deleted when a run continues")
        elif differences := _differences(key, old, override.value()):
            wrong = {
                name: f"{name}: the run was started with {before!r}, found {after!r}"
                for name, before, after in differences
                if not _may_change(name, allowed)
            }
            refused |= wrong
            findings += _update(config, override, is_known=not wrong)
            told = _without_consequences(name for name, _, _ in differences)
            changes += [f"{name}: {before} -> {after}" for name, before, after in differences if name in told]
    unknown = _unknown_keys(config, refused)
    findings += unknown.values()
    if keys := _without_consequences(key for key in refused if key not in unknown):
        findings += [*(refused[key] for key in keys), _way_out(keys)]
    if findings:
        raise UserError("\n".join(findings))
    return changes


def _differences(key: str, old: Any, value: Any) -> list[tuple[str, Any, Any]]:
    """Returns each key that an override changes, with its old and new values; sections are expanded."""
    if not isinstance(old, DictConfig) or not isinstance(value, dict | None):
        return [(key, _plain(old), value)] if _plain(old) != value else []
    plain: Any = OmegaConf.to_container(old)  # a dict, as it is of a DictConfig
    before = {f"{key}.{name}": item for name, item in flattened(plain).items()}
    after = {f"{key}.{name}": item for name, item in flattened(value or {}).items()}
    names = after if only_sets(value or {}, old) else {**before, **after}
    return [
        (name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name) and not name.endswith(_IMPLIED)
    ]


def _without_consequences(keys: Iterable[str]) -> list[str]:
    """Drops differing keys in sections whose `_target_` differs, as they follow from it."""
    keys = list(keys)
    replaced = [key.removesuffix("_target_") for key in keys if key.endswith("._target_")]
    return [key for key in keys if key.endswith("._target_") or not key.startswith(tuple(replaced))]


def _update(config: DictConfig, override: Override, *, is_known: bool) -> list[str]:
    """Applies an override; one that will be refused is applied even if its key does not exist."""
    key, value = override.key_or_group, override.value()
    try:
        old = OmegaConf.select(config, key)
        merges = not (isinstance(value, dict) and isinstance(old, DictConfig)) or only_sets(value, old)
        is_new = override.is_add() or not merges or not is_known
        OmegaConf.update(config, key, value, merge=merges, force_add=is_new)
    except (ConfigAttributeError, ConfigKeyError):
        return [f"{key}: no such key; {suggest_key(key, config)}"]
    except OmegaConfBaseException as error:
        return [f"{key}: {str(error).splitlines()[0]}"]
    return []


def _unknown_keys(config: DictConfig, refused: Collection[str]) -> dict[str, str]:
    """Returns the refused keys that do not exist in the run's classes, permitted or not, with their messages."""
    if not refused:
        return {}
    try:
        check_train(config)
    except UserError as error:
        lines = {line.partition(":")[0]: line for line in str(error).splitlines() if ": no such key; " in line}
        return {key: line for key, line in lines.items() if key in refused}
    return {}


def _plain(value: object) -> object:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def differing_keys(before: dict[str, Any], now: dict[str, Any], allowed: Sequence[str]) -> tuple[str, ...]:
    """Returns the keys in which two resolved configs differ, if all of them may.

    Args:
        before: Config of the checkpoint.
        now: Config of the run, likewise as plain data.
        allowed: As in `apply_changes`.

    Raises:
        UserError: As in `apply_changes`.
    """
    keys = [key for key in unequal_keys(before, now) if not _is_under(key, OWN) and not _is_under(key, _PLACES)]
    if refused := _without_consequences(key for key in keys if not _may_change(key, allowed)):
        before, now = flattened(before), flattened(now)
        lines = [f"{key}: the checkpoint was made with {before.get(key)!r}, found {now.get(key)!r}" for key in refused]
        raise UserError("\n".join([*lines, _way_out(refused)]))
    return tuple(keys)


def following_keys(config: DictConfig, sources: Sequence[str]) -> tuple[str, ...]:
    """Returns keys whose values are interpolated from others, such as `data.seed: ${seed}`, and change with them.

    Args:
        config: The config, with its interpolations.
        sources: Keys and sections that may change.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    references = {key: _REFERENCE.findall(str(value)) for key, value in flattened(plain).items()}
    found: list[str] = []
    while new := [
        key
        for key, names in references.items()
        if key not in found and any(_is_under(name, [*sources, *found]) for name in names)
    ]:
        found += new
    return tuple(found)


def unequal_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns the keys in which two configs differ; for newer keys that one of them lacks, see `_AS_BEFORE`."""
    before, now = flattened(before), flattened(now)
    return [key for key in sorted({*before, *now}) if not key.endswith(_IMPLIED) and not _is_equal(key, before, now)]


def _is_equal(key: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    if key in before and key in now:
        return bool(before[key] == now[key])
    return (before if key in before else now)[key] in _AS_BEFORE.get(key, (None,))


def deciding_differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Like `unequal_keys`, but ignores logging, as newer logger keys do not change a sweep's job."""
    return [key for key in unequal_keys(before, now) if not _is_under(key, _LOGGING)]


def _is_under(key: str, sections: Iterable[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _is_free(key: str) -> bool:
    return _is_under(key, CHANGEABLE) and not _is_under(key, _DECIDING)


def _is_fixed(key: str) -> bool:
    is_class = key.rpartition(".")[2] == "_target_" and not _is_free(key)
    return _is_under(key, _NEVER) or key == "adversarial" or is_class


def _may_change(key: str, allowed: Sequence[str]) -> bool:
    if _is_under(key, _STATELESS):
        return True
    return not _is_fixed(key) and (_is_free(key) or _is_under(key, allowed))


def _way_out(refused: Sequence[str]) -> str:
    """Explains how to change the keys anyway."""
    message = "A run continues with what it was started with"
    free = [key for key in refused if not _is_fixed(key)]
    message += f"; to change it all the same: allow_change=[{','.join(free)}]" if free else ""
    fixed = [key for key in refused if _is_fixed(key)]
    message += f"; its state fits no other {', '.join(fixed)}" if fixed else ""
    return f"{message}. A new run starts from its weights with model.weights=<checkpoint>"
