"""Warm-up of loss terms, whose weight rises from 0 during training, so that the pixel loss comes first."""

from __future__ import annotations

from collections.abc import Sequence

from sr_lightning.errors import UserError

Span = Sequence[float]
"""[from, to] as shares of the training, 0 to 1."""


def checked_span(span: Span, key: str) -> tuple[float, float]:
    """Validates a span and returns it as two numbers.

    Args:
        span: See `Span`.
        key: Key in the config, for the message.

    Raises:
        UserError: The value is not a span, or it ends before it starts.
    """
    if len(span) == 2 and all(isinstance(x, int | float) for x in span) and 0 <= span[0] <= span[1] <= 1:
        return float(span[0]), float(span[1])
    raise UserError(
        f"{key}: found {list(span)}, allowed: [from, to] in shares of the training, such as [0.1, 0.5], or null"
    )


def warmup_factor(span: tuple[float, float] | None, progress: float) -> float:
    """Returns the factor of a weight: 0 until the span's start, 1 from its end on, linear in between.

    Args:
        span: A checked span; None for a constant factor of 1.
        progress: Completed share of the training, 0 to 1.
    """
    if span is None or progress >= span[1]:
        return 1.0
    start, end = span
    return 0.0 if progress <= start else (progress - start) / (end - start)
