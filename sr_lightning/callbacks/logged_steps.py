"""Which steps are logged, and the step number passed to every logger."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector


def is_logged(trainer: pl.Trainer, step: int) -> bool:
    """Returns whether the values of an optimizer step are logged: every n-th step, the first and the last.

    Args:
        trainer: The trainer, whose `log_every_n_steps` is n.
        step: Step number, from 1.
    """
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
    return step in (1, trainer.max_steps) or (every > 0 and step % every == 0)


class StepConnector(_LoggerConnector):
    """Lightning's connector between hooks and loggers, with the project's step numbering.

    Lightning numbers the rows of a step by the preceding one, so that `metrics.csv` would say 599 where the screen and
    the checkpoints say 600. It logs neither the first nor the last step of a short run, and when a run is interrupted
    it repeats old values under the current step. There is no public option for any of this.
    """

    @property
    def should_update_logs(self) -> bool:
        """As `is_logged` during training."""
        if self.trainer.training:
            # Lightning increments its count after a step has been logged, before the next one begins.
            return is_logged(self.trainer, self.trainer.fit_loop.epoch_loop._batches_that_stepped + 1)
        return super().should_update_logs

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Logs under the number of completed optimizer steps."""
        is_numbered = step is not None or "step" in metrics
        super().log_metrics(metrics, step if is_numbered else self.trainer.global_step)
