"""Adapter that turns metrics of other libraries (torchmetrics, piq) and of the user into a `QualityMetric`."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from sr_lightning.errors import UserError, one_line, user_place
from sr_lightning.metrics.base import unit_levels

_PROBE = 256
"""Side of the image that a metric is tested on; MS-SSIM with five levels needs 176."""


class CustomMetric:
    """Wraps anything that maps two images to a number.

    The metric is given the images as a saved 8-bit RGB file would hold them, shaved, as float32 in [0, 1], (1, 3, H, W)
    each.

    Args:
        name: Name in tables and logs.
        metric: `metric(sr, hr)` -> a number or a one-element tensor; a torchmetrics metric is reset after each image.
        higher_is_better: None to use the metric's attribute of this name; for losses of torch, and thus of piq, lower
            is better.

    Raises:
        UserError: It is unknown which direction is better, or the metric fails on a random image.
    """

    smallest = 1

    def __init__(self, name: str, metric: Callable[[Tensor, Tensor], Any], *, higher_is_better: bool | None) -> None:
        kind = getattr(metric, "func", metric)  # for a partial function
        self.label = getattr(kind, "__name__", type(kind).__name__)
        said = higher_is_better
        if said is None:
            said = getattr(metric, "higher_is_better", False if isinstance(metric, _Loss) else None)
        if not isinstance(said, bool):
            raise UserError(
                f"{name}: {self.label} does not say whether higher is better; allowed: "
                f"+{name}.higher_is_better=true or false beside its _target_, or as an attribute of the class"
            )
        if isinstance(metric, nn.Module):  # dropout would make its values random
            metric = metric.eval().requires_grad_(False)
        self.name, self.higher_is_better, self._metric = name, said, metric
        self.protocol = f"{self.label} of 8-bit RGB in [0, 1], shaved by the scale"
        image = torch.rand(1, 3, _PROBE, _PROBE, generator=torch.Generator().manual_seed(0))
        self(image, image.roll(1, -1))

    def __call__(self, sr: Tensor, hr: Tensor) -> float:
        """See `QualityMetric`.

        Raises:
            UserError: The metric fails, or does not return a number.
        """
        if isinstance(self._metric, nn.Module):
            self._metric.to(sr.device)
        a, b = (x.float() for x in unit_levels(sr, hr))
        try:
            with torch.autocast(a.device.type, enabled=False), torch.no_grad():
                value = self._metric(a, b)
            if callable(reset := getattr(self._metric, "reset", None)):
                reset()
        except Exception as error:
            where = user_place(error)
            place = f" ({where})" if where else ""
            size = f"{a.shape[-1]}x{a.shape[-2]}"
            raise UserError(f"{self.name}: {self.label} fails on {size} pixels: {one_line(error)}{place}") from None
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value)
        if isinstance(value, Real):  # including numpy scalars
            return float(value)
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"{self.name}: {self.label} gave {found}, allowed: a number")
