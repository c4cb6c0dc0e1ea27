"""Warm-up of a term: its weight rises from 0 during the training, so that pixels come first."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.errors import UserError

Span = Sequence[float]
"""[from, to] in shares of the training, 0 to 1."""


def checked_span(span: Span, key: str) -> tuple[float, float]:
    """The span as two numbers.

    Args:
        span: See `Span`.
        key: Its key in the config, for the message.

    Raises:
        UserError: It is none, or its end is before its start.
    """
    if len(span) == 2 and all(isinstance(x, int | float) for x in span) and 0 <= span[0] <= span[1] <= 1:
        return float(span[0]), float(span[1])
    raise UserError(
        f"{key}: found {list(span)}, allowed: [from, to] in shares of the training, such as [0.1, 0.5], or null"
    )


def warmup_factor(span: tuple[float, float] | None, progress: float) -> float:
    """By what a weight is multiplied: 0 up to the span's start, 1 from its end on, a straight line between them.

    Args:
        span: A checked span; None: 1 throughout.
        progress: Done share of the training, 0 to 1.
    """
    if span is None or progress >= span[1]:
        return 1.0
    start, end = span
    return 0.0 if progress <= start else (progress - start) / (end - start)
