"""Config keys that may change when a run is resumed, and what each change means for its state."""

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
from sr_lightning.config.suggestions import suggest_key
from sr_lightning.config.train import check_train
from sr_lightning.errors import UserError

# Keys that may change freely: length, logging, hardware. Every other key decides what the figures mean, and an
# optimizer restored from a checkpoint would silently keep its old settings.
_TRAINER = (
    *("max_steps", "val_check_interval", "log_every_n_steps", "limit_val_batches", "limit_test_batches"),
    *("accelerator", "devices", "num_nodes", "strategy", "accumulate_grad_batches", "deterministic", "detect_anomaly"),
)
CHANGEABLE = (
    *(f"trainer.{key}" for key in _TRAINER),
    *("callbacks", "logger", "paths", "data.test", "data.num_workers", "data.worker_timeout", "data.store_limit_gb"),
    *("data.shards.max_cache_gb", "compile"),
)
# Exceptions below `CHANGEABLE`, which decide what is validated and which checkpoint is best.
_DECIDING = ("callbacks.ema", "callbacks.checkpoints")
# Locations, which differ between machines. The content of the images counts, and the checkpoint holds its
# fingerprint; the files of weights do not count, because the checkpoint holds its own weights.
_PLACES = (
    *("data.train_dir", "data.train_lr_dir", "data.cache_dir", "data.shards.folder", "data.shards.cache_dir"),
    *("model.weights", "loss.perceptual.weights"),
)
_STATELESS = ("callbacks.gradient_norm",)  # younger than some runs, and without a state that could not fit
_LOGGING = ("logger", *_STATELESS)
OWN = ("ckpt_path", "allow_change")
# Keys that are younger than some runs, with the values that do what was done before there was the key; others: null.
_AS_BEFORE: dict[str, tuple[Any, ...]] = {
    f"loss.{section}.{key}": (value, f"${{loss.perceptual.{key}}}")
    for section in ("perceptual", "terms.style")
    for key, value in (("unit_norm", False), ("window", None), ("shift", 0), ("precision", "float32"))
}
# The checkpoint's state fits no other network or class.
_NEVER = ("scale", "model", "adversarial.discriminator")
# Prefixes of the keys that decide what `best` means, of those that set up the optimizers and their schedules, and of
# those that decide which samples are drawn.
_BEST = ("callbacks.checkpoints", "data.val", "data.kernel", "data.degradation")
_OPTIMIZERS = ("optimizer", "scheduler", "adversarial.optimizer", "trainer.max_steps")
_SAMPLES = ("data", "seed")
_IMPLIED = "._partial_"  # which the builder knows for itself
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class ResumePolicy:
    """State of a checkpoint that gives way to the config when a run is resumed; by default none does."""

    resets_best: bool = False
    """The best score so far was measured differently and does not count."""
    resets_optimizers: bool = False
    """Learning rates, schedules and other settings come from the config; the moments of the gradients stay."""
    accepts_other_data: bool = False
    """Other images, or other crops of them, are accepted."""

    @classmethod
    def of(cls, differing: Iterable[str], allowed: Iterable[str]) -> ResumePolicy:
        """The policy that follows from changed keys.

        Args:
            differing: Keys in which the run differs from its checkpoint.
            allowed: Keys and sections that the user lets differ.
        """
        return cls(
            resets_best=any(key.startswith(_BEST) for key in differing),
            resets_optimizers=any(key.startswith(_OPTIMIZERS) for key in differing),
            accepts_other_data=any(key.startswith(_SAMPLES) for key in allowed),
        )


def apply_changes(config: DictConfig, typed: list[str], allowed: Sequence[str]) -> list[str]:
    """Applies overrides to a run's saved config.

    Args:
        config: Changed in place.
        typed: The overrides.
        allowed: Keys and sections that may change beside `CHANGEABLE`.

    Returns:
        What changed, for the log.

    Raises:
        UserError: A key may not change; the message lists all of them and the way out.
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
    """Each key that an override changes, with its values before and after; a section is looked into."""
    if not isinstance(old, DictConfig) or not isinstance(value, dict | None):
        return [(key, _plain(old), value)] if _plain(old) != value else []
    before = _flat(OmegaConf.to_container(old), f"{key}.")  # type: ignore[arg-type]  # of a DictConfig it is a dict
    after = _flat(value or {}, f"{key}.")
    names = after if only_sets(value or {}, old) else {**before, **after}
    return [
        (name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name) and not name.endswith(_IMPLIED)
    ]


def _without_consequences(keys: Iterable[str]) -> list[str]:
    """Keys that differ, without those of a section whose `_target_` differs: they follow from it."""
    keys = list(keys)
    replaced = [key.removesuffix("_target_") for key in keys if key.endswith("._target_")]
    return [key for key in keys if key.endswith("._target_") or not key.startswith(tuple(replaced))]


def _update(config: DictConfig, override: Override, *, is_known: bool) -> list[str]:
    """Applies one override; where it will be refused, whether or not there is such a key."""
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
    """Those of the refused keys that the run's classes do not have, whoever permits them, each with its message."""
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
    """The keys in which two resolved configs differ, where all of them may.

    Args:
        before: The checkpoint's.
        now: The run's, as plain as that.
        allowed: As in `apply_changes`.

    Raises:
        UserError: As in `apply_changes`.
    """
    keys = [key for key in unequal_keys(before, now) if not _is_under(key, OWN) and not _is_under(key, _PLACES)]
    if refused := _without_consequences(key for key in keys if not _may_change(key, allowed)):
        before, now = _flat(before), _flat(now)
        lines = [f"{key}: the checkpoint was made with {before.get(key)!r}, found {now.get(key)!r}" for key in refused]
        raise UserError("\n".join([*lines, _way_out(refused)]))
    return tuple(keys)


def following_keys(config: DictConfig, sources: Sequence[str]) -> tuple[str, ...]:
    """The keys whose values a config takes from others, such as `data.seed: ${seed}`: they change with them.

    Args:
        config: With its interpolations.
        sources: Keys and sections that may change.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    references = {key: _REFERENCE.findall(str(value)) for key, value in _flat(plain).items()}
    found: list[str] = []
    while new := [
        key
        for key, names in references.items()
        if key not in found and any(_is_under(name, [*sources, *found]) for name in names)
    ]:
        found += new
    return tuple(found)


def unequal_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys in which two configs differ; a key that one of them lacks, because it is younger, see `_AS_BEFORE`."""
    before, now = _flat(before), _flat(now)
    return [key for key in sorted({*before, *now}) if not key.endswith(_IMPLIED) and not _is_equal(key, before, now)]


def _is_equal(key: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    if key in before and key in now:
        return bool(before[key] == now[key])
    return (before if key in before else now)[key] in _AS_BEFORE.get(key, (None,))


def deciding_differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """As `unequal_keys`, without what is only logged: a job of a sweep is the same with newer keys of a logger."""
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
    """How to change the keys all the same."""
    message = "A run continues with what it was started with"
    free = [key for key in refused if not _is_fixed(key)]
    message += f"; to change it all the same: allow_change=[{','.join(free)}]" if free else ""
    fixed = [key for key in refused if _is_fixed(key)]
    message += f"; its state fits no other {', '.join(fixed)}" if fixed else ""
    return f"{message}. A new run starts from its weights with model.weights=<checkpoint>"


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat
