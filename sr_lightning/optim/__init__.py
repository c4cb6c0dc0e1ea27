"""Optimizers and learning rate schedules beside those of torch."""

from sr_lightning.optim.optimizers import soap
from sr_lightning.optim.schedulers import constant, cosine, multistep, one_cycle

__all__ = ["constant", "cosine", "multistep", "one_cycle", "soap"]
