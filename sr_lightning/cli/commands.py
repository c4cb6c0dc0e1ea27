"""Which schema and which check belong to the commands that leave a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from sr_lightning.config.evaluate import check_evaluate
from sr_lightning.config.schema import EvaluateConfig, PathsConfig, TrainConfig
from sr_lightning.config.train import check_train

Config = TrainConfig | EvaluateConfig


@dataclass(frozen=True)
class Command:
    """What is known of a command before anything heavy is imported."""

    schema: type[TrainConfig] | type[EvaluateConfig]
    check: Callable[[DictConfig], Any]
    """Composed config -> the schema, or every finding in one UserError."""
    loads: str
    """What it has to import before anything can begin, for the user who waits."""
    objective: str
    """What its number is, as a sweep's table calls it."""
    continues: bool = False
    """Whether `ckpt_path` continues a run in its folder."""

    def restore(self, plain: dict[str, Any]) -> Any:
        """A checked config from what `dataclasses.asdict` made of it."""
        return self.schema(**{**plain, "paths": PathsConfig(**plain["paths"])})


COMMANDS = {
    "train": Command(TrainConfig, check_train, "torch and lightning", "val/gain dB", continues=True),
    "evaluate": Command(EvaluateConfig, check_evaluate, "torch", "gain dB"),
}


def hardware(config: Config) -> dict[str, Any]:
    """`accelerator`, `devices` and `num_nodes`, where the config says so."""
    if isinstance(config, TrainConfig):
        return config.trainer
    return {"accelerator": config.accelerator, "devices": config.devices}
