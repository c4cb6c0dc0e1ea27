"""Schemas of the train and evaluate configs as dataclasses, and names shared by configs and code.

Importing this module is cheap (no torch, no lightning), so that a mistyped key is reported within a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCALES = (2, 3, 4, 8)
LOSS = "sr_lightning.losses.CompositeLoss"
PERCEPTUAL = "sr_lightning.losses.PerceptualLoss"
ADVERSARY = "sr_lightning.training.adversarial.Adversary"
RUN_ARGUMENTS = ("folder", "group", "resets_best", "accepts_other_data", "purge_step")
"""Arguments that a run passes to data, callbacks and loggers if their constructors accept them."""
# Keys that the project adds to the constructor arguments of a section.
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
    """Folder of decoded images, shared by all runs."""
    runs: str
    """Folder to which runs are written."""


@dataclass
class TrainConfig:
    """The sections of `conf/train.yaml`, as plain containers with every interpolation resolved.

    The keys inside `data`, `model`, … are the arguments of the constructors named by their `_target_`.
    """

    scale: list[int]
    """One scale, or several for a multi-scale network."""
    seed: int
    ckpt_path: str | None
    """A run folder or a checkpoint to resume from, `last`, or None."""
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
    """Train through torch.compile. Keys newer than a resumed run need a default, as this one has."""
    allow_change: list[str] = field(default_factory=list)
    """Keys and sections that may differ from those of the resumed run."""
    val_metrics: dict[str, dict[str, Any]] | None = None
    """Metrics for validation and test in addition to PSNR and SSIM: name -> section, empty for built-in metrics. None
    if there are none, as in runs older than the key."""
    adversarial: dict[str, Any] | None = None
    """The discriminator, its loss and its optimizer; None if there is none, or its weight is 0."""

    @property
    def hardware(self) -> dict[str, Any]:
        """`accelerator`, `devices` and `num_nodes`, if the config sets them."""
        return self.trainer


@dataclass
class EvaluateConfig:
    """The keys of `conf/evaluate.yaml`, as plain containers with every interpolation resolved."""

    checkpoint: dict[str, str]
    """File -> name in the table; empty if the user gave none."""
    model: dict[str, Any] | None
    """Network section for checkpoints that do not contain one; without a checkpoint, the network to evaluate."""
    predictions: dict[str, str]
    """Folder of images made by another program -> its name in the table."""
    scale: list[int]
    """Scales to evaluate; empty for those that each checkpoint was trained for."""
    sets: list[str] | None
    """Names of the sets to evaluate on; `data.test` holds exactly these."""
    data: dict[str, Any]
    """Section with `test`, `kernel`, `degradation` and `extensions`."""
    paths: PathsConfig
    metrics: dict[str, dict[str, Any]]
    """Name -> section, empty for built-in metrics."""
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
"""Configs of the commands that leave a run folder, so that a sweep can compare them; the others run only once."""
