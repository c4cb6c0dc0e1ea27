"""Optimizers and learning-rate schedules that torch does not have."""

from sr_lightning.optim.optimizers import soap
from sr_lightning.optim.schedulers import constant, cosine, multistep, one_cycle

__all__ = ["constant", "cosine", "multistep", "one_cycle", "soap"]
