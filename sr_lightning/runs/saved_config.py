"""What is believed of a run's saved config: it is a file, and may come from somebody else.

Building what it names would run whatever it names. So it may name what our own `conf/` names, and anything else only
where the user types it again. Nothing in it is looked up in the environment either, but for the variables of `conf/`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # it ships no types

from sr_lightning.config.conf_files import conf_dir, describe_yaml_error
from sr_lightning.config.schema import ADVERSARY, LOSS, PERCEPTUAL
from sr_lightning.errors import UserError

# Whole classes of names that only ever name a network part, a loss or an optimizer.
_HARMLESS = re.compile(r"torch\.(optim|optim\.lr_scheduler|nn)\.[A-Z]\w*")
_TARGET = re.compile(r"_target_: *([\w.]+)")
_REFERENCE = re.compile(r"\$\{[\w.]+\}")


def read_saved_config(path: Path, typed: Sequence[str]) -> DictConfig:
    """Reads the config of a run that is to continue.

    Args:
        path: `<run folder>/.hydra/config.yaml`.
        typed: The overrides of this call.

    Raises:
        UserError: It is no plain YAML, names a class that is not ours and was not typed again, or looks something up.
    """
    try:
        config = OmegaConf.load(path)
        raw = OmegaConf.to_container(config, resolve=False)
    except (YAMLError, UnicodeDecodeError, OSError, OmegaConfBaseException) as error:
        reason = describe_yaml_error(error) if isinstance(error, YAMLError) else f"{path}: {error}"
        raise UserError(f"ckpt_path: the run's config cannot be read: {reason}") from None
    if not raw:  # Hydra opens the file, and a moment later fills it
        raise UserError(
            f"ckpt_path: {path} is empty: the run was ended before it began. Nothing is lost; start it again, with "
            f"hydra.run.dir={path.parent.parent} in the same folder"
        )
    if not isinstance(config, DictConfig):
        raise UserError(f"ckpt_path: {path} holds no config; allowed: the folder of a run")
    keys = {str(override.key_or_group) for override in OverridesParser.create().parse_overrides(list(typed))}
    targets = {key: target for key, target in _foreign_targets(raw, "") if key not in keys}
    findings = [
        f"{key}: {path} looks up {text!r}; allowed: plain values, or the key typed again with what it should be"
        for key, text in _lookups(raw, "")
        if key not in keys
    ]
    if targets:
        again = " ".join(f"{key}={target}" for key, target in targets.items())
        findings.append(
            f"{', '.join(targets)}: {path} names classes that are not of sr_lightning, and building them runs their "
            f"code; if you trust them, type them again:\n  ckpt_path={path.parent.parent} {again}"
        )
    if findings:
        raise UserError("\n".join(findings))
    return config


def typed_again(config: dict[str, Any]) -> list[str]:
    """What has to be typed with `ckpt_path=` when a run of this config is to continue."""
    return [f"{key}={target}" for key, target in _foreign_targets(config, "")]


def _foreign_targets(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    for child, value in _children(node, key):
        is_target = child.rpartition(".")[2] == "_target_"
        if is_target and not (isinstance(value, str) and (value in own_targets() or _HARMLESS.fullmatch(value))):
            yield child, value
        yield from _foreign_targets(value, child)


def _lookups(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Interpolations that call a resolver, but for those of our own `conf/`."""
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
    """What the files of `conf/` name, but for the examples in their comments, and what a section without one is."""
    named = (target for text in _own_texts() for target in _TARGET.findall(text))
    return frozenset(named) | {LOSS, PERCEPTUAL, ADVERSARY}


@functools.cache
def _own_lookups() -> frozenset[str]:
    return frozenset(lookup for text in _own_texts() for lookup in re.findall(r"\$\{[\w.]+:[^${}]*\}", text))


def _own_texts() -> list[str]:
    texts = [file.read_text(encoding="utf-8") for file in sorted(Path(conf_dir()).rglob("*.yaml"))]
    return [re.sub(r"(^|\s)#.*", "", text, flags=re.MULTILINE) for text in texts]
