"""TensorBoard logger that writes into the run's folder."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger


def tensorboard_logger(*, folder: str, purge_step: int | None = None) -> TensorBoardLogger:
    """TensorBoard's event files in `<folder>/tensorboard`.

    Args:
        folder: The run's folder.
        purge_step: First step that a resumed run logs again; TensorBoard hides what was logged from there on before.
    """
    return TensorBoardLogger(save_dir=folder, name="", version="tensorboard", purge_step=purge_step)
