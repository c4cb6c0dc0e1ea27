"""TensorBoard logger that writes into the run's folder."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger


def tensorboard_logger(*, folder: str) -> TensorBoardLogger:
    """TensorBoard's event files in `<folder>/tensorboard`."""
    return TensorBoardLogger(save_dir=folder, name="", version="tensorboard")
