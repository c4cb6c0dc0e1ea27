"""Composition of the configs of all jobs of a command line, before Hydra starts the first."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import MISSING, DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException

from sr_lightning.config.conf_files import conf_dir
from sr_lightning.config.findings import lists_once, refuse
from sr_lightning.config.launchers import launcher_class_findings, launcher_findings
from sr_lightning.config.override_errors import COMPOSITION_ERRORS, find_wrong_overrides, summarise
from sr_lightning.config.overrides import as_typed, empty_group
from sr_lightning.config.secrets import composed_secrets
from sr_lightning.errors import UserError


@dataclass(frozen=True)
class ComposedJob:
    """One job: its overrides, its config without the `hydra` section, and the folder where Hydra would put it."""

    overrides: list[str]
    config: DictConfig
    is_sweep: bool
    folder: str | None
    """Resolved folder of the run or sweep; None if the user chose none."""
    subfolder: str = ""
    """Resolved folder of the job, inside the sweep folder."""
    launcher: str = ""
    """Name of the class that runs the jobs of the sweep."""
    hydra: DictConfig | None = None
    """The section `hydra`; None for a job of a sweep, which Hydra composes itself."""

    def with_hydra(self, overrides: list[str]) -> DictConfig:
        """Returns a single run's config with its section `hydra`, as if Hydra had composed it with further overrides.

        Args:
            overrides: Further overrides of the section `hydra`.
        """
        assert self.hydra is not None
        parsed = _parse(overrides)
        with flag_override(self.config, ["struct", "readonly"], False):
            self.config["hydra"] = self.hydra
            settings = self.config.hydra
            for override in parsed:
                OmegaConf.update(self.config, override.key_or_group, override.value(), merge=False)
            replaced = {override.key_or_group for override in parsed}
            kept = [typed for typed in settings.overrides.hydra if typed.lstrip("+").partition("=")[0] not in replaced]
            settings.overrides.hydra = [*kept, *overrides]
            settings.job.num = settings.job.id = MISSING  # set for the name of the folder
        return self.config


@contextmanager
def opened_configs(name: str, config_dir: str | None) -> Iterator[Hydra]:
    """Initialises Hydra on the project's configs followed by the user's own, as `--config-dir` does.

    A user's file with the name of one of the project's is not read. An override of `hydra.searchpath` would come too
    late for the user's own primary config, and Hydra's public `initialize_config_dir` takes only one folder, so the
    search path is built as in Hydra's own main.

    Args:
        name: The command, used as log name unless a config sets one.
        config_dir: The user's own folder of configs.
    """
    with initialize_config_dir(conf_dir(), name, version_base="1.3"):
        if config_dir:
            path = create_config_search_path(conf_dir())
            path.prepend("command-line", f"file://{os.path.abspath(config_dir)}", anchor="schema")
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2(task_name=name, config_search_path=path)
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


def compose_jobs(
    name: str, overrides: list[str], *, config_dir: str | None, config_name: str | None, is_sweep: bool
) -> list[ComposedJob]:
    """Composes the config of every job that a command line requests.

    Args:
        name: The primary config.
        overrides: Overrides as typed, with paths quoted.
        config_dir: The user's own folder of configs (Hydra's `--config-dir`).
        config_name: The user's own primary config (Hydra's `--config-name`).
        is_sweep: Whether `-m` was given; a `sweep=` preset makes it a sweep, too.

    Returns:
        At least one job. For sweepers other than Hydra's basic one, whose jobs cannot be known in advance, only the
        first job, with the first choice of each swept key.

    Raises:
        UserError: The config does not compose; the message lists every invalid override.
    """
    primary = config_name or name
    refuse(list(launcher_findings(overrides)))
    with opened_configs(name, config_dir):
        try:
            parsed = _parse(overrides)
            fixed = [o.input_line for o in parsed if not o.is_sweep_override() and o.input_line is not None]
            composed = compose(primary, fixed, return_hydra_config=True)
            settings = composed.hydra
            is_sweep = is_sweep or (settings.mode is not None and settings.mode.name == "MULTIRUN")
            if not is_sweep:
                # A choice sweep without -m does not compose; Hydra reports that.
                config = composed if fixed == overrides else compose(primary, overrides, return_hydra_config=True)
                return [_job(config, overrides, None)]
            refuse(launcher_class_findings(settings.launcher.get("_target_", ""), settings.sweeper.get("_target_", "")))
            presets = [f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()]
            typed = {o.key_or_group for o in parsed}
            parsed += [o for o in _parse(presets) if o.key_or_group not in typed]
            combinations = _combinations(parsed)
            if not settings.sweeper.get("_target_", "").endswith("BasicSweeper"):
                combinations = combinations[:1]
            return _with_folders_of_their_own(
                [
                    _job(compose(primary, job, return_hydra_config=True), job, number)
                    for number, job in enumerate(combinations)
                ]
            )
        except COMPOSITION_ERRORS as error:
            findings = find_wrong_overrides(primary, overrides, is_sweep=is_sweep) or [summarise(error)]
            raise UserError("\n".join(lists_once(findings))) from None


def translate_overrides(
    name: str, overrides: list[str], *, config_dir: str | None, config_name: str | None
) -> list[str]:
    """Translates overrides that mean something different to Hydra than to the user.

    A section typed as a mapping replaces the existing one, whereas Hydra would merge the two. So
    `scheduler={_target_: torch.optim.lr_scheduler.StepLR, step_size: 5}` becomes deletions of the keys of `scheduler`,
    followed by the typed mapping. A mapping that names no class and only sets existing keys is left unchanged. A group
    set to null is translated to an empty choice.

    Args:
        name: The primary config.
        overrides: Overrides as typed, with paths quoted.
        config_dir: As in `compose_jobs`.
        config_name: As in `compose_jobs`.
    """
    overrides = [empty_group(override) for override in overrides]
    if not any("={" in override for override in overrides):
        return overrides
    primary = config_name or name
    with opened_configs(name, config_dir):
        expanded: list[str] = []
        for i, override in enumerate(overrides):
            try:
                # Like Hydra: groups first, wherever they are typed, then value by value.
                groups = [o for o in overrides[i + 1 :] if "." not in o.partition("=")[0] and "={" not in o]
                expanded += _replacement(override, [*expanded, *groups], primary)
            except COMPOSITION_ERRORS:
                expanded.append(override)  # `compose_jobs` reports what is wrong
    return expanded


def _replacement(override: str, others: list[str], primary: str) -> list[str]:
    """Returns an override unchanged, or the overrides that make it replace a section."""
    if "={" not in override:
        return [override]
    (parsed,) = _parse([override])
    values = list(parsed.sweep_iterator()) if parsed.is_sweep_override() else [parsed.value()]
    before = compose(primary, _combinations(_parse(others))[0])
    node = OmegaConf.select(before, parsed.key_or_group)
    if parsed.type != OverrideType.CHANGE or not isinstance(node, DictConfig):
        return [override]
    sections = [value for value in values if isinstance(value, dict)]
    if len(sections) < len(values) or all(only_sets(section, node) for section in sections):
        return [override]
    return [*_deletions(parsed.key_or_group, node), f"++{override}"]


def only_sets(section: Mapping[Any, Any], node: DictConfig) -> bool:
    """Whether a mapping typed for a section only sets existing keys and names no class, so that it replaces nothing."""
    inner = ((value, node.get(key)) for key, value in section.items() if isinstance(value, dict))
    return (
        len(section) > 0
        and "_target_" not in section
        and all(key in node for key in section)
        and all(not isinstance(old, DictConfig) or only_sets(new, old) for new, old in inner)
    )


def _deletions(section: str, node: DictConfig) -> list[str]:
    """Returns overrides that delete a section's keys; null and missing ones are set first, as Hydra requires."""
    overrides: list[str] = []
    for name in map(str, node):
        key = f"{section}.{name}"
        overrides += [f"++{key}=0"] if OmegaConf.is_missing(node, name) or node.get(name) is None else []
        overrides.append(f"~{key}")
    return overrides


def _parse(overrides: list[str]) -> list[Override]:
    """Parses overrides; `model=glob(*)` looks up the choices in the config folders."""
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(overrides)


def _job(config: DictConfig, overrides: list[str], number: int | None) -> ComposedJob:
    """Makes a job from its composed config, dropping `hydra`; `number` is its number in a sweep, None for one run."""
    own = as_typed([o for o in overrides if not o.lstrip("+~").startswith("hydra")])
    refuse(list(composed_secrets(config)))
    key = "hydra.run.dir" if number is None else "hydra.sweep.dir"
    with open_dict(config):
        config.hydra.job.num, config.hydra.job.id = number or 0, str(number or 0)  # Hydra sets these at the job's start
    folder = _resolved(config, key) if _is_chosen(config, key) else None
    if folder is not None and not folder.strip():
        raise UserError(f"{key}: found {folder!r}, allowed: a folder; without the key it is named after the time")
    subfolder = "" if number is None else _resolved(config, "hydra.sweep.subdir")
    with flag_override(config, ["struct", "readonly"], False):
        hydra = config.hydra
        launcher = str(hydra.launcher.get("_target_", ""))
        del config["hydra"]
    is_sweep = number is not None
    return ComposedJob(own, config, is_sweep, folder, subfolder, launcher, None if is_sweep else hydra)


def _with_folders_of_their_own(jobs: list[ComposedJob]) -> list[ComposedJob]:
    """Returns the jobs, or raises a UserError if two of them would write to the same folder."""
    numbers: dict[str, int] = {}
    for number, job in enumerate(jobs):
        if (first := numbers.setdefault(job.subfolder, number)) != number:
            raise UserError(
                f"hydra.sweep.subdir: the jobs {first} and {number} would both lie in {job.subfolder!r}; allowed: a "
                "folder for each job, such as ${hydra.job.num}"
            )
    return jobs


def _is_chosen(config: DictConfig, key: str) -> bool:
    """Whether the user has set the folder, on the command line or in a config file."""
    return _at(OmegaConf.to_container(config, resolve=False), key) not in [_at(own, key) for own in _own_configs()]


@cache
def _own_configs() -> list[Any]:
    """Returns the unresolved content of the project's files that can set a folder."""
    files = [Path(conf_dir(), "hydra", "default.yaml"), *Path(conf_dir()).glob("*.yaml")]
    first, *primary = [OmegaConf.to_container(OmegaConf.load(file), resolve=False) for file in files]
    return [{"hydra": first}, *primary]


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _resolved(config: DictConfig, key: str) -> str:
    """Returns the value of a key that names a folder, with all interpolations resolved."""
    try:
        return str(OmegaConf.select(config, key))
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {str(error).splitlines()[0]}; allowed: a folder") from None


def _combinations(parsed: list[Override]) -> list[list[str]]:
    """Returns the overrides of each job, in the order in which Hydra's basic sweeper numbers them."""
    choices: dict[str, list[str]] = {}
    for override in parsed:
        key = override.get_key_element()
        values = (
            override.sweep_string_iterator() if override.is_sweep_override() else [override.get_value_element_as_str()]
        )
        choices[key] = [f"{key}={value}" for value in values]
    return [list(job) for job in itertools.product(*choices.values())]


def compose_choices(
    name: str, overrides: list[str], *, config_dir: str | None, config_name: str | None
) -> tuple[DictConfig, dict[str, str]]:
    """Composes one config for help.

    Args:
        name: The primary config.
        overrides: As in `compose_jobs`; for swept keys the first choice is used.
        config_dir: As in `compose_jobs`.
        config_name: As in `compose_jobs`.

    Returns:
        The config without its `hydra` section, and a mapping of group -> choice (`""` if none is chosen).

    Raises:
        UserError: As in `compose_jobs`.
    """
    primary = config_name or name
    with opened_configs(name, config_dir):
        try:
            config = compose(primary, _combinations(_parse(overrides))[0], return_hydra_config=True)
        except COMPOSITION_ERRORS as error:
            findings = find_wrong_overrides(primary, overrides, is_sweep=True) or [summarise(error)]
            raise UserError("\n".join(lists_once(findings))) from None
    chosen = {group: choice or "" for group, choice in config.hydra.runtime.choices.items()}
    with flag_override(config, ["struct", "readonly"], False):
        del config["hydra"]
    return config, {group: str(choice) for group, choice in chosen.items() if not group.startswith("hydra")}
