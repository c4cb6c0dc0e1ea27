"""Image resizing equivalent to MATLAB's `imresize`, for 8-bit and floating-point images.

MATLAB resizes the height, then the width, and rounds an 8-bit image half up to 8 bits after each of the two passes.
`bicubic_double` is its result for the same image as doubles: rounded once, at the end.

For 8-bit images and rational scales the arithmetic is exact. Kernel weights at rational distances are rational, so they
are scaled to integers, and sums of integers below 2^24 are exact in float32 (2^53 in float64) regardless of order,
position and device. An LR patch made from an HR window is therefore bit-identical to the same patch of the whole
image's LR. Ties are rounded as in MATLAB: at factors that are powers of two its weights are exact too, and at odd
factors there are no ties, because the sum of the integer weights is odd.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

Kernel = Literal["bicubic", "bicubic_double", "bilinear", "nearest", "box", "lanczos3"]
Number = Fraction | float

_EXACT_LIMIT = 64  # numerators and denominators up to this are computed as fractions


def resize(
    x: Tensor,
    scale: Number,
    *,
    kernel: Kernel = "bicubic",
    antialias: bool = True,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Resizes like MATLAB's `imresize(x, scale, kernel)`.

    Args:
        x: (…, H, W), uint8 or floating point.
        scale: Scale factor; `Fraction(1, 4)` downscales by exactly four.
        kernel: `bicubic` is Keys' cubic with a = -0.5 (Keys 1981, eq. 15); `bicubic_double` rounds uint8 once, as
            `im2uint8(imresize(im2double(x), scale))` does.
        antialias: Stretch the kernel by 1 / scale when downscaling.
        size: (H', W') of the result; `ceil(size * scale)` by default.

    Returns:
        (…, H', W') of the same type; uint8 is rounded half up and clamped, floating point is neither rounded nor
        clamped.
    """
    height, width = size or (_length(x.shape[-2], scale), _length(x.shape[-1], scale))
    phases = _phases(scale, kernel, antialias and kernel != "nearest")
    # Rows first, as in MATLAB for equal scales; they are also cheap to select.
    if x.dtype == torch.uint8 and kernel != "bicubic_double":
        y = _rounded_pass(x, phases, scale, height)
        return _rounded_pass(y.transpose(-1, -2), phases, scale, width).transpose(-1, -2)
    largest = max(sum(abs(w) for w in phase.weights) for phase in phases)
    first = torch.float32 if x.dtype == torch.uint8 and 255 * largest <= 2**24 else torch.float64
    y = _joined(_sums(x, phases, scale, height, first), height)
    y = _joined(_sums(y.transpose(-1, -2), phases, scale, width, torch.float64), width).transpose(-1, -2)
    y = y / (_totals(phases, height, y)[:, None] * _totals(phases, width, y))  # (H', W')
    if x.dtype == torch.uint8:
        return (y + 0.5).floor_().clamp_(0, 255).to(torch.uint8)
    return y.to(x.dtype)


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement for use inside a network: `resize` in single precision, differentiable and exportable.

    Computes in float32 even under autocast.

    Args:
        x: (N, C, h, w).
        scale: Integer factor, up to 16.

    Returns:
        (N, C, h·s, w·s), at least float32.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    phases = _SHARES[scale]
    # Columns first: the longer rows of the second pass are then contiguous.
    width, height = x.shape[-1] * scale, x.shape[-2] * scale
    y = _joined(_sums(x.transpose(-1, -2), phases, scale, width, dtype), width).transpose(-1, -2)
    return _joined(_sums(y, phases, scale, height, dtype), height)


def margin(kernel: Kernel, scale: Number) -> int:
    """Returns the context, in LR pixels, that makes a downscaled window equal to the same part of the downscaled image.

    Args:
        kernel: As in `resize`.
        scale: Below 1.
    """
    if kernel == "nearest":
        return 0
    # Half the stretched kernel reaches support / 2 LR pixels from an output's centre, which lies half an LR pixel
    # inside the window.
    return math.ceil(_SUPPORT[kernel] / 2 - 0.5)


class _Phase(NamedTuple):
    """Input offset of one output position, relative to the start of its period, and its weights."""

    first: int
    weights: tuple[float, ...]
    is_whole: bool = False
    """Whether the weights are integers, because scale and kernel are rational."""


def _rounded_pass(x: Tensor, phases: tuple[_Phase, ...], scale: Number, n_out: int) -> Tensor:
    """Applies one of the two passes to 8-bit rows: (…, H, W) uint8 -> (…, n_out, W) uint8."""
    dtype = torch.float32 if all(_fits_float32(phase) for phase in phases) else torch.float64
    rounded = []
    for phase, sums in zip(phases, _sums(x, phases, scale, n_out, dtype), strict=True):
        total = math.fsum(phase.weights)
        # A quarter of the spacing between possible sums of integers keeps the multiplication error from pushing a tie,
        # or a value just below one, to the wrong side.
        half = 0.5 + (0.25 / total if phase.is_whole else 0.0)
        rounded.append(sums.mul_(1 / total).add_(half).floor_().clamp_(0, 255).to(torch.uint8))
    return _joined(rounded, n_out)


def _fits_float32(phase: _Phase) -> bool:
    """Returns whether `_rounded_pass` is exact in float32.

    The quarter needs two more bits than the sums. Where W is not a power of two, the error of multiplying by 1 / W is
    below 2^-14 at levels up to 255, and a quarter of the spacing, 1 / 4 W, has to be larger.
    """
    total = math.fsum(phase.weights)
    largest = sum(abs(weight) for weight in phase.weights)
    is_exact = total <= 2**12 or math.frexp(total)[0] == 0.5
    return phase.is_whole and is_exact and 4 * 255 * largest <= 2**24


def _sums(x: Tensor, phases: tuple[_Phase, ...], scale: Number, n_out: int, dtype: torch.dtype) -> list[Tensor]:
    """Weighted sums along rows, not yet normalised: (…, H, W) -> (…, ceil(n_out / phases), W) for each phase."""
    step = _exact(scale).denominator
    blocks = -(-n_out // len(phases))
    before = max(0, -min(phase.first for phase in phases))
    last = max(phase.first + len(phase.weights) for phase in phases) + (blocks - 1) * step
    x = _padded(x, before, max(0, last - x.shape[-2]))  # before the type conversion: bytes are faster to copy
    x = x.to(dtype, memory_format=torch.contiguous_format)
    out: list[Tensor] = []
    for phase in phases:
        total: Tensor | None = None
        for tap, weight in enumerate(phase.weights):
            start = before + phase.first + tap
            term = x[..., start : start + (blocks - 1) * step + 1 : step, :]
            # In place: allocating a new tensor for each tap takes longer than filling it.
            total = term * weight if total is None else total.add_(term, alpha=weight)
        assert total is not None
        out.append(total)
    return out


def _joined(parts: list[Tensor], n_out: int) -> Tensor:
    """Interleaves the rows of all phases: each (…, blocks, W) -> (…, n_out, W); excess rows are cut off."""
    if len(parts) == 1:
        return parts[0]
    return torch.stack(parts, dim=-2).flatten(-3, -2)[..., :n_out, :]  # (…, blocks, phases, W) -> (…, n_out, W)


def _padded(x: Tensor, before: int, after: int) -> Tensor:
    """Pads rows symmetrically: index 1, 0, then 0, 1, …, n-1, then n-1.

    (…, H, W) -> (…, before + H + after, W).
    """
    if not before and not after:
        return x
    n = x.shape[-2]
    index = torch.arange(-before, n + after, device=x.device)
    index = index - index // (2 * n) * (2 * n)  # not %, which cannot be exported to ONNX with a dynamic size
    return x.index_select(-2, torch.where(index < n, index, 2 * n - 1 - index))


def _totals(phases: tuple[_Phase, ...], n_out: int, like: Tensor) -> Tensor:
    """Returns the sum of the weights of each output: (n_out,)."""
    totals = torch.tensor([math.fsum(phase.weights) for phase in phases], dtype=like.dtype, device=like.device)
    return totals.repeat(-(-n_out // len(phases)))[:n_out]


def _exact(scale: Number) -> Fraction:
    return Fraction(scale).limit_denominator(10**6)


def _length(n: int, scale: Number) -> int:
    return math.ceil(n * _exact(scale))


def _shares(scale: int) -> tuple[_Phase, ...]:
    """Phases of the bicubic kernel with weights that sum to 1."""
    return tuple(
        _Phase(phase.first, tuple(weight / math.fsum(phase.weights) for weight in phase.weights))
        for phase in _phases(scale, "bicubic", True)
    )


@functools.lru_cache(maxsize=64)
def _phases(scale: Number, kernel: Kernel, antialias: bool) -> tuple[_Phase, ...]:
    """MATLAB's `contributions`: at scale p / q the pattern repeats every p outputs, q inputs further on."""
    exact = _exact(scale)
    is_rational = max(exact.numerator, exact.denominator) <= _EXACT_LIMIT and kernel != "lanczos3"
    return tuple(_phase(i, exact if is_rational else float(scale), kernel, antialias) for i in range(exact.numerator))


def _phase(position: int, scale: Number, kernel: Kernel, antialias: bool) -> _Phase:
    half: Number = Fraction(1, 2) if isinstance(scale, Fraction) else 0.5
    centre = (position + half) / scale - half  # in input pixels, from 0
    if kernel == "nearest":
        return _Phase(math.floor(centre + half), (1.0,), is_whole=True)
    stretch = min(scale, 1) if antialias else 1
    reach = _SUPPORT[kernel] * half / stretch
    first, last = math.ceil(centre - reach), math.floor(centre + reach)
    values: list[Any] = [_KERNELS[kernel]((centre - p) * stretch) for p in range(first, last + 1)]
    if isinstance(scale, Fraction):
        denominator = math.lcm(*(Fraction(value).denominator for value in values))
        values = [value * denominator for value in values]
    return _Phase(first, tuple(float(value) for value in values), is_whole=isinstance(scale, Fraction))


# Each works on fractions and on floats, and returns the type it is given.
_N = TypeVar("_N", Fraction, float)


def _cubic(x: _N) -> _N:
    x = abs(x)
    if x <= 1:
        return (3 * x**3 - 5 * x**2 + 2) / 2
    return (-(x**3) + 5 * x**2 - 8 * x + 4) / 2 if x <= 2 else x * 0


def _triangle(x: _N) -> _N:
    return max(1 - abs(x), x * 0)


def _box(x: _N) -> _N:
    return x * 0 + (1 if -0.5 <= x < 0.5 else 0)


def _lanczos3(x: float) -> float:
    if abs(x) >= 3:
        return 0.0
    a = math.pi * x
    return 1.0 if a == 0 else math.sin(a) * math.sin(a / 3) / (a * a / 3)


_KERNELS: dict[str, Callable[[Any], Any]] = {
    "bicubic": _cubic,
    "bicubic_double": _cubic,
    "bilinear": _triangle,
    "nearest": _box,
    "box": _box,
    "lanczos3": _lanczos3,
}
_SUPPORT = {"bicubic": 4, "bicubic_double": 4, "bilinear": 2, "nearest": 1, "box": 1, "lanczos3": 6}


# A table, because torch.compile would trace through a function, fractions included.
_SHARES = {scale: _shares(scale) for scale in range(1, 17)}
