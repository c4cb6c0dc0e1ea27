"""Table of the commands that take a config: the check of each, what a sweep compares, what can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from sr_lightning.config.check_data import check_check_data
from sr_lightning.config.compare import check_compare
from sr_lightning.config.demo import check_demo
from sr_lightning.config.evaluate import check_evaluate
from sr_lightning.config.export import check_export
from sr_lightning.config.pack import check_pack
from sr_lightning.config.preview import check_preview
from sr_lightning.config.schema import RUN_CONFIGS, EvaluateConfig, PathsConfig, TrainConfig
from sr_lightning.config.train import check_train
from sr_lightning.config.tune import check_tune
from sr_lightning.config.upscale import check_upscale

RunConfig = TrainConfig | EvaluateConfig


@dataclass(frozen=True)
class Command:
    """One command; its function lies in `sr_lightning.<name>` under the same name, its config in `conf/<name>.yaml`."""

    check: Callable[[DictConfig], Any]
    """Composed config -> what the function takes, or every finding in one UserError."""
    notice: str
    """Printed when the config is right, for the user who waits: imports take seconds. Empty: nothing is."""
    schema: type[TrainConfig] | type[EvaluateConfig] | None = None
    """Of the commands that leave a run folder: what `check` returns. None: the command runs once and leaves none."""
    objective: str = ""
    """The number that a sweep compares, as its table calls it."""
    can_resume: bool = False
    """Whether `ckpt_path` continues a run in its folder."""
    takes_arguments: bool = False
    """Whether its function gets the command line, too, to pass it on."""

    def config_from_plain(self, plain: dict[str, Any]) -> RunConfig:
        """The checked config from what `dataclasses.asdict` made of it."""
        assert self.schema is not None
        return self.schema(**{**plain, "paths": PathsConfig(**plain["paths"])})


COMMANDS = {
    "train": Command(
        check_train, "loading torch and lightning …", RUN_CONFIGS["train"], objective="val/gain dB", can_resume=True
    ),
    "evaluate": Command(check_evaluate, "loading torch …", RUN_CONFIGS["evaluate"], objective="gain dB"),
    "preview": Command(check_preview, "loading torch and lightning …"),
    "check_data": Command(check_check_data, "looking at every image …"),
    "pack": Command(check_pack, "loading litdata …"),
    "compare": Command(check_compare, "reading the runs …"),
    "tune": Command(check_tune, "checking what is searched …", takes_arguments=True),
    "export": Command(check_export, "loading torch …"),
    "upscale": Command(check_upscale, ""),  # says it itself, once it has looked at the images
    "demo": Command(check_demo, "loading torch and gradio …"),
}
