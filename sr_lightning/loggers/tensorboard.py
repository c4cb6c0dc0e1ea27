"""TensorBoard logger that writes into the run's folder."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, with the project's values in the page HPARAMS instead of a `hp_metric` of -1."""

    compared: tuple[str, ...] = ()
    """Names of the values that HPARAMS compares runs by; it shows the last of each."""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:  # type: ignore[override]  # no namespaces, no metrics
        """Writes the config, and the names of the values that belong to it."""
        super().log_hyperparams(params, metrics={})
        from torch.utils.tensorboard.summary import hparams

        flat = self._sanitize_params(_flat(params))
        writer = self.experiment._get_file_writer()
        for summary in hparams(flat, dict.fromkeys(self.compared, 0.0)):  # type: ignore[no-untyped-call]  # torch
            writer.add_summary(summary)


def _flat(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a/b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= _flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def tensorboard_logger(*, folder: str, purge_step: int | None = None) -> TensorBoard:
    """TensorBoard's event files in `<folder>/tensorboard`.

    Args:
        folder: The run's folder.
        purge_step: First step that a resumed run logs again; TensorBoard hides what was logged from there on before.
    """
    return TensorBoard(save_dir=folder, name="", version="tensorboard", purge_step=purge_step, default_hp_metric=False)
