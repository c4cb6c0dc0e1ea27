"""Validation of a run's saved config before anything in it is instantiated, and renaming of outdated names.

The file is untrusted, and instantiating a `_target_` runs its code. It may therefore only name classes that our `conf/`
names, unless the user types others again. Likewise it may only read the environment variables that `conf/` reads.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sr_lightning.config.conf_files import conf_dir, describe_yaml_error
from sr_lightning.config.schema import ADVERSARY, LOSS, PERCEPTUAL
from sr_lightning.errors import UserError

# Names that older versions have written to saved configs and checkpoints, with their current names. Renaming anything
# that a config can name needs an entry here.
RENAMED = {
    "sr_lightning.schedule.constant": "sr_lightning.optim.constant",
    "sr_lightning.schedule.cosine": "sr_lightning.optim.cosine",
    "sr_lightning.schedule.multistep": "sr_lightning.optim.multistep",
    "sr_lightning.schedule.one_cycle": "sr_lightning.optim.one_cycle",
    "sr_lightning.optimizers.soap": "sr_lightning.optim.soap",
    "sr_lightning.data.streaming.Shards": "sr_lightning.data.Shards",
    "sr_lightning.adversarial.Adversary": "sr_lightning.training.adversarial.Adversary",
}
# Families of names that only denote parts of networks, losses, optimizers and schedules, and those of Lightning's
# callbacks that write no files.
_HARMLESS = re.compile(
    r"torch\.(optim|optim\.lr_scheduler|nn)\.[A-Z]\w*"
    r"|lightning\.pytorch\.callbacks\.(EarlyStopping|LearningRateMonitor|ModelSummary|Timer)"
)
_DEEPEST = 32  # maximum nesting levels of a config
_TARGET = re.compile(r"_target_: *([\w.]+)")
_REFERENCE = re.compile(r"\$\{[\w.]+\}")


def config_file(folder: Path) -> Path:
    """Returns the path of a run's saved config in its folder."""
    return folder / ".hydra" / "config.yaml"


def read_saved_config(path: Path, typed: Sequence[str], *, sections: Sequence[str] | None = None) -> DictConfig:
    """Reads the config of a run to be resumed, or a part of it.

    Args:
        path: `<run folder>/.hydra/config.yaml`.
        typed: Overrides of this call.
        sections: The only sections to read, besides single values; None for all.

    Raises:
        UserError: It is not plain YAML, names a third-party class that was not typed again, or reads the environment.
    """
    run = path.parent.parent
    if not (path.parent / "overrides.yaml").is_file() and not (run / "checkpoints").exists():  # Hydra writes it last
        raise _never_began(path)
    try:
        config = load_plain_yaml(path)
        raw = with_current_names(OmegaConf.to_container(config, resolve=False))
    except (YAMLError, OSError, ValueError, OmegaConfBaseException) as error:
        reason = describe_yaml_error(error) if isinstance(error, YAMLError) else f"{path}: {error}"
        raise UserError(f"ckpt_path: the run's config cannot be read: {reason}") from None
    if not raw:  # Hydra first creates the file, and fills it a moment later
        raise _never_began(path)
    if not isinstance(config, DictConfig):
        raise UserError(f"ckpt_path: {path} holds no config; allowed: the folder of a run")
    if sections is not None:
        raw = {key: value for key, value in raw.items() if key in sections or not isinstance(value, dict)}
    config = OmegaConf.create(raw)
    assert isinstance(config, DictConfig)
    keys = {str(override.key_or_group) for override in OverridesParser.create().parse_overrides(list(typed))}
    targets = {key: target for key, target in _third_party_targets(raw, "") if key not in keys}
    findings = [
        f"{key}: {path} looks up {text!r}; allowed: plain values, or the key typed again with what it should be"
        for key, text in _lookups(raw, "")
        if key not in keys
    ]
    if targets:
        again = " ".join(f"{key}={target}" for key, target in targets.items())
        findings.append(
            f"{', '.join(targets)}: {path} names third-party classes, and building them runs their code; if you "
            f"trust them, type them again:\n  ckpt_path={path.parent.parent} {again}"
        )
    if findings:
        raise UserError("\n".join(findings))
    return config


def _never_began(path: Path) -> UserError:
    return UserError(
        f"ckpt_path: {path} is incomplete: the run was ended before it began. Nothing is lost; start it again, with "
        f"hydra.run.dir={path.parent.parent} in the same folder"
    )


def load_plain_yaml(path: Path) -> DictConfig | ListConfig:
    """Loads a YAML file of bounded size; no config that Hydra writes has aliases or endless nesting.

    Raises:
        ValueError: It has aliases, which may expand a kilobyte endlessly, or is nested deeper than any config.
        YAMLError: It is not valid YAML.
        OmegaConfBaseException: It is not a config.
        OSError: It cannot be read.
    """
    depth = 0
    with path.open(encoding="utf-8") as file:
        for event in yaml.parse(file):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST:
                raise ValueError(f"line {event.start_mark.line + 1}: allowed: no aliases, and {_DEEPEST} levels")
    return OmegaConf.load(path)


def with_current_names(node: Any) -> Any:
    """Copies a plain config, replacing each outdated `_target_` by its current name."""
    if isinstance(node, dict):
        return {
            key: RENAMED.get(value, value)
            if key == "_target_" and isinstance(value, str)
            else with_current_names(value)
            for key, value in node.items()
        }
    return [with_current_names(value) for value in node] if isinstance(node, list) else node


def required_overrides(config: dict[str, Any]) -> list[str]:
    """Returns the overrides that must be repeated with `ckpt_path=` to resume a run with this config."""
    return [f"{key}={target}" for key, target in _third_party_targets(config, "")]


def _third_party_targets(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    for child, value in _children(node, key):
        is_target = child.rpartition(".")[2] == "_target_"
        if is_target and not (isinstance(value, str) and (value in own_targets() or _HARMLESS.fullmatch(value))):
            yield child, value
        yield from _third_party_targets(value, child)


def _lookups(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yields interpolations that call a resolver, except those in `conf/`."""
    for child, value in _children(node, key):
        for text in (child, value):
            if isinstance(text, str) and "${" in text and not _is_harmless(text):
                yield child, text
        yield from _lookups(value, child)


def _is_harmless(text: str) -> bool:
    for own in _own_lookups():
        text = text.replace(own, "")
    return "${" not in _REFERENCE.sub("", text)


def _children(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield f"{key}.{name}" if key else str(name), value


@functools.cache
def own_targets() -> frozenset[str]:
    """Returns the classes that `conf/` names outside comments, and those of the sections that name none."""
    named = (target for text in _own_texts() for target in _TARGET.findall(text))
    return frozenset(named) | {LOSS, PERCEPTUAL, ADVERSARY}


@functools.cache
def _own_lookups() -> frozenset[str]:
    return frozenset(lookup for text in _own_texts() for lookup in re.findall(r"\$\{[\w.]+:[^${}]*\}", text))


def _own_texts() -> list[str]:
    texts = [file.read_text(encoding="utf-8") for file in sorted(Path(conf_dir()).rglob("*.yaml"))]
    return [re.sub(r"(^|\s)#.*", "", text, flags=re.MULTILINE) for text in texts]
