"""Optimizers that torch does not have, with explicit arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer


def soap(
    params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    *,
    lr: float = 3e-3,
    betas: Sequence[float] = (0.95, 0.95),
    weight_decay: float = 0.0,
    precondition_frequency: int = 10,
) -> Optimizer:
    """SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024), from pytorch_optimizer.

    Args:
        params: Weights, or parameter groups.
        lr: Learning rate.
        betas: Decay of the averages of the gradient and of its square; the second also of the preconditioner's.
        weight_decay: Decoupled weight decay: each step subtracts `lr * weight_decay` times the weights.
        precondition_frequency: Steps between updates of the eigenbasis.

    Raises:
        ValueError: A value is out of its range.
    """
    from pytorch_optimizer import SOAP  # takes a second to import

    first, second = betas
    made: Optimizer = SOAP(
        params,
        lr=lr,
        betas=(first, second),
        weight_decay=weight_decay,
        precondition_frequency=precondition_frequency,
    )
    made.register_load_state_dict_post_hook(_copy_group_settings)
    return made


def _copy_group_settings(optimizer: Optimizer) -> None:
    """Copies two settings into each weight's state, where the old values would otherwise persist in a resumed run."""
    for group in optimizer.param_groups:
        for state in (optimizer.state[p] for p in group["params"] if p in optimizer.state):
            state.update(precondition_frequency=group["precondition_frequency"], shampoo_beta=group["betas"][1])
