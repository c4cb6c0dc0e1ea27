"""Weighted sum of loss terms: alpha x pixel + beta x perceptual + further terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sr_lightning.errors import UserError
from sr_lightning.losses.pixel import CharbonnierLoss, L1Loss, L2Loss
from sr_lightning.losses.warmup import Span, checked_span, warmup_factor

PixelLoss = Literal["l1", "l2", "charbonnier"]
_OWN_NAMES = ("total", "pixel", "perceptual")


class CompositeLoss(nn.Module):
    """Weighted sum of named loss terms.

    Terms of weight 0 are neither kept nor computed. All terms are computed in float32, even under mixed precision, and
    gradients flow only to the prediction.

    Args:
        alpha: Weight of the pixel loss.
        beta: Weight of the perceptual loss.
        pixel: `l1`, `l2`, `charbonnier`, or a module that maps (sr, hr) -> scalar.
        charbonnier_eps: The `eps` of `CharbonnierLoss`; only used for `charbonnier`.
        perceptual: A module that maps (sr, hr) -> scalar, such as `PerceptualLoss`.
        terms: Name -> (weight, module) of further terms.
        warmup: Term -> [from, to], shares of the training between which its weight rises from 0; None for no warm-up.
            Before `from`, the term is not computed.

    Attributes:
        weights: Weight of each term that is kept, after its warm-up.
        needs_rgb: Whether a term compares colours.

    Raises:
        UserError: A weight is negative or not finite, all are 0 (in total or at the start), or a term is missing.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        pixel: PixelLoss | nn.Module = "l1",
        charbonnier_eps: float = 1e-3,
        perceptual: nn.Module | None = None,
        terms: Mapping[str, tuple[float, nn.Module]] | None = None,
        warmup: Mapping[str, Span | None] | None = None,
    ) -> None:
        super().__init__()
        candidates: dict[str, tuple[float, nn.Module | None]] = {
            "pixel": (alpha, pixel_loss(pixel, charbonnier_eps)),
            "perceptual": (beta, perceptual),
        }
        for name, term in (terms or {}).items():
            if name in _OWN_NAMES or not name.isidentifier():
                raise UserError(f"loss.terms.{name}: allowed: a name of letters, not {', '.join(_OWN_NAMES)}")
            candidates[name] = term
        self.weights: dict[str, float] = {}
        kept: dict[str, nn.Module] = {}
        for name, (weight, module) in candidates.items():
            if not math.isfinite(weight) or weight < 0:
                raise UserError(f"loss: the weight of {name} is {weight}, allowed: a finite number, 0 and more")
            if weight > 0 and module is None:
                raise UserError(f"loss: the weight of {name} is {weight}, but there is no such term")
            if weight > 0 and module is not None:
                self.weights[name] = float(weight)
                kept[name] = module
        if not kept:
            raise UserError("loss.alpha, loss.beta: all weights are 0, so there is nothing to train on")
        spans = {name: span for name, span in (warmup or {}).items() if span is not None}
        if unknown := [name for name in spans if name not in candidates]:
            raise UserError(f"loss.warmup.{unknown[0]}: no such term; allowed: {', '.join(candidates)}")
        self._warmup = {name: checked_span(span, f"loss.warmup.{name}") for name, span in spans.items()}
        if not self.weights_at(0.0):
            raise UserError("loss.warmup: at the start all weights are 0; allowed: a term that is there from the start")
        self.terms = nn.ModuleDict(kept)
        self.needs_rgb = any(getattr(term, "needs_rgb", False) for term in kept.values())

    def weights_at(self, progress: float) -> dict[str, float]:
        """Returns the weights of the terms that are active in a step.

        Args:
            progress: Completed share of the training, 0 to 1.
        """
        now = {name: weight * warmup_factor(self._warmup.get(name), progress) for name, weight in self.weights.items()}
        return {name: weight for name, weight in now.items() if weight > 0}

    def forward(self, sr: Tensor, hr: Tensor, progress: float = 1.0) -> dict[str, Tensor]:
        """Computes the active terms and their weighted sum.

        Args:
            sr: (N, C, H, W), the prediction.
            hr: (N, C, H, W), the target; no gradient flows to it.
            progress: Completed share of the training, 0 to 1.

        Returns:
            `total`, and each term by name, unweighted; scalars, float32.

        Raises:
            ValueError: The shapes differ.
        """
        if sr.shape != hr.shape:  # broadcasting would hide it
            raise ValueError(f"the network gave {tuple(sr.shape)}, the target is {tuple(hr.shape)}")
        weights = self.weights_at(progress)
        with torch.autocast(device_type=sr.device.type, enabled=False):
            sr, hr = sr.float(), hr.detach().float()
            found = {name: self.terms[name](sr, hr) for name in weights}
            total = sum((weights[name] * value for name, value in found.items()), start=sr.new_zeros(()))
        return {"total": total, **found}


def pixel_loss(kind: PixelLoss | nn.Module, charbonnier_eps: float) -> nn.Module:
    """Returns the pixel loss for a name.

    Raises:
        UserError: The name is unknown.
    """
    if isinstance(kind, nn.Module):
        return kind
    if kind == "charbonnier":
        return CharbonnierLoss(charbonnier_eps)
    losses = {"l1": L1Loss, "l2": L2Loss}
    if kind not in losses:
        raise UserError(f"loss.pixel: found {kind!r}, allowed: l1, l2, charbonnier")
    return losses[kind]()
