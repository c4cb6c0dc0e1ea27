"""Config keys that may change when a run is resumed, and what each change means for its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.config.compose import only_sets
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
# The checkpoint's state fits no other network or class.
_NEVER = ("scale", "model", "adversarial.discriminator")
# Prefixes of the keys that decide what `best` means, of those that set up the optimizers and their schedules, and of
# those that decide which samples are drawn.
_BEST = ("callbacks.checkpoints", "data.val", "data.kernel", "data.degradation")
_OPTIMIZERS = ("optimizer", "scheduler", "adversarial.optimizer", "trainer.max_steps")
_SAMPLES = ("data", "seed")


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
    refused: list[str] = []
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
        elif _plain(old) == _plain(override.value()):
            continue
        elif not _may_change(key, allowed):
            findings.append(f"{key}: the run was started with {_plain(old)!r}, found {override.value()!r}")
            refused.append(key)
        else:
            findings += _update(config, override)
            changes.append(f"{key}: {_plain(old)} -> {_plain(override.value())}")
    if refused:
        findings.append(_way_out(refused))
    if findings:
        raise UserError("\n".join(findings))
    return changes


def _update(config: DictConfig, override: Override) -> list[str]:
    key, value = override.key_or_group, override.value()
    try:
        old = OmegaConf.select(config, key)
        merges = not (isinstance(value, dict) and isinstance(old, DictConfig)) or only_sets(value, old)
        OmegaConf.update(config, key, value, merge=merges, force_add=override.is_add() or not merges)
    except OmegaConfBaseException as error:
        return [f"{override.key_or_group}: {str(error).splitlines()[0]}"]
    return []


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
    if refused := [key for key in keys if not _may_change(key, allowed)]:
        before, now = _flat(before), _flat(now)
        lines = [f"{key}: the checkpoint was made with {before.get(key)!r}, found {now.get(key)!r}" for key in refused]
        raise UserError("\n".join([*lines, _way_out(refused)]))
    return tuple(keys)


def unequal_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys in which two configs differ. A key that one of them lacks, because it is younger, counts as null."""
    before, now = _flat(before), _flat(now)
    return [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]


def deciding_differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """As `unequal_keys`, without what is only logged: a job of a sweep is the same with newer keys of a logger."""
    return [key for key in unequal_keys(before, now) if not _is_under(key, _LOGGING)]


def _is_under(key: str, sections: Iterable[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _is_fixed(key: str) -> bool:
    return _is_under(key, _NEVER) or key == "adversarial" or key.rpartition(".")[2] == "_target_"


def _may_change(key: str, allowed: Sequence[str]) -> bool:
    if _is_under(key, _STATELESS):
        return True
    if _is_fixed(key):
        return False
    return (_is_under(key, CHANGEABLE) and not _is_under(key, _DECIDING)) or _is_under(key, allowed)


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
