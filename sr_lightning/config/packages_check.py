"""Check for Lightning callbacks and loggers that need a package which is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sr_lightning.config.signatures import is_importable

# Class -> modules, any of which will do, with the names of their packages.
_WANTED = {
    "DeviceStatsMonitor": {"psutil": "psutil"},
    "RichProgressBar": {"rich": "rich"},
    "RichModelSummary": {"rich": "rich"},
    "TQDMProgressBar": {"tqdm": "tqdm"},
    "TensorBoardLogger": {"tensorboard": "tensorboard", "tensorboardX": "tensorboardX"},
    "WandbLogger": {"wandb": "wandb"},
    "MLFlowLogger": {"mlflow": "mlflow"},
    "CometLogger": {"comet_ml": "comet-ml"},
    "LitLogger": {"litlogger": "litlogger"},
}


def package_findings(name: str, sections: dict[str, Any], *, on_gpu: bool = False) -> Iterator[str]:
    """Yields one message per Lightning component that could not be built, or would fail in the first step.

    Args:
        name: `callbacks` or `logger`.
        sections: The section; values of a wrong type are left to the type check.
        on_gpu: Whether a GPU is requested, on which `DeviceStatsMonitor` needs no package for its default statistics.
    """
    for key, section in sections.items():
        target = str(section.get("_target_") if isinstance(section, dict) else "")
        package, _, part = target.rpartition(".")
        wanted = _WANTED.get(part, {}) if package.startswith(("lightning.", "pytorch_lightning.")) else {}
        if part == "DeviceStatsMonitor" and on_gpu and not section.get("cpu_stats"):
            continue
        if wanted and not any(map(is_importable, wanted)):
            installs = " or ".join(f"`pip install {distribution}`" for distribution in wanted.values())
            yield f"{name}.{key}: {part} needs a package that is not installed; allowed: {installs} first"
