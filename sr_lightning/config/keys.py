"""Keys of a command with value, type and meaning, as shown by help, gathered from YAML comments and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it ships no types
from omegaconf import DictConfig, OmegaConf

from sr_lightning.config.comments import read_comments
from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.docstrings import arguments, describe_type, schema_fields, summary
from sr_lightning.config.schema import ADVERSARY, LOSS, PERCEPTUAL
from sr_lightning.config.signatures import parameters

_SECTIONS = {"loss": LOSS, "loss.perceptual": PERCEPTUAL, "adversarial": ADVERSARY}
_DATA_SETS = ("data.val", "data.test")  # their keys are names given by the user
_WEIGHT = re.compile(r"loss\.terms\.[^.]+\.weight")
_OF_TERM = "number; factor of the term in the total; 0 builds nothing"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Key:
    """One key, or the heading of a nested section."""

    name: str
    """Dotted name."""
    value: str | None
    """Value in YAML; None for the heading of a section."""
    kind: str
    """Type or choices; empty if only the code knows."""
    text: str
    """Meaning of the key."""


class Explainer:
    """Explains the keys of a composed config.

    Args:
        command: The primary config.
        config: The composed config, with interpolations unresolved.
        chosen: Group -> choice.
        check: The command's check; its return type is the schema of the keys outside of groups.
        folder: The user's own folder of configs.
    """

    def __init__(
        self,
        command: str,
        config: DictConfig,
        chosen: dict[str, str],
        check: Callable[..., Any],
        folder: str | None = None,
    ) -> None:
        self.command = command
        self.chosen = dict(reversed(chosen.items()))  # Hydra lists the last group first
        plain: Any = OmegaConf.to_container(config, resolve=False)
        self.plain: dict[str, Any] = plain
        self._folders = [Path(path) for path in (folder, conf_dir()) if path is not None]
        self._schema = _schema_of(check)
        self._comments = self._all_comments()

    def sections(self) -> dict[str, list[Key]]:
        """Returns section name -> keys; keys outside of sections come first, under an empty name."""
        loose = {key: value for key, value in self.plain.items() if not isinstance(value, dict)}
        found = {"": list(self._entries("", loose))}
        own = [self.command] if self.command in self.plain else []
        for name in dict.fromkeys([*own, *self.plain]):
            if isinstance(section := self.plain[name], dict):
                found[name] = list(self._entries(name, section))
        return {name: keys for name, keys in found.items() if keys}

    def about(self, section: str) -> str:
        """Describes a section with the head comment of its file, else the docstring of its class."""
        if section in self.chosen:
            for path in self._files(section, self.chosen[section]):
                if text := read_comments(path).about:
                    return text
        return summary(self._target(section, self._at(section)))

    def choices(self, group: str) -> dict[str, str]:
        """Returns the choices of a group, each with the head comment of its file."""
        group = group.partition("@")[0]  # `optimizer@adversarial.optimizer`
        found: dict[str, str] = {}
        for folder in self._folders:
            for path in sorted((folder / group).rglob("*.yaml")):
                name = path.relative_to(folder / group).with_suffix("").as_posix()
                found.setdefault(name, read_comments(path).about)
        return found

    def examples(self) -> list[str]:
        """Returns the example command lines from the command's own file."""
        return [line for path in self._own()[-1:] for line in read_comments(path).examples]

    def _entries(self, prefix: str, section: dict[str, Any]) -> Iterator[Key]:
        target = self._target(prefix, section)
        for name, value in section.items():
            dotted = f"{prefix}.{name}" if prefix else name
            if name.startswith("_") and name.endswith("_"):
                continue
            if isinstance(value, dict) and value and dotted not in _DATA_SETS:
                inner = self._target(dotted, value)
                yield Key(dotted, None, "", self._comments.get(dotted) or _as_comment(summary(inner)) or inner)
                yield from self._entries(dotted, value)
            else:
                kind, doc = self._declared(prefix, target, name)
                text = self._comments.get(dotted) or _as_comment(doc) or _told_elsewhere(dotted, value)
                yield Key(dotted, _as_yaml(value), kind, text)

    def _declared(self, prefix: str, target: str, name: str) -> tuple[str, str]:
        """Returns type and docstring from the schema or the constructor."""
        schema = "sr_lightning.config.schema.PathsConfig" if prefix == "paths" else self._schema
        if not target and schema and prefix in ("", "paths", self.command):
            fields = schema_fields(schema)
            if "train" in fields and not prefix:  # the command is based on `train`
                schema = "sr_lightning.config.schema.TrainConfig"
                fields = schema_fields(schema)
            annotation, text = fields.get(name, (None, ""))
            kind = describe_type(annotation, schema.rpartition(".")[0])
            # This is the type after the check, which may be a list where a single value is typed.
            return ("" if "list" in kind or "mapping" in kind else kind), text
        parameter = (parameters(target) or {}).get(name) if target else None
        kind = describe_type(parameter.annotation, parameter.module) if parameter else ""
        return kind, arguments(target).get(name, "") if target else ""

    def _target(self, prefix: str, section: Any) -> str:
        named = section.get("_target_") if isinstance(section, dict) else None
        return str(named) if named else _SECTIONS.get(prefix, "")

    def _at(self, dotted: str) -> Any:
        node: Any = self.plain
        for part in dotted.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return node

    def _all_comments(self) -> dict[str, str]:
        """Returns dotted key -> comment; a file that overrides a value may rely on the comment of the file below it."""
        found: dict[str, str] = {}
        for path in self._own():
            found |= read_comments(path).keys
        for named, choice in self.chosen.items():
            group, _, place = named.partition("@")
            for path in reversed(self._files(group, choice)):
                found |= {f"{place or group}.{key}": text for key, text in read_comments(path).keys.items()}
        return found

    def _own(self) -> list[Path]:
        """Returns the files that the command's file is based on, followed by the file itself."""
        own = self._find(f"{self.command}.yaml")
        if own is None:
            return []
        names = [entry for entry in _defaults(own) if isinstance(entry, str) and entry != "_self_"]
        return [*(path for name in names if (path := self._find(f"{name}.yaml"))), own]

    def _files(self, group: str, choice: str) -> list[Path]:
        """Returns the file of a choice, followed by the files it is based on."""
        path = self._find(f"{group}/{choice}.yaml")
        if path is None:
            return []
        names = [entry for entry in _defaults(path) if isinstance(entry, str) and entry != "_self_"]
        return [path, *(below for name in names for below in self._files(group, name))]

    def _find(self, name: str) -> Path | None:
        return next((folder / name for folder in self._folders if (folder / name).is_file()), None)


def _defaults(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if "\ndefaults:" not in f"\n{text}":
        return []
    return yaml.safe_load(text).get("defaults") or []


def _schema_of(check: Callable[..., Any]) -> str:
    """Returns the dotted name of the dataclass that a check returns; empty for plain containers."""
    schema = inspect.get_annotations(check, eval_str=True).get("return")
    return f"{schema.__module__}.{schema.__name__}" if isinstance(schema, type) and schema is not dict else ""


def _as_comment(text: str) -> str:
    """Converts a docstring to the style of the comments: without Lightning's markup and defaults, in lower case."""
    text = re.sub(r" *Default: ``[^`]*``\.?", "", text).replace("``", "`").removesuffix(".")
    return text[0].lower() + text[1:] if re.match(r"[A-Z][a-z]", text) else text


def _told_elsewhere(dotted: str, value: Any) -> str:
    """Describes a key that has no text of its own: a reference to another key, or the weight of a loss term."""
    if _WEIGHT.fullmatch(dotted):
        return _OF_TERM
    reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return f"as {reference[1]}" if reference else ""


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
