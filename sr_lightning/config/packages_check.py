"""Callbacks and loggers of Lightning that want a package which is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sr_lightning.config.signatures import is_importable

# Class -> the modules of which one must be there, by the names of their packages.
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
    """One message for each part of Lightning's that could not be built, or would end the first step.

    Args:
        name: `callbacks` or `logger`.
        sections: The section; values of a wrong type are the type check's business.
        on_gpu: Whether a GPU is asked for, where `DeviceStatsMonitor` needs no package for what it logs by default.
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
