"""Hydra's launchers and sweepers that the project knows: what to install for each, and what serves instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

BASIC = "BasicLauncher"
# Choice of `hydra/launcher` -> the package's module, and our extra that installs it.
_LAUNCHERS = {
    "parallel": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
}
_TUNE = "allowed: python -m sr_lightning.tune, which searches for the largest gain (Optuna's sweeper minimises)"


def launcher_findings(overrides: Sequence[str]) -> Iterator[str]:
    """One message for each launcher or sweeper on a command line that cannot be used.

    Args:
        overrides: As typed.
    """
    for override in overrides:
        key, _, choice = override.lstrip("+").partition("=")
        if key == "hydra/sweeper" and choice.startswith("optuna"):
            yield f"hydra/sweeper: found {choice}, {_TUNE}"
        elif key == "hydra/launcher" and choice in _LAUNCHERS:
            module, extra = _LAUNCHERS[choice]
            if not _is_installed(module):
                yield (
                    f"hydra/launcher: {choice} is not installed; allowed: pip install 'sr_lightning[{extra}]', or the "
                    "sweep without it, one job after the other"
                )


def launcher_class_findings(launcher: str, sweeper: str) -> list[str]:
    """As `launcher_findings`, for the classes that a config file names.

    Args:
        launcher: The `_target_` of `hydra.launcher`.
        sweeper: The `_target_` of `hydra.sweeper`.
    """
    if "optuna" in sweeper.lower():
        return [f"hydra.sweeper: found {sweeper}, {_TUNE}"]
    for module, extra in _LAUNCHERS.values():
        if launcher.startswith(module) and not _is_installed(module):
            return [f"hydra.launcher: {module} is not installed; allowed: pip install 'sr_lightning[{extra}]'"]
    return []


def is_one_after_the_other(launcher: str) -> bool:
    """Whether a launcher runs the jobs in the process of the command; others run several at once elsewhere."""
    return launcher.endswith(BASIC)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # there is no plugin at all
        return False
