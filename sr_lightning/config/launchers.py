"""Supported Hydra launchers and sweepers: what to install for each, and what to use instead of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

BASIC = "BasicLauncher"
# Choice of `hydra/launcher` -> module of its package, and our extra that installs it.
_LAUNCHERS = {
    "parallel": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
}
_TUNE = "allowed: python -m sr_lightning.tune, which searches for the largest gain (Optuna's sweeper minimises)"


def launcher_findings(overrides: Sequence[str]) -> Iterator[str]:
    """Yields one message per launcher or sweeper on a command line that cannot be used.

    Args:
        overrides: Overrides as typed.
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
    """Like `launcher_findings`, for classes named in a config file.

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
    """Whether a launcher runs jobs sequentially in the command's process; others run them concurrently elsewhere."""
    return launcher.endswith(BASIC)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # no plugin is installed at all
        return False
