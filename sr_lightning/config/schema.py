"""Schemas of the train and evaluate configs as dataclasses, and the names that configs and code share.

Importing this module stays cheap (no torch, no lightning): a mistyped key is answered in a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCALES = (2, 3, 4, 8)
LOSS = "sr_lightning.losses.CompositeLoss"
PERCEPTUAL = "sr_lightning.losses.PerceptualLoss"
ADVERSARY = "sr_lightning.training.adversarial.Adversary"
RUN_ARGUMENTS = ("folder", "group", "resets_best", "accepts_other_data", "purge_step")
"""Arguments that a run passes to the data, callbacks and loggers whose constructors have them."""
# Keys that the project adds to those of a section's constructor.
EXTRA_KEYS = {
    "model": {"weights": "str | None", "fresh": "list[str]", "adam_lr": "float"},
    "trainer": {"precision": "str | int | None", "accumulate_grad_batches": "int"},
}
EMA = "sr_lightning.callbacks.EMA"
BICUBIC = "sr_lightning.models.Bicubic"


@dataclass
class PathsConfig:
    """Root folders."""

    data: str
    """Root of the data sets."""
    cache: str
    """Decoded images, shared by all runs."""
    runs: str
    """Where runs are written."""


@dataclass
class TrainConfig:
    """The sections of `conf/train.yaml`, as plain containers with every interpolation resolved.

    The keys inside `data`, `model`, … are those of the constructors that their `_target_` names.
    """

    scale: list[int]
    """One scale, or several for a multi-scale network."""
    seed: int
    ckpt_path: str | None
    """A run's folder or a checkpoint to continue, `last`, or None."""
    paths: PathsConfig
    data: dict[str, Any]
    model: dict[str, Any]
    loss: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    trainer: dict[str, Any]
    callbacks: dict[str, dict[str, Any]]
    logger: dict[str, dict[str, Any]]
    compile: bool = False
    """Train through torch.compile. Keys younger than a run that continues have a default."""
    allow_change: list[str] = field(default_factory=list)
    """Keys and sections that may differ from those of the run that continues."""
    val_metrics: dict[str, dict[str, Any]] | None = None
    """Metrics of the validations and the test beside PSNR and SSIM: name -> section; empty for ours. None, as in runs
    that are older than the key, where there are none."""
    adversarial: dict[str, Any] | None = None
    """The discriminator, its loss and its optimizer; None where there is none, or its weight is 0."""

    @property
    def hardware(self) -> dict[str, Any]:
        """`accelerator`, `devices` and `num_nodes`, where the config says so."""
        return self.trainer


@dataclass
class EvaluateConfig:
    """The keys of `conf/evaluate.yaml`, as plain containers with every interpolation resolved."""

    checkpoint: dict[str, str]
    """File -> name in the table, empty where the user gave none."""
    model: dict[str, Any] | None
    """Builds the networks of checkpoints that do not say how; without one, what is evaluated."""
    predictions: dict[str, str]
    """Folder of images that another program made -> its name in the table."""
    scale: list[int]
    """Empty: what each checkpoint was trained for."""
    sets: list[str] | None
    """Those that are evaluated; `data.test` holds just them."""
    data: dict[str, Any]
    """`test`, `kernel`, `degradation` and `extensions`."""
    paths: PathsConfig
    metrics: dict[str, dict[str, Any]]
    """Name -> section; empty for ours."""
    self_ensemble: bool
    tile: int | None
    cost: bool
    published: bool
    self_check: bool
    save_pictures: bool
    format: list[str]
    accelerator: str
    devices: int | str | list[int]
    seed: int
    logger: dict[str, dict[str, Any]]

    @property
    def hardware(self) -> dict[str, Any]:
        """`accelerator` and `devices`."""
        return {"accelerator": self.accelerator, "devices": self.devices}


RUN_CONFIGS: dict[str, type[TrainConfig] | type[EvaluateConfig]] = {"train": TrainConfig, "evaluate": EvaluateConfig}
"""Of the commands that leave a run folder, and that a sweep can therefore compare; the others make one thing."""
