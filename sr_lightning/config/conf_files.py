"""Location of the YAML files, their resolvers, and conversion of composed configs to plain containers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError  # type: ignore[import-untyped]  # it ships no types

from sr_lightning.config.comments import read_comments
from sr_lightning.errors import UserError


def conf_dir() -> str:
    """Returns the folder `conf`: inside the installed package, or next to it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return str(folder)
    raise FileNotFoundError(f"no conf/train.yaml in {package} or beside it: the installation is incomplete")


def _package_dir(name: str, *parts: str) -> str:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise UserError(f"the package {name!r} is not installed")
    return str(Path(spec.origin).parent.joinpath(*parts))


def register_resolvers() -> None:
    """Registers `${package_dir:skimage,data}`: a folder inside an installed package, found without importing it."""
    OmegaConf.register_new_resolver("package_dir", _package_dir, replace=True)


def resolved(config: DictConfig, command: str | None = None) -> dict[str, Any]:
    """Converts a composed config to plain containers.

    Args:
        config: The composed config.
        command: Command whose YAML file documents the keys outside of groups, for messages.

    Raises:
        UserError: A mandatory key is missing, or a value refers to a key that does not exist.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError("\n".join(f"{key}: must be given{_meaning(key, command)}" for key in missing))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}") from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _meaning(key: str, command: str | None) -> str:
    """Returns a key's comment, as the end of a sentence."""
    group, _, inner = key.partition(".")
    places = [(Path(conf_dir(), f"{command}.yaml"), key)] if command else []
    places += [(path, inner) for path in sorted(Path(conf_dir(), group).glob("*.yaml"))]
    text = next((text for path, name in places if (text := read_comments(path).keys.get(name))), None)
    return f", allowed: {text}" if text else ""


def describe_yaml_error(error: YAMLError) -> str:
    """Returns the file, the line and the problem."""
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    where = f"{mark.name}, line {mark.line + 1}: " if mark else ""
    return f"{where}{getattr(error, 'problem', None) or error}"
