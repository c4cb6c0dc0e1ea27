"""Exponential moving average of the weights."""

from __future__ import annotations

from lightning.pytorch.callbacks import EMAWeightAveraging

from sr_lightning.errors import UserError


class EMA(EMAWeightAveraging):
    """Averages the weights over the steps; the average is what is validated, tested and exported.

    A checkpoint holds both: the average as `state_dict`, the raw weights, from which training continues, as
    `current_model_state`. The perceptual loss's backbone is no weight of the module and in neither.

    Args:
        decay: Of the average before, the share that stays at each update (Polyak and Juditsky 1992).
        every: Steps between updates.
        start: First step that counts; before it the average is the weights themselves.

    Raises:
        UserError: `decay` does not lie between 0 and 1.
    """

    def __init__(self, *, decay: float = 0.999, every: int = 1, start: int = 0) -> None:
        if not 0 < decay < 1:
            raise UserError(f"callbacks.ema.decay: found {decay}, allowed: above 0 and below 1")
        super().__init__(decay=decay, update_every_n_steps=every, update_starting_at_step=start or None)
