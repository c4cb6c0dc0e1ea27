"""Table of the commands that take a config: their checks, the objectives that a sweep compares, what can be resumed."""

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
    """One command; its function is `sr_lightning.<name>.<name>`, its config `conf/<name>.yaml`."""

    check: Callable[[DictConfig], Any]
    """Converts a composed config to what the function takes, or raises a UserError with every finding."""
    notice: str
    """Message printed once the config is valid, as the imports that follow take seconds; empty for none."""
    schema: type[TrainConfig] | type[EvaluateConfig] | None = None
    """What `check` returns, for commands that leave a run folder; None if the command runs once and leaves none."""
    objective: str = ""
    """Number that a sweep compares, as named in its table."""
    can_resume: bool = False
    """Whether `ckpt_path` resumes a run in its folder."""
    takes_arguments: bool = False
    """Whether the function also takes the command line, in order to pass it on."""

    def config_from_plain(self, plain: dict[str, Any]) -> RunConfig:
        """Restores the checked config from the output of `dataclasses.asdict`."""
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
    "upscale": Command(check_upscale, ""),  # prints its own, once it has looked at the images
    "demo": Command(check_demo, "loading torch and gradio …"),
}
