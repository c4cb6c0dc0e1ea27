"""TensorBoard logger that writes into the run's folder."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from sr_lightning.config.containers import flattened


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, with the project's metrics on the HPARAMS page instead of a `hp_metric` of -1."""

    compared: tuple[str, ...] = ()
    """Names of the metrics that HPARAMS compares runs by; the last value of each is shown."""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:  # type: ignore[override]  # no namespaces, no metrics
        """Writes the config together with the names of the compared metrics."""
        super().log_hyperparams(params, metrics={})
        from torch.utils.tensorboard.summary import hparams

        flat = self._sanitize_params(flattened(params, "/"))
        writer = self.experiment._get_file_writer()
        for summary in hparams(flat, dict.fromkeys(self.compared, 0.0)):  # type: ignore[no-untyped-call]  # torch
            writer.add_summary(summary)


def tensorboard_logger(*, folder: str, purge_step: int | None = None) -> TensorBoard:
    """Returns a logger that writes TensorBoard event files to `<folder>/tensorboard`.

    Args:
        folder: The run's folder.
        purge_step: First step that a resumed run logs again; TensorBoard hides earlier values from this step on.
    """
    return TensorBoard(save_dir=folder, name="", version="tensorboard", purge_step=purge_step, default_hp_metric=False)
